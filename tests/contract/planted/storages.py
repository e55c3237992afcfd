"""Storages with one fault each; ``test_planted_faults`` expects the contract to catch every one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from custody.errors import StorageError
from custody.storage import Entry, Lock, Log
from custody.storage.local import LocalStorage
from custody.testing import StorageContract


class Contract(StorageContract):
    kind: type[LocalStorage]

    @pytest.fixture
    def storage(self, tmp_path: Path) -> LocalStorage:
        return self.kind(tmp_path / "session")

    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Callable[[], LocalStorage]:
        return lambda: self.kind(tmp_path / "session", create=False)


class Sound(LocalStorage):
    def list(self, prefix: str = "") -> Iterator[Entry]:
        if ".." in prefix.split("/"):
            raise StorageError(prefix)
        return super().list(prefix)


class Overwriting(Sound):
    def put_if_absent(self, name: str, data: bytes) -> bool:
        taken = (self.root / name).exists()
        self.put(name, data)
        return not taken


class Racing(Sound):
    def put_if_absent(self, name: str, data: bytes) -> bool:
        if (self.root / name).exists():
            return False
        time.sleep(0.01)
        self.put(name, data)
        return True


class Torn(Sound):
    def put(self, name: str, data: bytes) -> None:
        path = self._path(name)
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
            file.flush()
            time.sleep(0.001)
            file.write(data[len(data) // 2 :])


class Unsorted(Sound):
    def list(self, prefix: str = "") -> Iterator[Entry]:
        return reversed(list(super().list(prefix)))


class Foldered(Sound):
    def list(self, prefix: str = "") -> Iterator[Entry]:
        return super().list(prefix and prefix.rstrip("/") + "/")


class Sizeless(Sound):
    def list(self, prefix: str = "") -> Iterator[Entry]:
        return (entry._replace(size=0) for entry in super().list(prefix))


class Offsetless(Sound):
    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        return super().read(name, 0, size)


class Short(Sound):
    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        return super().read(name, offset, size)[: 1024 * 1024]


class Forgiving(Sound):
    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        try:
            return super().read(name, offset, size)
        except FileNotFoundError:
            return b""


class Truncating(Sound):
    def create_log(self, name: str) -> Log:
        self._path(name).unlink(missing_ok=True)
        return super().create_log(name)


class Lazy(Sound):
    def create_log(self, name: str) -> Log:
        inner = super().create_log(name)

        class Buffered:
            held = b""

            def append(self, data: bytes) -> None:
                self.held += data

            def sync(self) -> None:
                """Does not."""

            def close(self) -> None:
                inner.append(self.held)
                inner.close()

        return Buffered()


class Unlinked(Sound):
    def shared_log(self, name: str) -> Any:
        path = self._path(name)

        class Log:
            def append(self, make: Callable[[bytes | None], list[bytes]]) -> None:
                lines = path.read_bytes().splitlines() if path.exists() else []
                new = make(lines[-1] if lines else None)
                time.sleep(0.001)
                with path.open("ab") as file:
                    file.write(b"".join(new))

        return Log()


class Free:
    def release(self) -> None:
        """Nothing was held."""


class Unlocked(Sound):
    def lock(self, name: str, *, shared: bool = False) -> Lock | None:
        return Free()


class Unshared(Sound):
    def lock(self, name: str, *, shared: bool = False) -> Lock | None:
        return super().lock(name)


class Coarse(Sound):
    def claim(self, name: str, token: bytes) -> Lock | None:
        return super().claim(name, b"every token")


class Littering(Sound):
    def claim(self, name: str, token: bytes) -> Lock | None:
        self.put(f"claims/{token.hex()}", b"")
        return super().claim(name, token)


class Escaping(Sound):
    def _path(self, name: str, *, make: bool = True) -> Path:
        path = self.root / name.strip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


class Forgetful(Sound):
    def __init__(self, root: Path, *, create: bool = True) -> None:
        super().__init__(root if create else root.with_name("another"))


def _contracts() -> dict[str, type]:
    kinds = [Sound, *Sound.__subclasses__()]
    return {f"Test{kind.__name__}": type(f"Test{kind.__name__}", (Contract,), {"kind": kind}) for kind in kinds}


globals().update(_contracts())
