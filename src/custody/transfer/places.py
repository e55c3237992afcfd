"""Two places of one session: where it lies, where it is to lie, and that they are two."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from custody import layout
from custody.errors import SessionBusy, UsageError
from custody.sessions import workers
from custody.sessions.state import is_alive
from custody.storage import Lock, Storage
from custody.storage.folders import Folder, at
from custody.storage.leases import Leased, Leases

_SHOWN = "place-"


@dataclass(frozen=True)
class Place:
    """A session's folder and its bytes.

    Attributes:
        held: nobody else can open it as long as this process has it; not so where nothing can be written.
    """

    path: Folder
    storage: Storage
    held: bool = True

    def __str__(self) -> str:
        return str(self.path)


def target_of(session: Folder, root: Folder) -> Folder:
    """Where a session is to lie below another root: as it lies below its own. Raises UsageError."""
    parents = session.parents
    if len(parents) < 6 or [parents[n].name for n in (0, 2, 4)] != ["sessions", "experiments", "projects"]:
        raise UsageError(
            f"{session} does not lie in projects/P/experiments/E/sessions/, so no place can be named for it"
        )
    target: Folder = layout.experiment_path(root, parents[3].name, parents[1].name) / f"sessions/{session.name}"
    if target == session:
        raise UsageError(f"{session} is where it is to be copied to: give another root with --to")
    if parents[4] in (root, *root.parents):
        raise UsageError(f"{root} lies within {parents[4]}: a root cannot lie within another one's projects/")
    return target


@contextlib.contextmanager
def held(path: Folder, what: str, *, must: bool = False) -> Iterator[Place]:
    """A session kept from everybody else, if it can be. ``what`` was to be done with it, for the message.

    Raises SessionBusy while somebody has it open; UsageError or OSError where ``must`` and it cannot be written.
    """
    storage, owner = _taken(path, must)
    if storage is None:
        yield seen(path)  # an archive that is only to be read
        return
    if owner is None:
        _leave(storage)
        raise SessionBusy(f"{path} is open in another process: nothing was {what}; try again when it has ended")
    try:
        yield Place(path, storage)
    finally:
        owner.release()
        _leave(storage)


def _taken(path: Folder, must: bool) -> tuple[Storage | None, Lock | None]:
    """A session's storage, None where it cannot be written; and its owner's lock, None where somebody else has it."""
    try:
        storage = at(path, create=True)
        return storage, None if is_alive(storage) else storage.lock(layout.OWNER_LOCK)
    except (UsageError, OSError) as error:
        if must or (
            isinstance(error, OSError) and error.errno != errno.EROFS and not isinstance(error, PermissionError)
        ):
            raise
        if is_alive(at(path)):
            return at(path), None
        return None, None


def seen(path: Folder) -> Place:
    """A session's place that is only looked at."""
    return Place(path, at(path), held=False)


def _leave(storage: Storage) -> None:
    """Take the heartbeat away that was only there for the lock."""
    workers.close(storage)
    if isinstance(storage, Leased) and isinstance(storage.leases, Leases):
        with contextlib.suppress(OSError):
            storage.remove(storage.leases.heartbeat.name)


def refuse_if_same(one: Place, other: Place) -> None:
    """Raises UsageError where both are the same bytes under two names (a link, a mount, an alias of a bucket)."""
    if not any(entry.name == layout.MANIFEST for entry in other.storage.list(layout.MANIFEST)):
        return  # it would have the other's
    if isinstance(one.path, Path) and isinstance(other.path, Path):
        same = os.path.samefile(one.path, other.path)
    else:
        same = False
    if not same and one.held:  # a mount of a server's folder may have another number than a second mount of it
        same = _shows_in(one, other)
    if same:
        raise UsageError(f"{other} and {one} are the same folder under two names: nothing was changed")


def _shows_in(one: Place, other: Place) -> bool:
    """Whether what is put into one place is in the other."""
    if isinstance(one.path, Path):
        for left in one.path.glob(f".tmp-*{_SHOWN}*"):  # by a look that was killed
            left.unlink(missing_ok=True)
    name, token = f".tmp-{_SHOWN}{secrets.token_hex(8)}", secrets.token_bytes(16)
    one.storage.put(name, token)
    try:
        return other.storage.read(name) == token
    except FileNotFoundError:
        return False
    finally:
        one.storage.remove(name)
