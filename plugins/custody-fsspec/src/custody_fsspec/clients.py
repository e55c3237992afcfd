"""Which client library serves a URL."""

from __future__ import annotations

import importlib.util
from urllib.parse import urlsplit

from custody.plugin import UsageError
from custody_fsspec.objects import Objects
from custody_fsspec.settings import Settings

OBSTORE = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az"}


def objects_of(url: str, settings: Settings) -> Objects | None:
    """None where nothing knows the scheme. Raises UsageError for a URL that cannot be used."""
    scheme, _, rest = url.partition("://")
    parts = urlsplit(url)
    if parts.password or ("@" in parts.netloc and scheme in OBSTORE):
        raise UsageError(f"{scheme}://...: this URL holds a credential; give it to the client library by its own way")
    if parts.query or parts.fragment:
        raise UsageError(f"{scheme}://{parts.netloc}{parts.path}: a storage's URL has neither '?' nor '#'")
    if any(part in (".", "..") for part in rest.split("/")) or not rest.strip("/"):
        raise UsageError(f"{url}: this is not the URL of a folder")
    bucket = scheme in OBSTORE or scheme == "memory"  # then a third slash is none of an absolute path
    url = f"{scheme}://{rest.strip('/') if bucket else rest.rstrip('/')}"
    if (
        scheme in OBSTORE
        and settings.client != "fsspec"
        and (settings.client == "obstore" or importlib.util.find_spec("obstore") is not None)
    ):
        from custody_fsspec.on_obstore import ObstoreObjects

        return ObstoreObjects(url, OBSTORE[scheme], settings)
    from custody_fsspec.on_fsspec import objects

    return objects(url, scheme, settings)
