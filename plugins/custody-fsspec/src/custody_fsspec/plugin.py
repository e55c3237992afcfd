"""Opens URLs, and adds ``custody sync``."""

from __future__ import annotations

from typing import Any

from custody.plugin import Storage, hookimpl
from custody_fsspec.opening import open_url


class FsspecPlugin:
    @hookimpl(trylast=True)  # whoever serves one scheme only goes first
    def open_storage(self, url: str, create: bool) -> Storage | None:
        if "://" not in url or url.startswith("file://"):  # the core's
            return None
        return open_url(url, create=create)

    @hookimpl
    def register_commands(self, cli: Any) -> None:
        from custody_fsspec.sync import sync

        cli.add_command(sync)
