"""``custody explain-miss``: why a request is not answered from a stored session."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from custody.cli.console import print_json, print_pairs, safe
from custody.cli.marked import marked
from custody.cli.stored import json_option, open_session, root_option, session_argument
from custody.errors import UsageError
from custody.identity.difference import ABSENT, Difference
from custody.journal.archive import StoredCall
from custody.report import misses
from custody.report.misses import Explanation

_SAID = {
    "archived": "archived: this very request is answered from the archive",
    "used_up": "archived in this scope, and asked for once more than it was answered",
    "other_scope": "archived, but in other scopes only",
    "unanswered": "asked before, and without an answer that is replayed",
    "differs": "not in the archive",
    "nothing_to_compare": "not in the archive, which holds no request that can be read",
}
_MOST = 10


@click.command("explain-miss")
@session_argument
@click.argument("request", required=False, metavar="[REQUEST.json|-]")
@click.option("--last", is_flag=True, help="What the session's last strict run missed.")
@root_option
@json_option
def explain_miss(session: str, request: str | None, last: bool, root: str, as_json: bool) -> None:
    """The archived request of SESSION that is nearest to another one, and every difference.

    REQUEST.json is an object with url, method, headers, body and scope, as far as they are known, or the body of
    the request alone; "-" reads it from standard input. Exits 0 where it is archived, 1 where not, 2 misuse.
    """
    if last == (request is not None):
        raise UsageError("give either a file with the request, or --last")
    opened = open_session(session, root)
    asked = misses.last_miss(opened.storage) if request is None else misses.given(_read(request), opened.storage)
    found = misses.explain(opened.archive, asked)
    if as_json:
        print_json({"session": opened.manifest.session, **found.as_dict()})
    else:
        _print(found)
    sys.exit(0 if found.verdict == "archived" else 1)


def _read(name: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from error


def _print(found: Explanation) -> None:
    asked = found.asked
    pairs = [("asked", _asked(asked.fields)), ("compared", ", ".join(asked.parts)), ("verdict", _SAID[found.verdict])]
    pairs += [("the same", _call(call)) for call in found.same[:_MOST]]
    if len(found.same) > _MOST:
        pairs.append(("the same", f"and {len(found.same) - _MOST} more"))
    if found.nearest is not None and found.nearest.differences:
        pairs += [("nearest", _call(found.nearest.call)), ("differences", str(len(found.nearest.differences)))]
    print_pairs(pairs)
    for difference in found.nearest.differences if found.nearest else ():
        _print_difference(difference)


def _asked(fields: Mapping[str, Any]) -> str:
    said = " ".join(str(fields.get(name) or "") for name in ("method", "url")).strip()
    scope = fields.get("scope")
    if isinstance(scope, dict):
        said += f" in scope {json.dumps(scope, ensure_ascii=False)}"
    said += f", replicate {fields['replicate']}" if "replicate" in fields else ""
    return said + (f", at {fields['time']}" if "time" in fields else "")


def _call(call: StoredCall) -> str:
    fields = call.fields
    scope = json.dumps(fields.get("scope"), ensure_ascii=False)
    return f"call {call.id}: {fields.get('outcome')}, in scope {scope}, replicate {fields.get('replicate')}"


def _print_difference(difference: Difference) -> None:
    path, old, new = difference
    click.echo(f"\n{safe(path)}")
    if isinstance(old, str) and isinstance(new, str):
        _indented(marked(old, new))
        return
    if old is not ABSENT:
        _indented(f"[-{_value(old)}-]")
    if new is not ABSENT:
        _indented(f"{{+{_value(new)}+}}")


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _indented(text: str) -> None:
    """Each line set in, so that none passes for a line of ours."""
    for line in safe(text).split("\n"):
        click.echo(f"    {line}")
