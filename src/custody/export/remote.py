"""Parquet files by URL: through fsspec, whose filesystems DuckDB takes. Its own extension for S3 is a download."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from custody.errors import StorageError, UsageError


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
        _prefer_obstore(scheme)
        try:
            found[scheme] = opened.filesystem(scheme)
        except (ImportError, ValueError) as error:
            raise UsageError(f"{scheme}:// cannot be opened: {error}") from error
    return found


def _prefer_obstore(scheme: str) -> None:
    """Where obstore is installed it serves the clouds' schemes, as in custody-fsspec; else what fsspec knows."""
    if scheme in ("s3", "gs", "az", "abfs"):
        with contextlib.suppress(ImportError):
            import obstore.fsspec

            made: Any = obstore.fsspec
            made.register(scheme)


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
