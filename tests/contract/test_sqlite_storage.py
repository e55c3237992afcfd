"""The storage plugin of examples/ keeps the contract."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from custody.plugin import Capable, Clocked
from custody.storage import Storage
from custody.testing import StorageContract

FILE = Path(__file__).parents[2] / "examples" / "sqlite_storage.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    sys.path.append(str(FILE.parent))
    return importlib.import_module(FILE.stem)


class TestSqlite(StorageContract):
    @pytest.fixture
    def open_it(self, example: ModuleType, tmp_path: Path) -> Any:
        return lambda create: example.SqlitePlugin().open_storage(f"sqlite://{tmp_path}/a/session.db", create)

    @pytest.fixture
    def storage(self, open_it: Any) -> Any:
        return open_it(True)

    @pytest.fixture
    def reopen(self, open_it: Any) -> Callable[[], Storage]:
        return lambda: open_it(False)

    @pytest.fixture
    def opener(self, example: ModuleType) -> Any:
        return example.SqlitePlugin().open_storage

    @pytest.fixture
    def outage(self, storage: Any) -> Callable[[], None]:
        return lambda: storage._database.close()  # type: ignore[no-any-return]

    listing_seconds = 60.0  # until there are more than a thousand, however slow the disk

    def test_it_says_what_it_can_do(self, storage: Storage) -> None:
        assert isinstance(storage, Capable) and isinstance(storage, Clocked)

    def test_it_is_short(self) -> None:
        assert len(FILE.read_text(encoding="utf-8").splitlines()) <= 150
