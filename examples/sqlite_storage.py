"""A storage plugin of one's own: studies in one SQLite file, ``custody run --root sqlite:///data/study.db``.

It stands for any database with transactions: put-if-absent is a primary key, a sync is a commit, and the locks come
from ``custody.plugin.Leases``, which needs no more than that and a clock. docs/writing-a-plugin.md walks through it.
"""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from custody.plugin import Capabilities, Entry, Leases, StorageError, StorageNotFound, hookimpl

_SCHEMA = """
CREATE TABLE IF NOT EXISTS names (name TEXT PRIMARY KEY, size INTEGER NOT NULL, modified REAL NOT NULL);
CREATE TABLE IF NOT EXISTS pieces (name TEXT, begin INTEGER, data BLOB NOT NULL, PRIMARY KEY (name, begin));
"""


class SqlitePlugin:
    @hookimpl
    def open_storage(self, url: str, create: bool) -> SqliteStorage | None:
        if not url.startswith("sqlite://"):
            return None
        # What follows the file is a folder in it; what custody only looks at may also lie above the file.
        match = re.fullmatch(r"sqlite://(.+?\.db)(?:/(.*))?", url)
        if match is None or not (create or Path(match[1]).exists()):
            raise StorageNotFound(f"{url} does not exist; write sqlite:///folder/study.db")
        return SqliteStorage(url, Path(match[1]), match[2] or "")


class SqliteStorage:
    capabilities = Capabilities(put_if_absent=True, durability="machine", server_clock=True, list_order="name")

    def __init__(self, url: str, path: Path, folder: str) -> None:
        self.url, self._folder = url, f"{folder}/" if folder else ""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        with self._errors():
            self._database = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
            self._database.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; {_SCHEMA}")
        self.leases = Leases(self)
        self.lock, self.claim = self.leases.lock, self.leases.claim

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise OSError(f"{self.url}: {error}") from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing, and nobody else writes meanwhile. What is committed is on stable storage."""
        with self._lock, self._errors():
            self._database.execute("BEGIN IMMEDIATE")
            with self._database:  # commits, or rolls back
                yield self._database

    def append(self, database: sqlite3.Connection, name: str, data: bytes) -> None:
        """To what has the full name already."""
        (size,) = database.execute("SELECT size FROM names WHERE name = ?", [name]).fetchone()
        if data:
            database.execute("INSERT INTO pieces VALUES (?, ?, ?)", [name, size, data])
        update = "UPDATE names SET size = ?, modified = ? WHERE name = ?"
        database.execute(update, [size + len(data), time.time(), name])

    def put_if_absent(self, name: str, data: bytes) -> bool:
        with self.transaction() as database:
            new = database.execute("INSERT OR IGNORE INTO names VALUES (?, 0, 0)", [self.full(name)]).rowcount == 1
            if new:
                self.append(database, self.full(name), data)
        return new

    def put(self, name: str, data: bytes) -> None:
        with self.transaction() as database:
            database.execute("INSERT OR REPLACE INTO names VALUES (?, 0, 0)", [self.full(name)])
            database.execute("DELETE FROM pieces WHERE name = ?", [self.full(name)])
            self.append(database, self.full(name), data)

    def remove(self, name: str) -> None:
        with self.transaction() as database:
            for table in ("names", "pieces"):
                database.execute(f"DELETE FROM {table} WHERE name = ?", [self.full(name)])  # noqa: S608

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        query = "SELECT begin, data FROM pieces WHERE name = ? AND begin < ? AND begin + length(data) > ? ORDER BY 1"
        with self.transaction() as database:
            known, _ = self._known(database, name)
            end = known if size is None else offset + size
            rows = database.execute(query, [self.full(name), end, offset])
            return b"".join(data[max(0, offset - begin) : max(0, end - begin)] for begin, data in rows)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        begin = self._folder + prefix
        with self.transaction() as database:
            rows = database.execute("SELECT name, size FROM names WHERE name >= ? ORDER BY name", [begin])
            found = takewhile(lambda row: row[0].startswith(begin), rows)
            return iter([Entry(name.removeprefix(self._folder), size) for name, size in found])

    def modified(self, name: str) -> float:
        with self.transaction() as database:
            return float(self._known(database, name)[1])

    def _known(self, database: sqlite3.Connection, name: str) -> tuple[int, float]:
        known = database.execute("SELECT size, modified FROM names WHERE name = ?", [self.full(name)]).fetchone()
        if known is None:
            raise FileNotFoundError(f"{self.url}/{name}")
        return known

    def create_log(self, name: str) -> SqliteLog:
        if not self.put_if_absent(name, b""):
            raise FileExistsError(f"{self.url}/{name}")
        return SqliteLog(self, self.full(name))

    def shared_log(self, name: str) -> SqliteLog:
        return SqliteLog(self, self.full(name), shared=True)

    def full(self, name: str) -> str:
        if any(part in ("", ".", "..") for part in name.split("/")):
            raise StorageError(f"{name!r} is not a name inside {self.url}")
        return self._folder + name


class SqliteLog:
    """A log of one writer, whose ``append`` takes bytes, or of many, whose ``append`` takes a maker of lines."""

    def __init__(self, storage: SqliteStorage, name: str, *, shared: bool = False) -> None:
        self._storage, self._name, self._shared = storage, name, shared

    def append(self, given: bytes | Callable[[bytes | None], list[bytes]]) -> None:
        with self._storage.transaction() as database:
            if self._shared:
                database.execute("INSERT OR IGNORE INTO names VALUES (?, 0, 0)", [self._name])
            if callable(given):  # a transaction is never cut: the last piece ends with a whole line
                last = "SELECT data FROM pieces WHERE name = ? ORDER BY begin DESC LIMIT 1"
                row = database.execute(last, [self._name]).fetchone()
                given = b"".join(given(row[0].split(b"\n")[-2] if row else None))
            self._storage.append(database, self._name, given)

    def sync(self) -> None:
        """Every append was a commit already: simple, and slower than to collect lines and commit here."""

    close = sync
