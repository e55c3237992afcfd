"""Whether other processes have stored calls: asked before every call, and a listing of the bucket would cost a request.

A session that has one owner is open on one machine (its owner's lease keeps the others out), so its processes can tell
each other in a file there: each adds a byte when a part of a log is stored. Workers on many machines list instead, and
only where a claim was not the first one.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path


class Changes:
    """One process's side of the file. Thread-safe."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._mine = 0  # bytes that this process has added

    def add(self) -> None:
        """Something is stored. Raises OSError: others would not look then, and might pay again."""
        with self._lock:
            fd = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, b".")
            finally:
                os.close(fd)
            self._mine += 1

    def others(self) -> int:
        """How often others have stored something. Raises OSError."""
        with self._lock:
            try:
                return os.stat(self._file).st_size - self._mine
            except FileNotFoundError:
                return -self._mine


class MachineWatch:
    """A ``storage.Watch`` on it."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._seen: int | None = None
        self._found: int | None = None

    def changed(self) -> bool:
        self._found = self._changes.others()
        return self._found != self._seen

    def taken(self) -> None:
        self._seen = self._found


class AlwaysChanged:
    """A ``storage.Watch`` of a worker, who cannot know without asking."""

    def changed(self) -> bool:
        return True

    def taken(self) -> None: ...
