"""Writes docs/hooks.md from ``custody.hookspecs``; ``--check`` exits 1 where the file is stale."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from custody import hookspecs

PAGE = Path(__file__).parent / "hooks.md"
PARTS = ("When", "Parameters", "Results", "Restrictions")

INTRODUCTION = """# Hooks

Made from `src/custody/hookspecs.py` by `python docs/generate_hooks.py`; do not edit by hand.

A plugin is any object with functions marked `@hookimpl` (`from custody.plugin import hookimpl`) under the
names below, registered in the entry-point group `custody`. It may leave out parameters that it does not
need. The names in the signatures come from `custody.plugin`; `Record` is a read-only mapping, whose fields
are in [format.md](format.md). How to write a plugin: [writing-a-plugin.md](writing-a-plugin.md).

Two manners of calling. **Ask**: implementations are tried, the last registered first, until one answers
with something other than `None`. **Notify**: every implementation runs. In both, one that raises is
isolated: it is logged once, written into the record, and costs no other plugin its turn. So is one that
gives what it does not promise, or raises `SystemExit`
([what is looked at](writing-a-plugin.md#when-it-fails)). A
`custody.CustodyError` raised on purpose is no failure but a word to the user, and is never swallowed.
Under pytest the failures of plugins surface, so that their authors see them.

A call that is sent meets the hooks in this order: `claim_exchange`, `before_send` (the archive may
answer), `before_send` again once the identity is claimed (another process may have answered meanwhile),
`check_budget`, then the request and its response, `extract_forensics`, `price_call`, and when the call
line is on stable storage `exchange_durable`. A call that is replayed meets `claim_exchange` and
`before_send` only.
"""


def render() -> str:
    """The page."""
    sections = [INTRODUCTION]
    for spec in hookspecs.SPECS:
        subject = spec.__name__.removesuffix("Spec").lower()
        sections.append(f"## {subject}: {_summary(spec)}\n")
        sections += [_hook(name, function) for name, function in vars(spec).items() if not name.startswith("_")]
    return "\n".join(sections)


def signature(name: str, function: Callable[..., Any]) -> str:
    """As in the source, without ``self``."""
    found = inspect.signature(function)
    parameters = ", ".join(f"{p.name}: {p.annotation}" for p in list(found.parameters.values())[1:])
    return f"{name}({parameters}) -> {found.return_annotation}"


def parts(docstring: str) -> tuple[str, dict[str, str]]:
    """Summary and the four parts of a hook's docstring. Raises ValueError where one is missing."""
    summary, _, rest = inspect.cleandoc(docstring).partition("\n\n")
    pieces = re.split(rf"^({'|'.join(PARTS)}): ", rest, flags=re.MULTILINE)
    found = dict(zip(pieces[1::2], (" ".join(text.split()) for text in pieces[2::2]), strict=True))
    if tuple(found) != PARTS:
        raise ValueError(f"{summary!r} has the parts {', '.join(found)}, not {', '.join(PARTS)}")
    return summary, found


def _hook(name: str, function: Callable[..., Any]) -> str:
    summary, found = parts(function.__doc__ or "")
    lines = [f"### `{signature(name, function)}`", "", _markdown(summary), ""]
    lines += [f"- **{part}**: {_markdown(text)}" for part, text in found.items()]
    return "\n".join(lines) + "\n"


def _summary(spec: type) -> str:
    text = (spec.__doc__ or "").strip().rstrip(".")
    return text[:1].lower() + text[1:]


def _markdown(text: str) -> str:
    return " ".join(text.replace("``", "`").split())


def main(arguments: list[str]) -> int:
    page = render()
    if "--check" in arguments:
        if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page:
            return 0
        print(f"{PAGE.name} is stale: python docs/generate_hooks.py", file=sys.stderr)  # noqa: T201
        return 1
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
