"""Sessions that are written on one machine first, and stored behind that (``storage.Behind``)."""

from __future__ import annotations

from typing import Any

from custody.errors import BacklogElsewhere, StorageError, StorageNotFound
from custody.storage import Behind, Storage
from custody.storage.folders import Folder, RemoteFolder, at


def catch_up(place: Folder) -> None:
    """Store what dead processes of this machine have left of sessions in a folder, so that all see how these stand.
    Raises StorageError, and OSError where the storage cannot be opened."""
    if not isinstance(place, RemoteFolder):
        return
    try:
        storage = at(place)
    except StorageNotFound:
        return
    if not isinstance(storage, Behind):
        return
    try:
        storage.catch_up()
    except OSError as error:
        raise StorageError(
            f"what was left on this machine of {place} cannot be stored ({error}); nothing was sent. Try again when "
            "the storage can be reached"
        ) from error


def begin(storage: Storage) -> None:
    """From now on this process writes here first, if the storage is set so. Raises BacklogElsewhere, OSError."""
    if isinstance(storage, Behind):
        storage.begin()


def refuse(storage: Storage) -> None:
    """For who changes what is stored, and would not see what is not yet. Raises BacklogElsewhere, OSError."""
    found = backlog(storage)
    if found is not None:
        raise BacklogElsewhere(f"{storage.url}: {sentence(found)}. Nothing was changed")


def finish(storage: Storage) -> None:
    """Wait, for a bounded time, until the storage has everything; what it has not is said."""
    if isinstance(storage, Behind):
        storage.finish()


def backlog(storage: Storage) -> dict[str, Any] | None:
    """For ``custody status``."""
    found = storage.backlog() if isinstance(storage, Behind) else None
    return None if found is None else found._asdict()


def sentence(found: dict[str, Any]) -> str:
    """The same in words."""
    if not found["here"]:
        return (
            f"calls may lie on machine {found['machine']} since {found['since']}, and are not stored yet: "
            "'custody sync' there stores them"
        )
    return f"{found['calls']} calls ({found['bytes']} bytes) are on this machine only, in {found['place']}"
