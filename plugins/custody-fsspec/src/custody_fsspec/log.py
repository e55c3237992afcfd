"""A log with one writer: what was appended between two syncs is one part."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from custody_fsspec.objects import Objects
from custody_fsspec.parts import part_key

_QUIET = 20  # looks at nothing, after which the thread waits to be told


class PartLog:
    """Appends in memory; ``sync`` is one put-if-absent for all that was appended.

    A line that nobody syncs is uploaded in the background: a request is on the server while the vendor thinks, and
    nobody waits for it.

    Args:
        flush: seconds after an append without a sync.
        conditional: the server honours put-if-absent.
        stored: told of each part that is on the server, before anybody else.
    """

    def __init__(
        self, objects: Objects, name: str, *, flush: float, conditional: bool, stored: Callable[[], None]
    ) -> None:
        self._objects, self._name, self._flush, self._conditional = objects, name, flush, conditional
        self._told = stored
        self._changed = threading.Condition()  # of a reentrant lock: an abandoned stream ends within an append
        self._buffer: list[bytes] = []
        self._taken = 0  # bytes given to an upload, or to one before it
        self._stored = 0  # bytes on the server without a gap
        self._done: dict[int, int] = {}  # uploads that overtook another, by their first byte
        self._due = 0.0
        self._failed: BaseException | None = None
        self._closed = False
        self._thread: threading.Thread | None = None
        self._looks = False  # the thread looks by itself every now and then: to wake it at each append costs each call
        self._waiting = 0  # syncs that wait for another's upload

    def append(self, data: bytes) -> None:
        if not data:
            return
        with self._changed:
            self._check()
            self._buffer.append(data)
            if len(self._buffer) == 1:
                self._due = time.monotonic() + self._flush
                if self._thread is None:
                    thread = threading.Thread(target=self._run, name="custody-flush", daemon=True)
                    with contextlib.suppress(RuntimeError):  # at the end of the interpreter: ``sync`` does it
                        thread.start()
                        self._thread = thread
                elif not self._looks:
                    self._changed.notify_all()

    def sync(self) -> None:
        taken = False
        try:
            with self._changed:
                self._check()
                taken = True
                begin, data = self._take()
                end = self._taken
            if data:
                self._upload(begin, data)
        except BaseException as error:
            if taken:  # Ctrl-C right here, too: what was taken would be waited for in vain
                with self._changed:
                    self._failed = self._failed or error
                    self._changed.notify_all()
            raise
        with self._changed:
            while self._stored < end:
                self._check()
                self._waiting += 1
                try:
                    self._changed.wait()
                finally:
                    self._waiting -= 1

    def close(self) -> None:
        """Stores what is left. Raises OSError."""
        with self._changed:
            if self._closed:
                return
            try:
                if self._failed is None:
                    self.sync()
            finally:
                self._closed = True
                self._changed.notify_all()

    def _check(self) -> None:
        if self._failed is not None:
            raise OSError(f"{self._objects.url}/{self._name}: this log failed earlier ({self._failed})")
        if self._closed:
            raise OSError(f"{self._objects.url}/{self._name}: this log is closed")

    def _take(self) -> tuple[int, bytes]:
        begin, data = self._taken, b"".join(self._buffer)
        self._buffer.clear()
        self._taken += len(data)
        return begin, data

    def _upload(self, begin: int, data: bytes) -> None:
        """Without the lock. An upload may overtake an earlier one; the log goes as far as there is no gap."""
        try:
            self._store(part_key(self._name, begin), data)
            self._told()
        except BaseException as error:
            with self._changed:
                self._failed = self._failed or error
                self._changed.notify_all()
            raise
        with self._changed:
            self._done[begin] = begin + len(data)
            while self._stored in self._done:
                self._stored = self._done.pop(self._stored)
            if self._waiting:
                self._changed.notify_all()

    def _store(self, key: str, data: bytes) -> None:
        if not self._conditional:
            self._objects.put(key, data)
        elif not self._objects.put_new(key, data) and self._objects.get(key)[0] != data:
            # Else it is an upload of ours that was stored, and whose answer was lost.
            raise OSError(f"{self._objects.url}/{key}: somebody else has ended or continued this log")

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._is_due():
                    return
                begin, data = self._take()
            try:
                self._upload(begin, data)
            except Exception:  # the next append or sync is told
                return

    def _is_due(self) -> bool:
        """With the lock: wait until something has stood in the buffer for long enough. False at the end."""
        quiet = 0
        while not (self._closed or self._failed is not None):
            left = self._due - time.monotonic() if self._buffer else self._flush
            if self._buffer and left <= 0:
                return True
            quiet = 0 if self._buffer else quiet + 1
            self._looks = quiet < _QUIET
            self._changed.wait(left if self._looks else None)
        return False
