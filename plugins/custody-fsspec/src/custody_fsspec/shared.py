"""A log with many writers: each batch is put where the log ended when it was made, if nobody was faster."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import random
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager

from custody_fsspec.compacting import CONFIRMED_FOR, MANY, merge
from custody_fsspec.objects import Objects
from custody_fsspec.parts import part_key
from custody_fsspec.reading import Reading

log = logging.getLogger("custody")

Make = Callable[[bytes | None], list[bytes]]
Failed = Callable[[OSError], None]

_CUT = b"\x18"  # CAN: how a line that a crash cut is ended; here only in a log that was copied from elsewhere
_TAIL = 64 * 1024
_RACES = 200  # lost one after another
SOON = 1.0  # seconds between appends in the background


class _Lost(Exception):
    """Another writer was faster."""


class CasLog:
    """Thread-safe; all of one process that append to one log share this object.

    Where the server knows no put-if-absent (``conditional`` is False), ``alone`` keeps the processes of this machine
    apart between the look and the put.
    """

    def __init__(
        self,
        objects: Objects,
        reading: Reading,
        name: str,
        *,
        conditional: bool,
        alone: Callable[[str], AbstractContextManager[None]] | None = None,
    ) -> None:
        self._objects, self._reading, self._name, self._conditional = objects, reading, name, conditional
        self._alone = alone
        self._lock = threading.RLock()
        self._end: int | None = None  # where the log ended when this process saw it last
        self._last: bytes | None = None
        self._heal = b""
        self._confirmed = 0.0
        self._put = 0  # parts, since it was looked whether there are many
        self._queue: list[tuple[Make, Failed | None]] = []
        self._queued = threading.RLock()  # an abandoned stream ends within an append
        self._thread: threading.Thread | None = None
        _logs.add(self)

    def append(self, make: Make) -> None:
        with self._lock:
            waiting = self._taken()
            try:
                self._commit([*(each for each, _ in waiting), make])
            except BaseException:
                with self._queued:
                    self._queue[:0] = waiting
                raise

    def append_soon(self, make: Make, failed: Failed | None = None) -> None:
        with self._queued:
            self._queue.append((make, failed))
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="custody-events", daemon=True)
                with contextlib.suppress(RuntimeError):  # at the end of the interpreter: ``drain`` does it
                    thread.start()
                    self._thread = thread

    def drain(self) -> None:
        with self._lock:
            waiting = self._taken()
            if not waiting:
                return
            try:
                self._commit([each for each, _ in waiting])
            except BaseException as error:
                with self._queued:
                    self._queue[:0] = waiting
                if isinstance(error, OSError):
                    for failed in {id(f): f for _, f in waiting if f is not None}.values():
                        failed(error)
                raise

    def _taken(self) -> list[tuple[Make, Failed | None]]:
        with self._queued:
            waiting, self._queue = self._queue, []
        return waiting

    def _commit(self, makes: list[Make]) -> None:
        if self._conditional or self._alone is None:
            self._race(makes)
            return
        with self._alone(self._name):
            self._end = None
            self._race(makes)

    def _race(self, makes: list[Make]) -> None:
        for race in range(_RACES):
            looked = self._end is None
            if looked:
                self._look()
            lines, last = [], self._last
            for make in makes:
                made = make(last)
                lines += made
                if made:
                    last = made[-1].rstrip(b"\n")
            if not lines:
                if looked:
                    return
                self._end = None  # nothing was put by which it would have shown that somebody was faster
                continue
            try:
                self._append(self._heal + b"".join(lines), last)
            except _Lost:
                if race > 2:
                    time.sleep(random.uniform(0, 0.01 * min(race, 20)))  # noqa: S311
                continue
            return
        raise OSError(f"{self._objects.url}/{self._name}: others append faster than this process can")

    def _append(self, data: bytes, last: bytes | None) -> None:
        begin, self._end = self._end, None  # until it is known
        assert begin is not None
        key = part_key(self._name, begin)
        if not self._conditional:
            self._objects.put(key, data)
        elif not self._objects.put_new(key, data):
            raise _Lost
        # A process that was stopped for long may have put a part where others' parts were, that were merged and
        # removed meanwhile. Nobody reads it then; nothing is removed that is younger than what is trusted here.
        if time.monotonic() - self._confirmed > CONFIRMED_FOR:
            known = self._reading.look(self._name)
            if not any(piece.key == key for piece in known.pieces):
                self._objects.delete([key])
                raise _Lost
        self._end, self._last, self._heal, self._confirmed = begin + len(data), last, b"", time.monotonic()
        self._put += 1

    def _look(self) -> None:
        at = time.monotonic()
        self._last, torn = self._last_line()
        self._heal, self._confirmed = (_CUT + b"\n" if torn else b""), at

    def _last_line(self) -> tuple[bytes | None, bool]:
        """The last complete line, and whether a torn one follows it. Sets ``_end``."""
        known = self._reading.look(self._name, self._reading.known(self._name))
        self._end = end = known.end
        begins = {piece.begin for piece in known.pieces}  # of lines, too: a batch is whole lines
        tail, start = b"", end
        while start > 0:
            # One request: the last part is some lines, and hundreds of them may be a few kilobytes.
            step = min(max(_TAIL, len(tail)), start - max(begin for begin in begins if begin < start))
            start -= step
            tail = self._reading.read(self._name, start, step) + tail
            whole, newline, torn = tail.rpartition(b"\n")
            lines = whole.split(b"\n") if newline else []
            for line in reversed(lines if start in begins else lines[1:]):  # the first may begin before the tail
                if not line.endswith(_CUT):
                    return line, bool(torn)
        return None, bool(tail) and not tail.endswith(b"\n")

    def _run(self) -> None:
        """Appends what was queued, about once a second, until nothing is."""
        while True:
            time.sleep(SOON)
            try:
                self.drain()
                if self._put >= MANY and self._conditional:
                    self._put = 0
                    merge(self._objects, self._name, at_least=MANY)
            except Exception as error:  # those who asked were told; it is tried again with what follows
                log.debug("custody: %s", error)
            with self._queued:
                if not self._queue:
                    self._thread = None
                    return

    def forked(self) -> None:
        """In a forked child: what is queued is the parent's, and a thread of it may have been anywhere."""
        self._lock, self._queued, self._queue, self._thread = threading.RLock(), threading.RLock(), [], None
        self._end = None


_logs: weakref.WeakSet[CasLog] = weakref.WeakSet()


def _drain() -> None:
    for each in tuple(_logs):
        with contextlib.suppress(Exception, KeyboardInterrupt):
            each.drain()


def _in_forked_child() -> None:
    for each in tuple(_logs):
        each.forked()


atexit.register(_drain)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
