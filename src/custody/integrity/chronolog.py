"""A chronolog: one JSON line per workflow event, each with its number and the SHA-256 of the line before.

So a line that is deleted, swapped or edited shows. Timing only: no content. Events are written for the
reader of a session; nothing is decided by them but whether a session has ended.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson

from custody.errors import StorageError
from custody.integrity.chain import GENESIS, Chain
from custody.redact import Redactor
from custody.stamps import now
from custody.storage import Batching, SharedLog

log = logging.getLogger("custody")

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

COMPLETE = re.compile(rb'"event":"llm_call_complete","call_id":"([^"\\\x00-\x1f]+)"')
OF_CALLS = ("llm_call_start", "llm_call_complete", "llm_call_reused")
HEARD = re.compile(rb'"event":"llm_call_(?:start|complete|reused)","call_id":"([^"\\\x00-\x1f]+)"')
"""The call ids of those events, as they are written here."""
_BLOCK, _MOST = 1024 * 1024, 16 * 1024 * 1024


class Chronolog:
    """Appends events; several processes may do so at once. A failing disk is reported once, and stops nothing."""

    def __init__(self, shared: SharedLog, redactor: Redactor) -> None:
        self._shared, self._redactor = shared, redactor
        # Asked once: to look whether an object has a protocol's methods takes longer than to write a line.
        self._batching = shared if isinstance(shared, Batching) else None
        self._failed = False
        self._lock = threading.RLock()
        self._waiting: list[tuple[str, str, dict[str, Any]]] = []
        self._busy = False
        self._last: tuple[bytes, int] = b"", 0  # the line that this process wrote last, and its number

    def event(self, name: str, **fields: Any) -> None:
        """Append one event, stamped now."""
        with self._lock:
            self._waiting.append((name, now(), fields))
            if self._busy:  # an abandoned stream was collected, or a signal came, while this thread wrote
                return
            self._busy = True
            try:
                while self._waiting:
                    self._write(*self._waiting.pop(0))
            finally:
                self._busy = False

    def call_event(self, name: str, **fields: Any) -> None:
        """One of the events of which each call has several, stamped now. Where an append waits for a server it is
        written soon, with others, and before any later event: no call waits for it, and a kill takes at most the last
        ones."""
        if self._batching is not None:
            self._batching.append_soon(self._maker(name, now(), fields), self._tell)
        else:
            self.event(name, **fields)

    def drain(self) -> None:
        """Return when all events are written, or cannot be."""
        if self._batching is not None:
            with contextlib.suppress(OSError, StorageError):  # told
                self._batching.drain()

    def _maker(self, name: str, time: str, fields: dict[str, Any]) -> Callable[[bytes | None], list[bytes]]:
        def make(last: bytes | None) -> list[bytes]:
            known, count = self._last
            number, previous = (count + 1, hashlib.sha256(known).hexdigest()) if last == known else _after(last)
            line = {"seq": number, "time": time, "event": name, **fields, "previous_sha256": previous}
            text = self._redactor.scrub(_written(line))
            self._last = text, number
            return [text + b"\n"]

        return make

    def _write(self, name: str, time: str, fields: dict[str, Any]) -> None:
        try:
            self._shared.append(self._maker(name, time, fields))
        except (OSError, StorageError) as error:
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        if not self._failed:
            log.error("custody: the chronolog cannot be written (%s); events are missing from here on", error)
        self._failed = True


def _written(line: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(line)
    except TypeError:
        return _encode(line).encode("utf-8", "backslashreplace")


def read(data: bytes) -> Iterator[dict[str, Any]]:
    """The events of a chronolog's bytes; lines that are not whole are left out."""
    for line in data.split(b"\n"):
        yield from _events(line)


def _events(line: bytes) -> Iterator[dict[str, Any]]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return
    if isinstance(event, dict) and isinstance(event.get("event"), str):
        yield event


def completed(blocks: Iterable[bytes]) -> set[bytes]:
    """Ids of the calls that were completed, in UTF-8, by a chronolog's bytes in pieces: 10^6 events in about a
    second."""
    found: set[bytes] = set()
    for whole in whole_lines(blocks):
        found.update(COMPLETE.findall(whole))
    return found


def whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """A chronolog's bytes in pieces that end with a line; without its torn end."""
    rest = b""
    for block in blocks:
        whole, newline, tail = block.rpartition(b"\n")
        if newline:
            yield rest + whole
        rest = tail if newline else rest + tail


def latest(
    read: Callable[[int, int], bytes], size: int, wanted: re.Pattern[bytes], sign: bytes
) -> Iterator[dict[str, Any]]:
    """The events whose line ``wanted`` finds something in, the last first; the file is read from its end.

    ``sign``: what all of those lines have, which is found four times as fast as a pattern.
    """
    end, rest, step = size, b"", _BLOCK
    while end > 0:
        start, step = max(0, end - step), min(2 * step, _MOST)  # a request each, where it lies on a server
        data = read(start, end - start) + rest
        begin = data.find(b"\n") + 1 if start else 0  # the first line begins before what was read
        if not start or begin:
            for line in reversed(data[begin:].split(b"\n") if data.find(sign, begin) >= 0 else []):
                if sign in line and wanted.search(line):
                    yield from _events(line)
            rest = data[:begin]
        else:
            rest = data
        end = start


def head(data: bytes) -> tuple[int, str] | None:
    """Number and digest of the last event in a chronolog's bytes, or in the end of them; None without one."""
    for line in reversed(data.split(b"\n")[:-1]):
        try:
            number = json.loads(line)["seq"]
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if type(number) is int:
            return number, hashlib.sha256(line).hexdigest()
    return None


def problems(data: bytes) -> list[str]:
    """What is wrong with the chain of a chronolog's bytes; see ``chain.Chain``."""
    return Chain().follow([data]).problems


def _after(last: bytes | None) -> tuple[int, str]:
    if last is None:
        return 1, GENESIS
    try:
        number = int(json.loads(last)["seq"]) + 1
    except (ValueError, KeyError, TypeError, RecursionError):
        number = 1
    return number, hashlib.sha256(last).hexdigest()
