"""Who is alive, for machines that share nothing but a storage: heartbeats, judged by the storage's own clock.

A holder (one process of a worker) has one object, ``<folder>/<worker>-<token>.json``, which a thread of it stores
again every third of a lease. Whoever doubts that it lives stores its own heartbeat and compares the two times that
the server gives: no machine's own clock is asked for a time of day. What a process measures by itself is only how
long ago something was, by a clock that goes on while the process, or the machine, is suspended.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from custody.errors import UsageError
from custody.stamps import now as stamp
from custody.storage import Clocked, Entry, presence

log = logging.getLogger("custody")

ENV_SECONDS = "CUSTODY_LEASE_SECONDS"
SECONDS = 60.0

WORKERS = "system_state/workers"

ALONE = "process"
"""The worker of a process that is none: of a session that is not shared."""

State = Literal["alive", "ended", "lost"]

_GRAIN = 1.0  # seconds: S3 states times without their fraction
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}\Z")


class Backing(Clocked, Protocol):
    """What heartbeats and leases ask of a storage. Every one of these is seen by all machines as soon as it returns."""

    def put_if_absent(self, name: str, data: bytes) -> bool: ...

    def put(self, name: str, data: bytes) -> None: ...

    def remove(self, name: str) -> None: ...

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes: ...

    def list(self, prefix: str = "") -> Iterator[Entry]: ...


def lease_seconds() -> float:
    """How long a holder may be silent: ``CUSTODY_LEASE_SECONDS``, 60 by default. Raises UsageError."""
    text = os.environ.get(ENV_SECONDS)
    if not text:
        return SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.5 <= seconds <= 86_400:
        raise UsageError(f"{ENV_SECONDS}={text!r}: give seconds, from 0.5 to 86400")
    return seconds


def checked_worker(name: str) -> str:
    """The name of a worker, which becomes part of an object's name. Raises UsageError."""
    if not _NAME.match(name):
        raise UsageError(f"worker name {name!r}: use at most 60 letters, digits, '_', '-' and '.', no such sign first")
    return name


def elapsed() -> float:
    """Seconds by a clock that goes on while the machine sleeps, where the system has one."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


@dataclass(frozen=True, slots=True)
class Seen:
    """A holder as another one sees it. ``facts`` is what it says of itself; ``silent`` in seconds."""

    holder: str
    worker: str
    state: State
    started: str
    silent: float
    facts: dict[str, Any] = field(default_factory=dict)


class Heartbeat:
    """One process's sign of life in a storage; ``holder`` names it. Thread-safe; a forked child has its own.

    Nothing is stored before ``begin``. Attributes:
        facts: asked at each beat for what others may be told, as calls and rate.
        then: done after each beat of the thread.
        lapses: how often this holder was silent for longer than a lease, and may have been taken for dead.
    """

    def __init__(
        self,
        storage: Backing,
        worker: str = ALONE,
        *,
        seconds: float | None = None,
        folder: str = WORKERS,
        clock: Callable[[], float] = elapsed,
        beating: bool = True,
    ) -> None:
        self.worker = checked_worker(worker)
        self.seconds = lease_seconds() if seconds is None else seconds
        self.folder = folder
        self.facts: Callable[[], dict[str, Any]] = dict
        self.then: Callable[[], None] = lambda: None
        self._storage, self._clock, self._beating = storage, clock, beating
        self._anew()
        _all.add(self)

    def _anew(self) -> None:
        self.holder = f"{self.worker}-{secrets.token_hex(8)}"
        self.pid = os.getpid()
        self.lapses = 0
        self._started = ""
        self._acknowledged: float | None = None  # by ``_clock``, taken before the beat that was acknowledged
        self._state = "alive"
        self._failing = False
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._known: dict[str, tuple[float, bool]] = {}

    def named(self, worker: str) -> None:
        """Take another worker's name, as long as nothing is stored under the first. Raises UsageError."""
        if self._acknowledged is None and checked_worker(worker) != self.worker:
            self.worker = worker
            self._anew()

    @property
    def name(self) -> str:
        return f"{self.folder}/{self.holder}.json"

    @property
    def silent(self) -> float:
        """Seconds since the last beat that the server has acknowledged was sent."""
        return float("inf") if self._acknowledged is None else self._clock() - self._acknowledged

    def begin(self) -> None:
        """Store the first beat, from which on this holder is alive; nothing later. Raises OSError, StorageError."""
        if self._acknowledged is not None:
            return
        with self._lock:
            if self._acknowledged is not None:
                return
            self._started = stamp()
            presence.announce(self.holder)
            self.beat()
            if self._beating:
                every = self.seconds / 3
                threading.Thread(
                    target=_beat_on, args=(weakref.ref(self), self._stop, every), name="custody-heartbeat", daemon=True
                ).start()

    def beat(self) -> None:
        """Store a sign of life. Raises OSError, StorageError."""
        with self._lock:
            if self._stop.is_set():
                return
            before = self._clock()
            if self._acknowledged is not None and before - self._acknowledged > self.seconds:
                self.lapses += 1  # before the server hears of it: until then others may take over what is held
            self._store()
            self._acknowledged = before

    def _store(self) -> None:
        said = {
            "worker": self.worker, "holder": self.holder, "started": self._started, "lease_seconds": self.seconds,
            "state": self._state, **self.facts(),
        }  # fmt: skip
        self._storage.put(self.name, json.dumps(said).encode() + b"\n")

    def try_beat(self) -> None:
        """``beat`` for the thread: what fails is tried again, and said once."""
        try:
            self.beat()
            self.then()
            self._failing = False
        except Exception as error:
            if not self._failing:
                self._failing = True
                log.warning("custody: this worker's heartbeat cannot be stored (%s); trying on", error)

    def now(self) -> float:
        """The server's time: that of a beat that was just stored. Raises OSError, StorageError."""
        with self._lock:
            self.begin()
            self.beat()
            return self._storage.modified(self.name)

    def alive(self, holder: str) -> bool:
        """Whether another holder lives. That it does is believed for a sixth of a lease; that not, is found out
        anew each time. Raises OSError, StorageError."""
        at, known = self._known.get(holder, (0.0, False))
        if holder != self.holder and presence.dead(holder):
            return False
        if known and self._clock() - at < self.seconds / 6:
            return True
        at = self._clock()
        found = holder == self.holder or self._look(holder).state == "alive"
        self._known[holder] = at, found
        return found

    def _look(self, holder: str, now: float | None = None) -> Seen:
        name = f"{self.folder}/{holder}.json"
        worker = holder.rpartition("-")[0]
        try:
            seen = self._storage.modified(name)
            said = json.loads(self._storage.read(name))
            lease = float(said["lease_seconds"])
            told = str(said["worker"]), str(said["started"]), str(said["state"])
        except (FileNotFoundError, ValueError, TypeError, KeyError):  # nothing that somebody keeps up
            return Seen(holder, worker, "lost", "", float("inf"))
        if told[2] == "ended":
            state: State = "ended"
            silent = 0.0 if now is None else max(0.0, now - seen)
        else:
            silent = max(0.0, (self.now() if now is None else now) - seen)
            state = "alive" if silent <= lease + _GRAIN and not presence.dead(holder) else "lost"
        facts = {k: v for k, v in said.items() if k not in ("worker", "holder", "started", "lease_seconds", "state")}
        return Seen(holder, told[0], state, told[1], silent, facts)

    def others(self, now: float | None = None) -> list[Seen]:
        """All holders of the storage but this one, in the order of their names. ``now`` by the server's clock, where
        it is known. Raises OSError, StorageError."""
        names = [e.name for e in self._storage.list(f"{self.folder}/") if e.name.endswith(".json") and e.size]
        holders = [name.removeprefix(f"{self.folder}/").removesuffix(".json") for name in names]
        wanted = [holder for holder in holders if holder != self.holder]
        if now is None and wanted:
            now = self.now()
        return [self._look(holder, now) for holder in wanted]

    def end(self) -> None:
        """Say that this holder is no more, so that nobody waits a lease for it. Nothing after the first time."""
        with self._lock:
            if self._stop.is_set():
                return
            self._stop.set()
            if self._acknowledged is not None and self.pid == os.getpid():
                self._state = "ended"
                try:
                    self._store()
                    presence.leave(self.holder)
                except FileNotFoundError:  # the whole session is gone
                    pass
                except Exception as error:  # then it is missed after a lease
                    log.warning("custody: this worker's end cannot be stored (%s)", error)

    def forked(self) -> None:
        """In a forked child: the parent's heartbeat is the parent's."""
        self._anew()


def _beat_on(mine: weakref.ref[Heartbeat], stop: threading.Event, every: float) -> None:
    while not stop.wait(every):
        heartbeat = mine()
        if heartbeat is None:
            return
        heartbeat.try_beat()
        del heartbeat


_all: weakref.WeakSet[Heartbeat] = weakref.WeakSet()


def _in_forked_child() -> None:
    for heartbeat in tuple(_all):
        heartbeat.forked()


def _at_exit() -> None:
    for heartbeat in tuple(_all):
        heartbeat.end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)
atexit.register(_at_exit)
