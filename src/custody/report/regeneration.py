"""Makes a session's results again from its archive alone, and compares them byte by byte.

The program runs in a copy of the session that has the archive and no checkpoint, in strict mode, so everything is
computed anew from archived answers; no connection leaves its Python processes. The session itself is only read.
"""

from __future__ import annotations

import difflib
import shutil
from dataclasses import dataclass
from pathlib import Path

from custody import layout
from custody.storage.folders import Folder, at
from custody.storage.local import LocalStorage

RESULTS = "analysis_results"


@dataclass(frozen=True)
class Difference:
    """One file that is not the same. ``what``: "differs", "missing" (not made again), "new" (not there before)."""

    file: str
    what: str
    detail: str

    def as_dict(self) -> dict[str, str]:
        return vars(self)


def copy(session: Path, root: Path) -> Path:
    """A copy of a session under another root, without checkpoints and results."""
    project, experiment = session.parents[3].name, session.parents[1].name
    target = layout.experiment_path(root, project, experiment) / "sessions" / session.name
    shutil.copytree(session / layout.ARCHIVE, target / layout.ARCHIVE)
    for name in (layout.MANIFEST, layout.REQUEST_KEY, layout.CHRONOLOG, layout.SEGMENTS):
        if (session / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(session / name, target / name)
    for folder in layout.FOLDERS:
        (target / folder).mkdir(parents=True, exist_ok=True)
    for path in (target, *target.rglob("*")):  # a read-only copy of a session can be regenerated, too
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target


def fetched(session: Folder, root: Path) -> Path:
    """A session that can be read as files: itself, or what a remote one holds, below ``root``."""
    if isinstance(session, Path):
        return session
    target = layout.experiment_path(root, session.parents[3].name, session.parents[1].name) / "sessions" / session.name
    storage = at(session)
    here = LocalStorage(target)
    for entry in storage.list():
        here.put(entry.name, storage.read(entry.name))
    return target


def compare(session: Path, again: Path) -> tuple[int, list[Difference]]:
    """How many files are the same, and those that are not."""
    before, after = _files(session / RESULTS), _files(again / RESULTS)
    same, found = 0, []
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            found.append(Difference(name, "missing", "it was not made again"))
        elif name not in before:
            found.append(Difference(name, "new", "it was not there before"))
        else:
            old, new = before[name].read_bytes(), after[name].read_bytes()
            if old == new:
                same += 1
            else:
                found.append(Difference(name, "differs", _where(old, new)))
    return same, found


def lines(session: Path, again: Path, name: str, most: int = 20) -> list[str]:
    """The difference of a text, line by line; none for other bytes."""
    try:
        old, new = ((folder / RESULTS / name).read_text("utf-8").splitlines() for folder in (session, again))
    except (OSError, UnicodeDecodeError):
        return []
    return list(difflib.unified_diff(old, new, "archived", "made again", lineterm="", n=0))[2 : 2 + most]


def _where(old: bytes, new: bytes) -> str:
    at = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    return f"from byte {at} on ({len(old)} bytes before, {len(new)} now)"


def _files(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
