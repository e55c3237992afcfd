"""One session shared by workers: several programs, on one machine or many, each started by itself.

Who comes first creates the session; who comes later joins it; the last one that ends finishes it. Beginnings and ends
take turns (``turn``), so that each knows whether it is the first or the last. Everything between is claims.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from custody import layout
from custody.errors import CustodyError, SessionBusy, SessionNotFound, UsageError
from custody.integrity.chronolog import Chronolog
from custody.journal.closing import merge
from custody.research.order import Order
from custody.sessions import events, sharding, state
from custody.sessions.choice import Chosen
from custody.sessions.manifest import Manifest
from custody.storage import Storage
from custody.storage.folders import Folder
from custody.storage.heartbeats import Heartbeat, Seen, checked_worker
from custody.storage.leases import Leased, Leases
from custody.storage.local import LocalStorage, make_folder
from custody.storage.shared import SharedLocalStorage

log = logging.getLogger("custody")

ENV_WORKER = "CUSTODY_WORKER"
"""The name of the worker to which a process belongs; it makes a start a worker's."""

"""``K/N``: only every N-th item of a plan, from the K-th on."""

_opened: dict[tuple[int, str], SharedLocalStorage] = {}  # by process and URL: one heartbeat each


def name() -> str | None:
    """The worker of this process. Raises UsageError for a name that cannot be one."""
    worker = os.environ.get(ENV_WORKER)
    return checked_worker(worker) if worker else None


def shared(storage: Storage) -> Storage:
    """A session's storage as a worker opens it: with leases for locks. Raises UsageError where it can have none."""
    worker = name()
    if worker is None:
        return storage
    if isinstance(storage, LocalStorage) and not isinstance(storage, SharedLocalStorage):
        key = os.getpid(), storage.url
        if key not in _opened:
            _opened[key] = SharedLocalStorage(storage.root, worker, create=False)
        return _opened[key]
    if not isinstance(storage, Leased) or not isinstance(storage.leases, Leases):
        why = getattr(storage, "not_shared", None) or "its storage cannot store an object only if it is absent"
        raise UsageError(
            f"{storage.url} cannot be shared by workers: {why}, so that two could pay for one call. Nothing was "
            "started. Divide the plan instead: --shard 1/4 to 4/4, each in a session of its own, without --worker"
        )
    storage.leases.heartbeat.named(worker)
    return storage


def others(storage: Storage) -> list[Seen]:
    """The processes of other workers that are alive, by the server's clock."""
    assert isinstance(storage, Leased)
    mine = storage.leases.heartbeat
    return [seen for seen in mine.others() if seen.state == "alive" and seen.worker != mine.worker]


@contextmanager
def turn(storage: Storage) -> Iterator[None]:
    """Beginnings and ends of workers, one at a time. Nothing where this process is no worker's."""
    if name() is None:
        yield
        return
    assert isinstance(storage, Leased)
    until = time.monotonic() + 2 * storage.leases.heartbeat.seconds + 30
    while (lock := storage.lock(layout.TURN_LOCK)) is None:
        if time.monotonic() > until:
            raise SessionBusy(f"{storage.url}: another worker is beginning or ending all the time; try again")
        time.sleep(0.1)
    try:
        yield
    finally:
        lock.release()


def choose(root: Folder, project: str, experiment: str, session: str | None, *, new: bool) -> Chosen:
    """The session that the workers share, made where it is not there. Raises UsageError, SessionFinished."""
    if session is None or new:
        raise UsageError(
            "workers share one session, and have to name it: --session with an id as "
            f"{_example()}, the same for all of them; who comes first creates it"
        )
    here = layout.experiment_path(root, project, experiment)
    path = here / "sessions" / session
    if not (path / layout.MANIFEST).is_file():
        try:
            path = layout.find_session(root, session)
        except SessionNotFound:
            if not layout.is_session_id(session):
                raise UsageError(f"--session {session!r}: an id is written as {_example()}") from None
            if isinstance(path, Path):
                for folder in layout.FOLDERS:
                    make_folder(path / folder)
    path = path.resolve()
    if path.parent.parent != here.resolve():
        raise UsageError(f"session {path.name} belongs to {path.parent.parent}, not to {here}")
    return Chosen(path, None)


def before(chosen: Chosen, storage: Storage) -> tuple[Chosen, bool]:
    """How the session stood, now that it is this worker's turn; and whether others are at work in it."""
    if next(iter(storage.list(layout.MANIFEST)), None) is None:
        return chosen, False
    at_work = bool(others(storage))
    return Chosen(chosen.path, state.Standing("running", None) if at_work else state.ended(storage)), at_work


def may_wake(storage: Storage) -> bool:
    """Whether a worker is lost, which may be frozen and not dead: what it was writing is not to be closed."""
    assert isinstance(storage, Leased)
    return any(seen.state == "lost" for seen in storage.leases.heartbeat.others())


def began(chronolog: Chronolog, manifest: Manifest) -> None:
    """Say that a worker begins."""
    chronolog.event("worker_start", session_id=manifest.session, worker=name(), pid=os.getpid())


def end(path: Folder, storage: Storage, manifest: Manifest, chronolog: Chronolog, outcome: str, **fields: Any) -> bool:
    """Write how a worker ended, and how the session did if it was the last one; whether it was."""
    worker = name()
    if worker is None:
        events.end(path, manifest, chronolog, outcome, **fields)
        merge(storage)
        return True
    said = {key: value for key, value in fields.items() if value is not None}
    chronolog.event("worker_end", session_id=manifest.session, worker=worker, outcome=outcome, **said)
    try:
        with turn(storage):
            last = not others(storage)
            if last:
                events.end(path, manifest, chronolog, outcome, **fields)
                merge(storage)
                sweep(storage)
    except (CustodyError, OSError) as error:  # what was paid for is on record; how the program went does not change
        log.warning(
            "custody: whether worker %s is the last one cannot be told (%s); others end the session", worker, error
        )
        return False
    return last


def sweep(storage: Storage) -> None:
    """Remove the claims of a session in which nobody is at work. Not where a worker is lost: it may be frozen, and asks
    whether its claim is another one's by then when it wakes up."""
    try:
        if isinstance(storage, Leased) and isinstance(storage.leases, Leases) and not may_wake(storage):
            storage.leases.sweep(layout.CLAIMS)
    except (CustodyError, OSError) as error:
        log.warning("custody: the claims of %s cannot be removed (%s); they hinder nobody", storage.url, error)


def close(storage: Storage) -> None:
    """This process is no worker's any more: nobody has to wait a lease for it."""
    if isinstance(storage, Leased) and isinstance(storage.leases, Leases):
        storage.leases.close()
        _opened.pop((os.getpid(), storage.url), None)


def seen(storage: Storage) -> list[Seen]:
    """All processes of workers, for looking only: by this machine's clock, because nothing is stored for it."""
    leased = isinstance(storage, Leased) and isinstance(storage.leases, Leases)
    if not leased and not isinstance(storage, LocalStorage):
        return []
    heartbeat = Heartbeat(storage, beating=False)  # type: ignore[arg-type]
    return heartbeat.others(now=time.time())


def order(storage: Storage) -> Order:
    """In which order a plan is walked: by workers from different places, each item first by one of them."""
    worker, part = name(), sharding.parsed(sharding.asked() or "1/1")
    if worker is None:
        return Order(part)
    # Where N names fall is chance; that they fall apart is what counts.
    start = int.from_bytes(hashlib.sha256(worker.encode()).digest()[:4]) / 2**32

    assert isinstance(storage, Leased)
    leases = storage.leases
    return Order(part, start, lambda key: leases.first(layout.CLAIMS, f"item\0{key}".encode()))


def _example() -> str:
    return time.strftime("session_%Y%m%d_%H%M%S", time.gmtime())
