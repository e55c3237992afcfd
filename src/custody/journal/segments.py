"""The segments of a session by name, whether they lie there as they were written or compressed.

``<writer>-<nnnnnn>.jsonl`` is a segment; ``….jsonl.zst`` is the same bytes, compressed once it was closed; ``….idx``
beside it is its sidecar index. Places and sizes are always those of the bytes as written.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Protocol

from custody import layout
from custody.errors import ArchiveDamaged
from custody.journal.flaws import Flaw, examine
from custody.journal.seekable import Seekable
from custody.storage import Storage

PLAIN, PACKED, SIDECAR = ".jsonl", ".jsonl.zst", ".idx"
_OPEN = 8  # readers kept


class Reader(Protocol):
    """Bytes of one segment."""

    def read(self, offset: int, size: int) -> bytes: ...


class _Plain:
    def __init__(self, storage: Storage, name: str) -> None:
        self._storage, self._name = storage, name

    def read(self, offset: int, size: int) -> bytes:
        return self._storage.read(self._name, offset, size)


class Segments:
    """Reads segments; has the ``read`` of a ``Storage``, by a segment's name. Thread-safe."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self._readers: dict[str, Reader] = {}
        self._sizes: dict[str, tuple[int, int]] = {}  # of compressed ones: as stored, as written
        self._lock = threading.Lock()

    def flaws(self, name: str) -> list[Flaw]:
        """What is not as it was in a compressed segment's file; every byte of it is looked at."""
        stored = {entry.name for entry in self.storage.list(name)}
        if name in stored or f"{name}.zst" not in stored:
            return []
        return examine(self.storage.read(f"{name}.zst"))[1]

    def list(self, prefix: str = f"{layout.ARCHIVE}/") -> list[tuple[str, int]]:
        """Names and sizes, in order of writing. A size is -1 where a compressed one cannot be read."""
        found: dict[str, int] = {}
        packed: dict[str, int] = {}
        for entry in self.storage.list(prefix):
            if entry.name.endswith(PLAIN):
                found[entry.name] = entry.size
            elif entry.name.endswith(PACKED):
                packed[entry.name.removesuffix(".zst")] = entry.size
        for name, size in packed.items():
            if name not in found:  # else a crash came between compressing it and removing what was compressed
                found[name] = self._packed_size(name, size)
        return sorted(found.items())

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        """Bytes as they were written. Raises FileNotFoundError, ArchiveDamaged."""
        wanted = 2**62 if size is None else size
        with self._lock:
            reader = self._readers.get(name)
            if reader is not None:
                return reader.read(offset, wanted)
            try:
                return self.storage.read(name, offset, size)
            except FileNotFoundError:
                return self._packed(name).read(offset, wanted)

    def blocks(self, name: str, size: int) -> Iterator[bytes]:
        """All of a segment, in pieces of at most ``size``."""
        offset = 0
        while block := self.read(name, offset, size):
            yield block
            offset += len(block)

    def _packed_size(self, name: str, size: int) -> int:
        with self._lock:
            stored, plain = self._sizes.get(name, (-1, -1))
            if stored != size:  # it never changes, but a repair may have come between
                try:
                    plain = self._packed(name, size).size
                except ArchiveDamaged:
                    plain = -1
                self._sizes[name] = size, plain
            return plain

    def _packed(self, name: str, size: int | None = None) -> Seekable:
        reader = self._readers.get(name)
        if isinstance(reader, Seekable):
            return reader
        stored = f"{name}.zst"
        if size is None:
            size = next((e.size for e in self.storage.list(stored) if e.name == stored), None)
        if size is None:
            raise FileNotFoundError(f"{self.storage.url}/{name}")
        opened = Seekable(stored, _Plain(self.storage, stored).read, size)
        if len(self._readers) >= _OPEN:
            self._readers.pop(next(iter(self._readers)))
        self._readers[name] = opened
        return opened


def segments(storage: Storage, prefix: str = f"{layout.ARCHIVE}/") -> list[tuple[str, int]]:
    """Names and sizes of a session's segments, in order of writing."""
    return Segments(storage).list(prefix)


def writer_of(segment: str) -> str:
    """The writer's id in a segment's name."""
    return segment.rpartition("/")[2].removesuffix(PLAIN).rpartition("-")[0]


def number_of(segment: str) -> int | None:
    """The segment's number in its name; None where it has none."""
    number = segment.removesuffix(PLAIN).rpartition("-")[2]
    return int(number) if number.isascii() and number.isdecimal() else None
