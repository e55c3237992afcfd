"""Whether other processes have written to a folder's logs: the question that every call asks before it is sent.

Reading the folder's whole list for it would cost more with every segment. A log that somebody else starts
shows in the folder's own time of change; one that is being written, in its size. What cannot grow any more
is not looked at: a log before the writer's last one.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_SETTLED = 1.0  # seconds: a file made within the clock's grain of the last look would not move the folder's time


class FolderWatch:
    """Watches the logs ``<writer>-<number>.jsonl`` of one folder, and what stands beside them, but for ``own``'s."""

    def __init__(self, folder: Path, own: str) -> None:
        self._folder, self._own = folder, own
        self._changed_at = -1
        self._sizes: dict[str, int] = {}
        self._growing: dict[str, str] = {}
        self._found: tuple[int, dict[str, int]] | None = None

    def changed(self) -> bool:
        """Whether anything is new since ``taken`` was last called. Raises OSError."""
        changed_at = os.stat(self._folder).st_mtime_ns
        if changed_at == self._changed_at:
            try:
                sizes = {name: os.stat(path).st_size for name, path in self._growing.items()}
            except FileNotFoundError:  # taken away just now: whoever reads the folder will say so
                sizes = {}
            if sizes.keys() == self._growing.keys() and all(self._sizes[name] == size for name, size in sizes.items()):
                return False
            self._found = changed_at, {**self._sizes, **sizes}
            return True
        sizes = {}
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if not entry.name.startswith(self._own) and entry.is_file():
                    sizes[entry.name] = entry.stat().st_size
        settled = changed_at if time.time_ns() - changed_at > _SETTLED * 1e9 else -1
        self._found = settled, sizes
        if sizes == self._sizes:
            self.taken()
            return False
        return True

    def taken(self) -> None:
        """What ``changed`` found has been read."""
        if self._found is None:
            return
        (self._changed_at, self._sizes), self._found = self._found, None
        last: dict[str, str] = {}
        for name in sorted(self._sizes):
            if name.endswith(".jsonl"):  # what stands beside a log is made once
                last[name.rpartition("-")[0]] = name
        self._growing = {name: os.path.join(self._folder, name) for name in last.values()}
