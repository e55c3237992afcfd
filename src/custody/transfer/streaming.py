"""Bytes of files in storages: hashed, sent and compared without holding more than a few megabytes of them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from custody.errors import StorageError
from custody.storage import Compacting, Storage, Streaming

BLOCK = 8 * 1024 * 1024
"""What is held of one file. A smaller file is one request to read, and one to write."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Digest(NamedTuple):
    """Of a file. ``size`` in bytes."""

    size: int
    sha256: str


class Blocks:
    """The blocks of a file, one after another, and then their ``digest``."""

    def __init__(self, storage: Storage, name: str, size: int) -> None:
        self._storage, self._name, self._expected = storage, name, size
        self._hash, self._size = hashlib.sha256(), 0

    def __iter__(self) -> Iterator[bytes]:
        while block := self._read():
            self._hash.update(block)
            self._size += len(block)
            yield block

    def _read(self) -> bytes:
        if self._expected <= BLOCK:
            return b"" if self._size else self._storage.read(self._name)
        return b"" if self._size >= self._expected else self._storage.read(self._name, self._size, BLOCK)

    @property
    def digest(self) -> Digest:
        return Digest(self._size, self._hash.hexdigest())


def digest(storage: Storage, name: str, size: int) -> Digest:
    """Read all of a file that is listed with ``size``. Raises FileNotFoundError, OSError."""
    blocks = Blocks(storage, name, size)
    for _ in blocks:
        pass
    return blocks.digest


def send(source: Storage, target: Storage, name: str, size: int) -> Digest:
    """Store a file of ``source`` under the same name in ``target``, unless the name is taken.

    Raises StorageError, of the target; OSError, of the source.
    """
    blocks = Blocks(source, name, size)
    if size <= BLOCK:
        data = b"".join(blocks)
        with of_target(target, name):
            target.put_if_absent(name, data)
        return blocks.digest
    reading = _Told(blocks)
    try:
        with of_target(target, name):
            if isinstance(target, Streaming):
                target.put_stream(name, reading)
            else:
                _append(target, name, reading)
    except StorageError:
        if reading.failed is not None:
            raise reading.failed from None
        raise
    return blocks.digest


def is_beginning(target: Storage, source: Storage, name: str, size: int) -> bool:
    """Whether the ``size`` bytes that the target has are the first ones of the source's."""
    offset = 0
    while offset < size:
        step = min(BLOCK, size - offset)
        if source.read(name, offset, step) != target.read(name, offset, step):
            return False
        offset += step
    return True


@contextlib.contextmanager
def of_target(target: Storage, name: str) -> Iterator[None]:
    """What the target refuses becomes a StorageError that says so."""
    try:
        yield
    except OSError as error:
        what = f"{target.url}/{name}: {error.strerror}" if error.strerror else str(error)
        do = "make room there" if error.errno in _FULL else "mend it"
        raise StorageError(
            f"{what}. The copy is not finished, and its source is as it was: {do}, and run the same command again"
        ) from error


def _append(target: Storage, name: str, blocks: _Told) -> None:
    log = target.create_log(name)
    try:
        for block in blocks:
            log.append(block)
            log.sync()
    finally:
        log.close()
    if isinstance(target, Compacting):
        target.compact(name)


class _Told:
    """Blocks whose source may fail while the target takes them: ``failed`` keeps whose fault it was."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self.failed: OSError | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._blocks
        except OSError as error:
            self.failed = error
            raise
