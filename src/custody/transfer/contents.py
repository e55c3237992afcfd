"""What of a session's folder is the session, and what belongs to the machine or process that has it open."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from custody import layout
from custody.storage import Storage
from custody.storage.folders import Folder
from custody.storage.local import LocalStorage

_HELD = tuple(f"{lock.removesuffix('.lock')}/" for lock in layout.LOCKS if lock != layout.CLAIMS)
# Claims go along: one that its owner died with says that a call may have been sent. Its owner counts as dead there,
# because heartbeats stay behind: they say by the first storage's clock who is alive.


def is_bound(name: str) -> bool:
    """Whether a file belongs to a machine: locks, leases of locks, heartbeats, and what a crash left half written."""
    return (
        name in layout.LOCKS
        or name.startswith((*_HELD, f"{layout.WORKERS}/"))
        or name.rpartition("/")[2].startswith(".tmp-")
    )


def files(storage: Storage) -> dict[str, int]:
    """The session's files by name, with their sizes in bytes; a log is one file, in however many parts it lies."""
    found = {e.name: e.size for e in storage.list() if not is_bound(e.name) and e.name != layout.COPYING}
    if isinstance(storage, LocalStorage):  # a link may lead anywhere
        return {name: size for name, size in found.items() if not (storage.root / name).is_symlink()}
    return found


def is_carried(name: str) -> bool:
    """Whether it is a project's chronolog that a copy brought (``around.carry``), which its source need not have."""
    return name.startswith(layout.CARRIED) and name.endswith(".jsonl")


def unusual(place: Folder) -> list[str]:
    """Links, pipes and the like in a local session, by name."""
    return sorted(_unusual(place)) if isinstance(place, Path) else []


def _unusual(place: Path) -> Iterator[str]:
    for where, folders, names in os.walk(place):
        for name in (*names, *folders):
            path = Path(where, name)
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                yield path.relative_to(place).as_posix()
