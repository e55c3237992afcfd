"""Which storage a URL is."""

from __future__ import annotations

from custody_fsspec import probe
from custody_fsspec.behind import BehindStorage
from custody_fsspec.clients import objects_of
from custody_fsspec.settings import Settings
from custody_fsspec.storage import LeasedStorage, ObjectStorage


def open_url(url: str, *, create: bool = True, settings: Settings | None = None) -> ObjectStorage | None:
    """None where nothing here knows the scheme. What the server can do is found out at once.

    Raises UsageError for a URL that cannot be used, and OSError where the server does not answer.
    """
    settings = settings or Settings.from_environment()
    objects = objects_of(url, settings)
    if objects is None:
        return None
    try:
        can = probe.capabilities(objects)
    except PermissionError as error:
        if create:
            raise
        storage = ObjectStorage(objects, settings)  # an auditor's: it can be read
        storage.not_shared = str(error)
        return storage
    if can.put_if_absent and can.server_clock:
        return (BehindStorage if settings.behind else LeasedStorage)(objects, settings)
    storage = ObjectStorage(objects, settings)
    storage.not_shared = can.why_not or f"{url} is of this {can.durability} alone"
    return storage
