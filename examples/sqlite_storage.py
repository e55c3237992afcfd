"""A storage plugin of one's own: a session in one SQLite file, ``sqlite:///data/session.db``.

It stands for any database with transactions: put-if-absent is a primary key, a sync is a commit, and the locks come
from ``custody.plugin.Leases``, which needs no more than that and a clock. docs/writing-a-plugin.md walks through it.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from custody.plugin import Capabilities, Entry, Leases, Lock, StorageError, hookimpl

_SCHEMA = """
CREATE TABLE IF NOT EXISTS names (name TEXT PRIMARY KEY, size INTEGER NOT NULL, modified REAL NOT NULL);
CREATE TABLE IF NOT EXISTS pieces (name TEXT, begin INTEGER, data BLOB NOT NULL, PRIMARY KEY (name, begin));
"""


class SqlitePlugin:
    @hookimpl
    def open_storage(self, url: str, create: bool) -> SqliteStorage | None:
        if not url.startswith("sqlite://"):
            return None
        path = Path(url.removeprefix("sqlite://"))
        if not create and not path.exists():
            raise StorageError(f"{url} does not exist")
        return SqliteStorage(url, path)


class SqliteStorage:
    capabilities = Capabilities(put_if_absent=True, durability="machine", server_clock=True, list_order="name")

    def __init__(self, url: str, path: Path) -> None:
        self.url = url
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        self._database.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; {_SCHEMA}")
        self._lock = threading.RLock()
        self.leases = Leases(self)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing, and nobody else writes meanwhile. What is committed is on stable storage."""
        with self._lock:
            try:
                self._database.execute("BEGIN IMMEDIATE")
                with self._database:  # commits, or rolls back
                    yield self._database
            except sqlite3.Error as error:
                raise OSError(f"{self.url}: {error}") from error

    def append(self, database: sqlite3.Connection, name: str, data: bytes) -> None:
        """To what has the name already."""
        (size,) = database.execute("SELECT size FROM names WHERE name = ?", [name]).fetchone()
        if data:
            database.execute("INSERT INTO pieces VALUES (?, ?, ?)", [name, size, data])
        database.execute(
            "UPDATE names SET size = ?, modified = ? WHERE name = ?", [size + len(data), time.time(), name]
        )

    def put_if_absent(self, name: str, data: bytes) -> bool:
        with self.transaction() as database:
            new = database.execute("INSERT OR IGNORE INTO names VALUES (?, 0, 0)", [_checked(name)]).rowcount == 1
            if new:
                self.append(database, name, data)
        return new

    def put(self, name: str, data: bytes) -> None:
        with self.transaction() as database:
            database.execute("INSERT OR REPLACE INTO names VALUES (?, 0, 0)", [_checked(name)])
            database.execute("DELETE FROM pieces WHERE name = ?", [name])
            self.append(database, name, data)

    def remove(self, name: str) -> None:
        with self.transaction() as database:
            for table in ("names", "pieces"):
                database.execute(f"DELETE FROM {table} WHERE name = ?", [_checked(name)])  # noqa: S608

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        query = "SELECT begin, data FROM pieces WHERE name = ? AND begin < ? AND begin + length(data) > ? ORDER BY 1"
        with self.transaction() as database:
            known, _ = self._known(database, name)
            end = known if size is None else offset + size
            rows = database.execute(query, [name, end, offset])
            return b"".join(data[max(0, offset - begin) : max(0, end - begin)] for begin, data in rows)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        with self.transaction() as database:
            rows = database.execute("SELECT name, size FROM names ORDER BY name").fetchall()
        return iter([Entry(name, size) for name, size in rows if name.startswith(prefix)])

    def modified(self, name: str) -> float:
        with self.transaction() as database:
            return float(self._known(database, name)[1])

    def _known(self, database: sqlite3.Connection, name: str) -> tuple[int, float]:
        known = database.execute("SELECT size, modified FROM names WHERE name = ?", [_checked(name)]).fetchone()
        if known is None:
            raise FileNotFoundError(f"{self.url}/{name}")
        return known

    def create_log(self, name: str) -> SqliteLog:
        if not self.put_if_absent(name, b""):
            raise FileExistsError(f"{self.url}/{name}")
        return SqliteLog(self, name)

    def shared_log(self, name: str) -> SqliteLog:
        return SqliteLog(self, _checked(name), shared=True)

    def lock(self, name: str, *, shared: bool = False) -> Lock | None:
        return self.leases.lock(_checked(name), shared)

    def claim(self, name: str, token: bytes) -> Lock | None:
        return self.leases.claim(_checked(name), token)


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


def _checked(name: str) -> str:
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise StorageError(f"{name!r} is not a name inside a session")
    return name
