"""The contract, on each storage of ``pieces.py``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pieces
import pytest

from custody.storage import Storage
from custody.testing import StorageContract


class Contract(StorageContract):
    kind: str
    freed_within = 2.0

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"pieces://{tmp_path}/session"

    @pytest.fixture
    def storage(self, url: str) -> Storage:
        return pieces.open_it(self.kind, url, create=True)

    @pytest.fixture
    def reopen(self, url: str) -> Callable[[], Storage]:
        return lambda: pieces.open_it(self.kind, url, create=False)

    @pytest.fixture
    def opener(self) -> Callable[..., Storage]:
        return functools.partial(pieces.open_it, self.kind)

    @pytest.fixture
    def outage(self, storage: pieces.Pieces, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
        def refuse(name: str, data: bytes) -> None:
            raise OSError("the service is down")

        def begin() -> None:
            for name in ("put", "put_if_absent"):
                monkeypatch.setattr(storage.files, name, refuse)

        return begin


globals().update({f"Test{kind}": type(f"Test{kind}", (Contract,), {"kind": kind}) for kind in pieces.KINDS})
