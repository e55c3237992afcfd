"""Local paths: everything without a scheme, and ``file://``."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from custody.hookspecs import hookimpl
from custody.storage import Storage
from custody.storage.local import LocalStorage


class Plugin:
    @hookimpl(trylast=True)
    def open_storage(self, url: str, create: bool) -> Storage | None:
        if url.startswith("file://"):
            return LocalStorage(Path(unquote(urlsplit(url).path)), create=create)
        if "://" in url:
            return None
        return LocalStorage(Path(url), create=create)
