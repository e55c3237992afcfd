"""What is done to a segment once it is closed: its digest into the ledger, its sidecar, and compression.

In a thread of its own, because nobody waits for it: until it is done, readers read the segment as it is. A crash in
between leaves a segment without digest or sidecar, or one that lies there both as it was and compressed: the next
start does the rest.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from custody import layout
from custody.errors import ArchiveDamaged, CustodyError
from custody.journal import indexing, ledger, seekable
from custody.journal.archive import PACK, Archive
from custody.journal.ledger import Ledger
from custody.journal.packed import Packed
from custody.journal.segments import PLAIN, SIDECAR, Segments
from custody.storage import Compacting, Merging, Storage

log = logging.getLogger("custody")

COMPRESS_FROM = 16 * 1024 * 1024  # bytes: smaller ones stay text until somebody asks, for whoever greps
_BLOCK = 4 * 1024 * 1024


@dataclass
class Closer:
    """Closes segments of a session, one after another."""

    storage: Storage
    ledger: Ledger
    compress_from: int = COMPRESS_FROM

    def __post_init__(self) -> None:
        self._pid = os.getpid()
        self._queue: queue.SimpleQueue[tuple[str, Packed | None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.RLock()  # an abandoned stream is collected, or a signal comes, while it is held

    def begun(self, segment: str) -> None:
        """A writer has made this segment."""
        self.ledger.begun(segment)

    def closed(self, segment: str, index: Packed | None = None) -> None:
        """Nobody writes to this segment any more. Returns at once."""
        if self._pid != os.getpid():  # the thread is the parent's
            self.__post_init__()
        with self._lock:
            self._queue.put((segment, index))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="custody-closer", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # at the end of the interpreter, or too many: ``finish`` does it
                    self._thread = None

    def finish(self) -> None:
        """Wait until all is done. Safe to call twice."""
        if self._pid != os.getpid():
            return
        with self._lock:
            thread, self._thread = self._thread, None
            self._queue.put(None)
        if thread is not None:
            thread.join()
        else:
            self._run()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                close(self.storage, self.ledger, *item, compress_from=self.compress_from)
            except Exception as error:  # nothing is lost by it, and the next start does it again
                log.warning("custody: %s could not be closed (%s); it is left as it is", item[0], error)


def left_open(archive: Archive) -> list[tuple[str, Packed | None]]:
    """Segments that no living writer has, and that were never closed. Only for who owns the session alone."""
    known = ledger.read(archive.storage)
    names = [name for name, size in archive.segments.list() if size > 0 and name not in archive.foreign]
    stored = {entry.name for entry in archive.storage.list(f"{layout.ARCHIVE}/")}
    return [
        (name, archive.unindexed.get(name))
        for name in names
        if name not in known
        or known[name].sha256 is None
        or name in archive.unindexed
        or {name, f"{name}.zst"} <= stored  # a crash came between compressing it and removing what was compressed
    ]


def adopt(archive: Archive) -> None:
    """Close what dead writers left. Only for who owns the session alone."""
    storage = archive.storage
    closer = Closer(storage, Ledger(storage))
    for segment in left_open(archive):
        closer.closed(*segment)
    if isinstance(storage, Compacting):
        _each(storage.compact)


def merge(storage: Storage) -> None:
    """At the end: whoever reads the logs that all writers share is to ask for few objects."""
    if isinstance(storage, Merging):
        _each(storage.merge)


def _each(make: Callable[[str], None]) -> None:
    for name in (layout.CHRONOLOG, layout.SEGMENTS):
        try:
            make(name)
        except FileNotFoundError:
            continue
        except OSError as error:
            log.warning("custody: %s could not be made one object (%s); it is left as it is", name, error)


def close(
    storage: Storage, entries: Ledger, name: str, index: Packed | None = None, *, compress_from: int = COMPRESS_FROM
) -> None:
    """Do what is left to do with a closed segment; what is done already is not done again."""
    if isinstance(storage, Compacting):  # first, because from then on nobody else can append to it
        with contextlib.suppress(FileNotFoundError):  # compressed already
            storage.compact(name)
    segments, known = Segments(storage), ledger.read(storage).get(name)
    plain = next((e for e in storage.list(name) if e.name == name), None)
    if known is None or known.sha256 is None:
        digest, size = _digest(segments, name)
        if size == 0:
            return
        entries.closed(name, size, digest)
        known = ledger.Entry(size, digest)
    sidecar = name.removesuffix(PLAIN) + SIDECAR
    found = index or (None if _exists(storage, sidecar) else _index(segments, name))
    if found is not None and len(found) >= PACK and found.size == known.size:
        storage.put(sidecar, found.dump())
    if plain is not None and (plain.size >= compress_from or known.packed):
        compress(storage, entries, name, known)


def compress(storage: Storage, entries: Ledger, name: str, known: ledger.Entry) -> int:
    """Put the compressed form of a closed segment beside it, compare, and take the plain one away.

    Gives its size in bytes. Raises ArchiveDamaged where the segment is not what the ledger says: it stays as it is.
    """
    segments, packed = Segments(storage), f"{name}.zst"
    data = b"".join(seekable.compress(segments.blocks(name, _BLOCK)))
    reader = seekable.Seekable(packed, lambda offset, size: data[offset : offset + size], len(data))
    digest, offset = hashlib.sha256(), 0
    while block := reader.read(offset, _BLOCK):
        digest.update(block)
        offset += len(block)
    if digest.hexdigest() != known.sha256:
        raise ArchiveDamaged(f"{name} is not what its ledger says; it is not compressed. Run custody verify")
    storage.put(packed, data)
    entries.packed(name, len(data))
    storage.remove(name)
    return len(data)


def compress_all(storage: Storage, entries: Ledger, names: Iterable[str]) -> tuple[int, int]:
    """Compress closed segments that are not; gives their bytes before and after.

    Raises ArchiveDamaged, when the others are done, where one is not what its ledger says.
    """
    before = after = 0
    refused: CustodyError | None = None
    known = ledger.read(storage)
    for name in names:
        entry = known.get(name)
        if entry is not None and entry.sha256 is not None and _exists(storage, name):
            try:
                after += compress(storage, entries, name, entry)
                before += entry.size or 0
            except CustodyError as error:
                refused = error
    if refused is not None:
        raise refused
    return before, after


def _digest(segments: Segments, name: str) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    for block in segments.blocks(name, _BLOCK):
        digest.update(block)
        size += len(block)
    return digest.hexdigest(), size


def _index(segments: Segments, name: str) -> Packed | None:
    found = indexing.read(segments, name)
    return indexing.pack(found, lambda place: {}) if found.clean else None


def _exists(storage: Storage, name: str) -> bool:
    return any(entry.name == name for entry in storage.list(name))
