"""Takes a migration back: what it made goes, and nothing else. The source is not looked at."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from custody import layout
from custody.errors import SessionBusy, UsageError
from custody.migrate import check, copying, record
from custody.migrate.apply import STAGING
from custody.migrate.record import Record
from custody.migrate.source import shown
from custody.sessions.state import is_alive
from custody.storage.local import LocalStorage

_REMOVED = ".removing-"


@dataclass
class Removed:
    """What went, of one migration."""

    migration: str
    files: int = 0
    bytes: int = 0
    sessions: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def rollback(destination: Path, *, force: bool = False) -> list[Removed]:
    """Remove what the migrations of a destination made.

    Raises UsageError where something was changed or added since, unless ``force``; SessionBusy where one of the
    sessions is alive.
    """
    found = sorted(record.required(destination), key=lambda made: made.time, reverse=True)  # the last one first
    with record.alone(destination):
        for made in found:
            for session in made.sessions:
                folder = destination / session.folder
                if folder.is_dir() and is_alive(LocalStorage(folder, create=False)):
                    raise SessionBusy(f"session {session.session} is alive; nothing was removed")
            if not force and made.state == "complete":
                _refuse_changed(destination, made)
        return [_remove(destination, made) for made in found]


def _refuse_changed(destination: Path, made: Record) -> None:
    changed = [entry.path for entry in made.made if check.change(destination, entry)]
    added = check.additions(destination, made)
    if not changed and not added:
        return
    parts = []
    if changed:
        parts.append(f"{len(changed)} files were changed (the first is {shown(changed[0])})")
    if added:
        parts.append(f"{len(added)} were added or have grown (the first is {shown(added[0])})")
    raise UsageError(
        f"{destination} is not as migration {made.migration} left it: {'; '.join(parts)}. Nothing was removed. "
        "What is new there, paid calls among it, would go, too: --force does it all the same"
    )


def _remove(destination: Path, made: Record) -> Removed:
    removed = Removed(made.migration)
    record.write(destination, made.model_copy(update={"state": "rolling_back"}))
    for session in made.sessions:
        folder = destination / session.folder
        gone = folder.with_name(f"{_REMOVED}{session.session}")
        if folder.is_dir():
            removed.sessions.append(session.session)
            os.rename(folder, gone)  # a session is there whole, or not at all
        for leftover in (gone, folder.with_name(f"{STAGING}{session.session}")):
            if leftover.is_dir():
                for path in leftover.rglob("*"):
                    if path.is_file():
                        removed.files, removed.bytes = removed.files + 1, removed.bytes + path.stat().st_size
                shutil.rmtree(leftover)
        _drop_empty(folder.parent, destination)
    inside = tuple(f"{session.folder}/" for session in made.sessions)
    for file in made.files:
        if file.goes_to is not None and not file.goes_to.startswith(inside):
            _unlink(destination, file.goes_to, file.sha256, removed)
    for grown in made.chronologs:
        _shorten(destination, grown, removed)
    (destination / made.name).unlink()
    for leftover in (destination / layout.MIGRATIONS).glob(".tmp-*"):
        leftover.unlink()
    _drop_empty(destination / layout.MIGRATIONS, destination)
    return removed


def _unlink(destination: Path, name: str, sha256: str | None, removed: Removed) -> None:
    path = destination / name
    copying.beside(path).unlink(missing_ok=True)
    if not path.is_file():
        _drop_empty(path.parent, destination)
        return
    if copying.digest(path) != sha256:
        removed.left.append(shown(name))  # somebody has put something else in its place
        return
    removed.files, removed.bytes = removed.files + 1, removed.bytes + path.stat().st_size
    path.unlink()
    _drop_empty(path.parent, destination)


def _shorten(destination: Path, grown: record.ChronologGrown, removed: Removed) -> None:
    """Take our events back where nobody has written after them: the lines of others name the ones before."""
    path = destination / grown.path
    if not path.is_file():
        return
    if grown.sha256 and (path.stat().st_size != grown.after or copying.digest(path) != grown.sha256):
        removed.left.append(f"{shown(grown.path)} (events of other sessions follow ours)")
    elif grown.before is None:
        path.unlink()
        _drop_empty(path.parent, destination)
    else:
        os.truncate(path, grown.before)


def _drop_empty(folder: Path, stop: Path) -> None:
    """Remove a folder and those above it that are empty by that, up to ``stop``."""
    with contextlib.suppress(OSError):
        while folder != stop and stop in folder.parents:
            folder.rmdir()
            folder = folder.parent
