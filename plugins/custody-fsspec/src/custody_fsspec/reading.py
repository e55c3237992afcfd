"""Reads objects and logs by name, and remembers where the bytes of logs are."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from custody.plugin import Entry
from custody_fsspec.objects import Objects, Stored, sort_key
from custody_fsspec.parts import Piece, Table, log_of, look, table

SUFFIX = ".jsonl"  # of logs: what has another name is one object, and read with one request
_TABLES = 256  # remembered
_AT_ONCE = 16  # parts asked for at the same time
_ATTEMPTS = 20  # a reader may meet a compaction, and the next


class Reading:
    """Thread-safe."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._tables: OrderedDict[str, Table] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """Raises FileNotFoundError."""
        if not name.endswith(SUFFIX):
            return self._whole(name, offset, size)
        end = None if size is None else offset + size
        for _ in range(_ATTEMPTS):
            known = self.known(name)
            if known is None or end is None or end > known.end:
                known = self.look(name, known)
            if known.plain < 0 and not known.pieces:
                self.forget(name)
                raise FileNotFoundError(f"{self._objects.url}/{name} does not exist")
            try:
                return self._pieces(name, known, offset, known.end if end is None else min(end, known.end))
            except FileNotFoundError:  # compacted, removed or replaced meanwhile
                self.forget(name)
        raise OSError(f"{self._objects.url}/{name} changes faster than it can be read; try again")

    def look(self, name: str, before: Table | None = None) -> Table:
        """Ask the server where a log's bytes are."""
        found = look(self._objects, name, before)
        with self._lock:
            # Of one object, too, though it may be replaced at any time: who reads it is told its size by the server.
            if found.pieces:
                self._tables[name] = found
                self._tables.move_to_end(name)
                while len(self._tables) > _TABLES:
                    self._tables.popitem(last=False)
            else:
                self._tables.pop(name, None)
        return found

    def _listed(self, name: str, found: Table) -> None:
        """A log that is remembered is as the server lists it now: it may have been compacted since."""
        with self._lock:
            if name in self._tables:
                if found.pieces:
                    self._tables[name] = found
                else:
                    del self._tables[name]

    def forget(self, name: str) -> None:
        with self._lock:
            self._tables.pop(name, None)

    def forget_all(self) -> None:
        with self._lock:
            self._tables.clear()

    def list(self, prefix: str, hidden: Callable[[str], bool]) -> Iterator[Entry]:
        """Objects and logs by name; parts are no objects."""
        logs: dict[str, list[Stored]] = {}
        for stored in self._objects.list(prefix):
            if not hidden(stored.key):
                logs.setdefault(log_of(stored.key) or stored.key, []).append(stored)
        found = []
        for name, stored_parts in logs.items():
            if name.startswith(prefix):
                size = stored_parts[0].size if len(stored_parts) == 1 else 0
                known = table(name, stored_parts)
                self._listed(name, known)
                if known.plain < 0 and not known.pieces:  # the seal of a log that was removed
                    continue
                found.append(Entry(name, known.end if known.pieces else size))
        return iter(sorted(found, key=lambda entry: sort_key(entry.name)))

    def known(self, name: str) -> Table | None:
        with self._lock:
            return self._tables.get(name)

    def _whole(self, name: str, offset: int, size: int | None) -> bytes:
        if size == 0:
            self._objects.head(name)
            return b""
        return self._objects.get(name, offset, size)[0]

    def _pieces(self, name: str, known: Table, begin: int, end: int) -> bytes:
        wanted = list(_cut(known.pieces, begin, end))
        fetched = self._fetch(wanted)
        for (piece, start, stop), (data, whole) in zip(wanted, fetched, strict=True):
            if len(data) != stop - start or whole != piece.end - piece.begin:
                if piece.key != name:
                    raise OSError(f"{self._objects.url}/{piece.key} is not what was stored; run custody verify")
                raise FileNotFoundError(name)  # it was replaced between the two requests
        return b"".join(data for data, _ in fetched)

    def _fetch(self, wanted: Sequence[tuple[Piece, int, int]]) -> Sequence[tuple[bytes, int]]:
        def fetch(one: tuple[Piece, int, int]) -> tuple[bytes, int]:
            piece, start, stop = one
            return self._objects.get(piece.key, start, None if stop == piece.end - piece.begin else stop - start)

        if len(wanted) < 2:
            return [fetch(one) for one in wanted]
        try:
            with ThreadPoolExecutor(min(_AT_ONCE, len(wanted)), thread_name_prefix="custody-read") as pool:
                return list(pool.map(fetch, wanted))
        except RuntimeError:  # the interpreter ends, and starts no thread any more
            return [fetch(one) for one in wanted]


def _cut(pieces: Sequence[Piece], begin: int, end: int) -> Iterator[tuple[Piece, int, int]]:
    """Which bytes of which pieces, in order, are those of the log from ``begin`` to ``end``."""
    at = begin
    for piece in pieces:
        if at >= end:
            return
        if piece.begin <= at < piece.end:
            stop = min(end, piece.end)
            yield piece, at - piece.begin, stop - piece.begin
            at = stop
