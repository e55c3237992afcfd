"""Every file of a tree with its role, and those that do not belong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from custody import layout
from custody.errors import UsageError
from custody.roles import Level, roles_of


@dataclass(frozen=True)
class Explained:
    """One file. ``foreign``: it does not belong there.

    What lies in a project's or an experiment's folder beside custody's files is the user's; a session's folder is
    custody's own, but for its results.
    """

    name: str
    size: int
    question: str
    foreign: bool = False


def explain(path: Path) -> Iterator[Explained]:
    """``path``: a root, a project, an experiment or a session. Raises UsageError for anything else."""
    path = path.resolve()
    level, base = _level(path)
    for file in _files(path):
        yield _explain(file, base, level, file.relative_to(path).as_posix())


def _explain(file: Path, base: Path, level: str, shown: str) -> Explained:
    size = file.lstat().st_size
    where, name = _place(file, base, level)
    if file.is_symlink():
        return Explained(shown, size, "a link: it may lead out of the session", foreign=where == "session")
    if where is None:
        return Explained(shown, size, "no part of the layout", foreign=True)
    found = roles_of(where, name)
    if found:
        return Explained(shown, size, found[0].question)
    if where == "session":
        return Explained(shown, size, "no file of a session", foreign=True)
    return Explained(shown, size, "yours; custody does not touch it")


def _place(file: Path, base: Path, level: str) -> tuple[Level | None, str]:
    """At which level a file lies, and its name there. ``base`` is the folder of ``level``."""
    parts = file.relative_to(base).parts
    steps = {"root": 0, "project": 2, "experiment": 4, "session": 6}[level]
    above = ("projects", "P", "experiments", "E", "sessions", "S")[:steps]
    whole = (*above, *parts)
    if len(whole) > 6 and whole[4] == "sessions" and _matches(whole):
        return ("session", "/".join(whole[6:])) if layout.is_session_id(whole[5]) or level == "session" else (None, "")
    if len(whole) > 4 and _matches(whole):
        return (None, "") if whole[4] == "sessions" else ("experiment", "/".join(whole[4:]))
    if len(whole) > 2 and whole[0] == "projects":
        return (None, "") if whole[2] == "experiments" else ("project", "/".join(whole[2:]))
    return None, ""


def _matches(whole: tuple[str, ...]) -> bool:
    return whole[0] == "projects" and whole[2] == "experiments"


def _level(path: Path) -> tuple[str, Path]:
    if (path / layout.MANIFEST).is_file() or layout.is_session_id(path.name):
        return "session", path
    if (path / "projects").is_dir():
        return "root", path
    if path.name == "projects" and path.is_dir():
        return "root", path.parent
    if (path / "experiments").is_dir():
        return "project", path
    if (path / "sessions").is_dir() or (path / layout.EXPERIMENT_TOML).is_file():
        return "experiment", path
    raise UsageError(
        f"{path} is no folder of custody: give a root (with projects/ in it), a project, experiment or session"
    )


def _files(path: Path) -> Iterator[Path]:
    """Files and links below, in order; of a root only what lies in ``projects/``."""
    start = path / "projects" if (path / "projects").is_dir() and not (path / layout.MANIFEST).is_file() else path
    for folder, folders, files in os.walk(start):
        folders.sort()
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in sorted([*files, *links]):
            yield Path(folder, name)
