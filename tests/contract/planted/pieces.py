"""A small storage that is right, whose logs are pieces and whose locks are leases, and what others got wrong in theirs.

``test_mutants`` expects the contract to say of each one what is wrong.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from custody.plugin import Entry, Leases, StorageError, StorageNotFound
from custody.storage.local import LocalStorage

KINDS: dict[str, type[Pieces]] = {}


def open_it(kind: str, url: str, create: bool) -> Pieces:
    return KINDS[kind](url, create)


class Pieces:
    """``pieces:///folder``: each name is a folder of pieces, and an object has one."""

    def __init_subclass__(cls) -> None:
        KINDS[cls.__name__] = cls

    def __init__(self, url: str, create: bool) -> None:
        self.url = url
        self.place = Path(url.removeprefix("pieces://"))
        if not create and not self.place.is_dir():
            raise self.not_there(url)
        self.files = LocalStorage(self.place, create=create)
        self.leases = Leases(self)
        self.lock, self.claim = self.leases.lock, self.leases.claim

    @staticmethod
    def not_there(url: str) -> Exception:
        return StorageNotFound(f"{url} does not exist")

    def piece(self, name: str, number: int) -> str:
        return f"{name}/{number:06d}.piece"

    def pieces(self, name: str) -> list[str]:
        found = [entry.name for entry in self.files.list(f"{name}/")]
        return [each for each in found if each.rpartition("/")[0] == name and each.endswith(".piece")]

    def store(self, name: str, data: bytes) -> bool:
        return self.files.put_if_absent(name, data)

    def put_if_absent(self, name: str, data: bytes) -> bool:
        return self.store(self.piece(name, 0), data)

    def put(self, name: str, data: bytes) -> None:
        self.files.put(self.piece(name, 0), data)
        for piece in self.pieces(name)[1:]:
            self.files.remove(piece)

    def remove(self, name: str) -> None:
        for piece in self.pieces(name):
            self.files.remove(piece)

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        found = self.pieces(name)
        if not found:
            raise FileNotFoundError(name)
        data = b"".join(self.files.read(piece) for piece in found)
        return data[offset : None if size is None else offset + size]

    def list(self, prefix: str = "") -> Iterator[Entry]:
        sizes: dict[str, int] = {}
        for piece in self.files.list(prefix):
            if piece.name.endswith(".piece"):
                name = piece.name.rpartition("/")[0]
                sizes[name] = sizes.get(name, 0) + piece.size
        return iter(sorted(Entry(name, size) for name, size in sizes.items() if name.startswith(prefix)))

    def modified(self, name: str) -> float:
        return self.files.modified(self.piece(name, 0))

    def create_log(self, name: str) -> Log:
        if not self.put_if_absent(name, b""):
            raise FileExistsError(name)
        return self.log(name)

    def log(self, name: str) -> Log:
        return Log(self, name)

    def shared_log(self, name: str) -> Any:
        return self.files.shared_log(self.piece(name, 0))


class Log:
    def __init__(self, storage: Pieces, name: str) -> None:
        self.storage, self.name, self.buffer, self.count = storage, name, list[bytes](), 0

    def append(self, data: bytes) -> None:
        self.buffer.append(data)

    def sync(self) -> None:
        taken, self.buffer = self.buffer, []
        if taken:
            self.count += 1
            self.store(b"".join(taken))

    def store(self, data: bytes) -> None:
        if not self.storage.store(self.storage.piece(self.name, self.count), data):
            raise OSError(f"{self.name}: somebody else goes on with this log")

    close = sync


class Sound(Pieces):
    """Nothing is wrong with it."""


class Unpadded(Pieces):
    def piece(self, name: str, number: int) -> str:
        return f"{super().piece(name, number).rpartition('/')[0]}/{number}.piece"


class OnePage(Pieces):
    def list(self, prefix: str = "") -> Iterator[Entry]:
        return iter(list(super().list(prefix))[: 1000 if prefix == "many/" else None])


class Boasting(Pieces):
    keeps_appends = True


class Free:
    def __init__(self, release: Callable[[], object]) -> None:
        self.release = release


_held: dict[Any, Any] = {}


class LocksOfOneProcess(Pieces):
    def __init__(self, url: str, create: bool) -> None:
        super().__init__(url, create)
        self.lock = self._lock

    def _lock(self, name: str, *, shared: bool = False) -> Any:
        held = _held.setdefault((self.url, name), [])
        if held and not (shared and held[0]):
            return None
        held.append(shared)
        return Free(held.pop)


class ClaimsOfOneProcess(Pieces):
    def __init__(self, url: str, create: bool) -> None:
        super().__init__(url, create)
        self.claim = self._claim

    def _claim(self, name: str, token: bytes) -> Any:
        key = self.url, name, token
        return None if _held.setdefault(key, self) is not self else Free(lambda: _held.pop(key))


class LocksForEver(Pieces):
    def __init__(self, url: str, create: bool) -> None:
        super().__init__(url, create)
        self.lock = self._lock

    def _lock(self, name: str, *, shared: bool = False) -> Any:
        return Free(lambda: self.remove(f"{name}.held")) if self.put_if_absent(f"{name}.held", b"") else None


class ClaimsForEver(Pieces):
    def __init__(self, url: str, create: bool) -> None:
        super().__init__(url, create)
        self.claim = self._claim

    def _claim(self, name: str, token: bytes) -> Any:
        held = f"{name}/{hashlib.sha256(token).hexdigest()}"
        return Free(lambda: self.remove(held)) if self.put_if_absent(held, b"") else None


class LooksAndWrites(Pieces):
    def store(self, name: str, data: bytes) -> bool:
        with self.files._claims_lock:  # of this process
            if (self.place / name).exists():
                return False
            self.files.put(name, data)
            return True


class Milliseconds(Pieces):
    def modified(self, name: str) -> float:
        return super().modified(name) * 1000


class Constant(Pieces):
    def modified(self, name: str) -> float:
        return super().modified(name) and 1e9


class Zero(Pieces):
    def modified(self, name: str) -> float:
        return super().modified(name) and 0.0


class FirstTime(Pieces):
    def modified(self, name: str) -> float:
        return float(_held.setdefault((self.url, name, "first"), super().modified(name)))


class AnyTime(Pieces):
    def modified(self, name: str) -> float:
        with contextlib.suppress(FileNotFoundError):
            return super().modified(name)
        return 0.0


class Clockless(Pieces):
    modified = None  # type: ignore[assignment]

    def __getattribute__(self, name: str) -> Any:
        if name == "modified":
            raise AttributeError(name)
        return super().__getattribute__(name)


class WithLog(Pieces):
    kind: type[Log]

    def log(self, name: str) -> Log:
        return self.kind(self, name)


class Deduplicating(WithLog):
    class kind(Log):
        last = b""

        def store(self, data: bytes) -> None:
            if data != self.last:
                self.last = data
                super().store(data)


class Late(WithLog):
    """What is synced is in this process, until the log is closed."""

    class kind(Log):
        def sync(self) -> None:
            _held[self.storage.url, self.name] = b"".join(self.buffer)

        def close(self) -> None:
            _held.pop((self.storage.url, self.name), None)
            super().sync()

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        data = super().read(name) + _held.get((self.url, name), b"")
        return data[offset : None if size is None else offset + size]

    def list(self, prefix: str = "") -> Iterator[Entry]:
        return iter([Entry(n, size + len(_held.get((self.url, n), b""))) for n, size in super().list(prefix)])


class Silent(WithLog):
    class kind(Log):
        def sync(self) -> None:
            with contextlib.suppress(OSError):
                super().sync()


class Cut(WithLog):
    class kind(Log):
        def store(self, data: bytes) -> None:
            super().store(data[: 4 * 1024 * 1024])


class Unguarded(WithLog):
    class kind(Log):
        def sync(self) -> None:
            data = b"".join(self.buffer)
            time.sleep(0.005)
            self.buffer = []
            if data:
                self.count += 1
                self.store(data)


class Remembering(Pieces):
    def remove(self, name: str) -> None:
        first = self.piece(name, 0)
        if (self.place / first).exists():
            self.files.remove(first)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        return iter([e for e in super().list(prefix) if (self.place / self.piece(e.name, 0)).exists()])

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        self.files.read(self.piece(name, 0), 0, 0)
        return super().read(name, offset, size)


class Growing(Pieces):
    def put(self, name: str, data: bytes) -> None:
        self.files.put(self.piece(name, 0), data)


class Caching(Pieces):
    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        cache = self.__dict__.setdefault("cache", {})
        key = name, offset, size
        if key not in cache:
            cache[key] = super().read(name, offset, size)
        return cache[key]  # type: ignore[no-any-return]


class Addressed(Pieces):
    """Equal contents are one file, which goes with the first that is removed."""

    def put(self, name: str, data: bytes) -> None:
        super().put(name, data)
        _held[self.url, "content", name] = data

    def remove(self, name: str) -> None:
        data = _held.pop((self.url, "content", name), None)
        super().remove(name)
        for other in [k[2] for k, v in _held.items() if k[:2] == (self.url, "content") and v == data]:
            super().remove(other)


class Flat(Pieces):
    """Each URL is a place of its own, whatever stands in it."""

    def __init__(self, url: str, create: bool) -> None:
        path = url.removeprefix("pieces://")
        super().__init__(f"pieces://{os.path.dirname(path)}/{hashlib.sha256(path.encode()).hexdigest()}", True)
        self.url = url


class Refusing(Pieces):
    @staticmethod
    def not_there(url: str) -> Exception:
        return StorageError(f"{url} does not exist")


class Making(Pieces):
    def __init__(self, url: str, create: bool) -> None:
        super().__init__(url, True)
        if not create:
            self.put_if_absent("made", b"")
