"""Another process that has a storage open and does what it is told, for ``StorageContract``.

It is started anew, not forked: threads and connections of a client library do not survive a fork.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from typing import Any

from custody.hooks.manager import PluginManager
from custody.storage import Lock, Log, Storage

Opener = Callable[..., Storage | None]

PATIENCE = 60.0
LEASE = "1"


def installed(url: str, create: bool) -> Storage:
    """By the plugins that are installed, as custody does."""
    return _plugins().open_storage(url, create=create)


@functools.cache
def _plugins() -> PluginManager:
    return PluginManager.load()


class Broken(Exception):
    """What went wrong in the other process, in words."""


class SecondProcess:
    """Raises Broken where it cannot open the URL, and for each error of the storage there."""

    def __init__(self) -> None:
        mine, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from custody.testing.second_process import serve; serve({theirs.fileno()})"],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            )
        self._connection = Connection(mine.detach())

    @classmethod
    def opened(cls, opener: Opener, url: str) -> SecondProcess:
        """One that has ``url`` open: where it can be the one that is left of an earlier test, which is quicker."""
        made = _spare.pop() if _spare else cls()
        try:
            try:
                made._connection.send(("open", (opener, url, {**os.environ, "CUSTODY_LEASE_SECONDS": LEASE})))
            except Exception as error:  # of pickle, of all kinds
                raise Broken(
                    f"the fixture 'opener' cannot be handed to another process ({error}): give the bound method "
                    "open_storage of your plugin, or a function at the top of a module"
                ) from error
            made.answer("open")
        except BaseException:
            made.kill()
            raise
        return made

    def spare(self) -> None:
        """It is not needed any more."""
        try:
            self.do("release")
        except Exception:
            self.kill()
        else:
            _spare.append(self)

    def do(self, what: str, *given: Any) -> Any:
        self.ask(what, *given)
        return self.answer(what)

    def ask(self, what: str, *given: Any) -> None:
        """Begin with it; ``answer`` waits for what came of it."""
        self._connection.send((what, given))

    def answer(self, what: str) -> Any:
        try:
            if not self._connection.poll(PATIENCE):
                raise Broken(f"another process did not come back from {what} in {PATIENCE:.0f} seconds")
            told, value = self._connection.recv()
        except (EOFError, ConnectionError):
            raise Broken(f"another process died in {what} ({self._process.wait(timeout=10)})") from None
        if told != "done":
            raise Broken(f"{what} in another process: {value}")
        return value

    def kill(self) -> None:
        """At once, without a word, as by a power cut."""
        self._process.kill()
        self._process.wait()
        self._connection.close()

    def __del__(self) -> None:
        """Of the last spare one: nobody waits for it, and it ends when its connection does."""
        self._process.returncode = self._process.returncode or 0


class Served:
    """What the other process can be told."""

    def __init__(self) -> None:
        self._held: list[Lock] = []
        self._logs: list[Log] = []

    def open(self, opener: Opener, url: str, environment: dict[str, str]) -> None:
        os.environ.clear()
        os.environ.update(environment)
        found = opener(url, create=False)
        if found is None:
            raise LookupError(f"nobody knows {url}")
        self._storage = found

    def read(self, name: str) -> bytes:
        return self._storage.read(name)

    def names(self, prefix: str) -> list[str]:
        return [entry.name for entry in self._storage.list(prefix)]

    def put(self, name: str, data: bytes) -> None:
        self._storage.put(name, data)

    def put_if_absent(self, name: str, data: bytes) -> bool:
        return self._storage.put_if_absent(name, data)

    def create_log(self, name: str, pieces: Iterable[bytes]) -> None:
        """Each piece synced; the log is not closed."""
        log = self._storage.create_log(name)
        self._logs.append(log)
        for piece in pieces:
            log.append(piece)
            log.sync()

    def append(self, name: str, pieces: Iterable[bytes]) -> None:
        """To a new log; nothing is synced."""
        log = self._storage.create_log(name)
        self._logs.append(log)
        for piece in pieces:
            log.append(piece)

    def shared_log(self, name: str, count: int) -> None:
        log = self._storage.shared_log(name)
        for _ in range(count):
            log.append(following)

    def lock(self, name: str, shared: bool = False) -> bool:
        return self._keep(self._storage.lock(name, shared=shared))

    def claim(self, name: str, token: bytes) -> bool:
        return self._keep(self._storage.claim(name, token))

    def release(self) -> None:
        while self._held:
            self._held.pop().release()

    def race(self, how: str, mine: bytes, start: float, seconds: float) -> list[bool]:
        got, held = race(self._storage, how, mine, start, seconds)
        self._held += held
        return got

    def _keep(self, lock: Lock | None) -> bool:
        if lock is not None:
            self._held.append(lock)
        return lock is not None


def following(last: bytes | None) -> list[bytes]:
    """The next number, for a shared log."""
    return [b"%d\n" % (int(last or b"0") + 1)]


def race(storage: Storage, how: str, mine: bytes, start: float, seconds: float) -> tuple[list[bool], list[Lock]]:
    """For one name after another, whether it was got, and the claims. Two that walk along the same names meet all the
    time: who is behind gets nothing, which is quick, and so comes up."""
    time.sleep(max(0.0, start - time.time()))
    got: list[bool] = []
    held: list[Lock] = []
    while len(got) < 1000 and time.time() < start + seconds:
        name = f"race/{how}-{len(got):04d}"
        if how == "put_if_absent":
            got.append(storage.put_if_absent(name, mine))
        else:
            lock = storage.claim("race.lock", name.encode())
            held += [lock] if lock is not None else []
            got.append(lock is not None)
    return got, held


def serve(fd: int) -> None:
    """In the other process, until it is killed or its parent is gone."""
    connection, served = Connection(fd), Served()
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            try:
                what, given = connection.recv()
                done = getattr(served, what)(*given)
            except (EOFError, ConnectionError):
                raise
            except Exception as error:
                connection.send(("failed", f"{type(error).__name__}: {error}"))
            else:
                connection.send(("done", done))


_spare: list[SecondProcess] = []
