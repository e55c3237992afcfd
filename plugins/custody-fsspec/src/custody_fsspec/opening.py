"""Which client library serves a URL."""

from __future__ import annotations

import importlib.util
from urllib.parse import urlsplit

from custody.plugin import UsageError
from custody_fsspec import probe
from custody_fsspec.objects import Objects
from custody_fsspec.settings import Settings
from custody_fsspec.storage import LeasedStorage, ObjectStorage

OBSTORE = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az"}


def open_url(url: str, *, create: bool = True, settings: Settings | None = None) -> ObjectStorage | None:
    """None where nothing here knows the scheme. What the server can do is found out at once.

    Raises UsageError for a URL that cannot be used, and OSError where the server does not answer.
    """
    settings = settings or Settings.from_environment()
    objects = _objects(url, settings)
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
        return LeasedStorage(objects, settings)
    storage = ObjectStorage(objects, settings)
    storage.not_shared = can.why_not or f"{url} is of this {can.durability} alone"
    return storage


def _objects(url: str, settings: Settings) -> Objects | None:
    scheme, _, rest = url.partition("://")
    parts = urlsplit(url)
    if parts.password or ("@" in parts.netloc and scheme in OBSTORE):
        raise UsageError(f"{scheme}://...: this URL holds a credential; give it to the client library by its own way")
    if parts.query or parts.fragment:
        raise UsageError(f"{scheme}://{parts.netloc}{parts.path}: a storage's URL has neither '?' nor '#'")
    if any(part in (".", "..") for part in rest.split("/")) or not rest.strip("/"):
        raise UsageError(f"{url}: this is not the URL of a folder")
    url = f"{scheme}://{rest.rstrip('/')}"
    if (
        scheme in OBSTORE
        and settings.client != "fsspec"
        and (settings.client == "obstore" or importlib.util.find_spec("obstore") is not None)
    ):
        from custody_fsspec.on_obstore import ObstoreObjects

        return ObstoreObjects(url, OBSTORE[scheme], settings)
    from custody_fsspec.on_fsspec import objects

    return objects(url, scheme, settings)
