"""Exported files by URL. They are written by the storage plugins, and read through fsspec, whose filesystems DuckDB
takes: its own extension for S3 is a download."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, Any
from urllib.parse import urlsplit

from custody.errors import StorageError, UsageError
from custody.storage import Streaming
from custody.storage.folders import RemoteFolder, at

_BLOCK = 8 * 1024 * 1024


def filesystems(urls: Iterable[str]) -> dict[str, Any]:
    """fsspec's filesystem by scheme, for names with one. Credentials are found as the platform's tools find them.

    Raises UsageError where fsspec, or what it needs for a scheme, is not installed.
    """
    schemes = sorted({url.partition("://")[0] for url in urls if "://" in url})
    if not schemes:
        return {}
    try:
        import fsspec
    except ImportError as error:
        raise UsageError(f"{schemes[0]}:// needs fsspec: pip install 'custody-fsspec[s3]'") from error
    opened: Any = fsspec
    found = {}
    for scheme in schemes:
        by_obstore = _prefer_obstore(scheme)
        try:
            found[scheme] = opened.filesystem(scheme, **(_options() if scheme == "s3" and by_obstore else {}))
        except (ImportError, ValueError) as error:
            raise UsageError(f"{scheme}:// cannot be opened: {error}") from error
    return found


def _options() -> dict[str, Any]:
    """For a server on this machine without TLS, as the storage plugin takes it."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    here = endpoint.startswith("http://") and urlsplit(endpoint).hostname in ("localhost", "127.0.0.1", "::1")
    return {"client_options": {"allow_http": True}} if here else {}


def _prefer_obstore(scheme: str) -> bool:
    """Where obstore is installed it serves the clouds' schemes, as in custody-fsspec; else what fsspec knows."""
    if scheme in ("s3", "gs", "az", "abfs"):
        with contextlib.suppress(ImportError):
            import obstore.fsspec

            made: Any = obstore.fsspec
            made.register(scheme)
            return True
    return False


def expanded(url: str, filesystem: Any) -> list[str]:
    """The files that a URL, perhaps a pattern, means, each by the name under which DuckDB asks for it.

    Raises UsageError where there is none, StorageError where nobody can say.
    """
    names: list[str] = []
    try:
        if any(character in url for character in "*?["):
            names = filesystem.glob(url)
        elif filesystem.info(url)["type"] == "file":
            names = [url]
    except FileNotFoundError:
        pass
    except Exception as error:  # each backend has errors of its own
        told = str(error).partition("\n")[0]
        raise StorageError(f"{url} cannot be read: {told}") from error
    if not names:
        raise UsageError(f"{url}: there is no such file")
    return [filesystem.unstrip_protocol(filesystem._strip_protocol(name)) for name in names]


@contextlib.contextmanager
def new_object(place: RemoteFolder, *, replace: bool) -> Iterator[IO[bytes]]:
    """A file that is stored at ``place``, whole, when the block ends without an exception; it is made on this machine.

    Raises UsageError where something is there already, unless ``replace``, PluginError, StorageError and OSError.
    """
    storage, taken = (
        at(place.parent, create=True),
        f"{place} is there already, and was left as it is; --force replaces it",
    )
    if not replace and place.is_file():
        raise UsageError(taken)
    with tempfile.TemporaryFile() as file:
        yield file
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if isinstance(storage, Streaming) and size > _BLOCK:
            if replace:
                storage.remove(place.name)
            stored = storage.put_stream(place.name, iter(lambda: file.read(_BLOCK), b""))
        elif replace:
            storage.put(place.name, file.read())
            stored = True
        else:
            stored = storage.put_if_absent(place.name, file.read())
        if not stored:
            raise UsageError(taken)
