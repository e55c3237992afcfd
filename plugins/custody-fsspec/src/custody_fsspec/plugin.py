"""Opens URLs."""

from __future__ import annotations

from custody.plugin import Storage, hookimpl
from custody_fsspec.opening import open_url


class FsspecPlugin:
    @hookimpl(trylast=True)  # whoever serves one scheme only goes first
    def open_storage(self, url: str, create: bool) -> Storage | None:
        if "://" not in url or url.startswith("file://"):  # the core's
            return None
        return open_url(url, create=create)
