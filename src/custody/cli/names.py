"""Names for a command that was given none: what its script says, else the folder's and the script's name."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from custody import layout
from custody.storage.folders import Folder


class Names(NamedTuple):
    """``root`` is None where the script does not say it."""

    project: str
    experiment: str
    root: str | None = None


def of_command(command: Sequence[str], folder: Folder) -> Names:
    """The names under which a command is recorded when nobody gives any."""
    script = next((Path(word) for word in command if word.endswith(".py")), None)
    stated = in_script(script) if script is not None else None
    if stated is not None:
        return stated
    if script is not None:
        name = script.stem
    elif "-m" in command[:-1]:
        name = command[command.index("-m") + 1]
    else:
        name = Path(command[0]).name
    return Names(layout.name_from(folder.name, "project"), layout.name_from(name, "experiment"))


def in_script(script: Path) -> Names | None:
    """The names in a script's ``custody.session(project="...", experiment="...")``.

    Only what can be read without running it: one pair of literal names. None otherwise; if the script
    then asks for other names than the command's, it is told so before its first call.
    """
    try:
        tree = ast.parse(script.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    found = {_names(node) for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_session(node.func)}
    return found.pop() if len(found) == 1 else None


def _is_session(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute):
        return function.attr == "session" and isinstance(function.value, ast.Name) and function.value.id == "custody"
    return False


def _names(call: ast.Call) -> Names | None:
    given: dict[str | None, ast.expr] = dict(zip(("project", "experiment"), call.args, strict=False))
    given |= {keyword.arg: keyword.value for keyword in call.keywords}
    words = {k: v.value for k, v in given.items() if isinstance(v, ast.Constant) and isinstance(v.value, str)}
    if "project" not in words or "experiment" not in words:
        return None
    return Names(words["project"], words["experiment"], words.get("root"))
