"""Locks and claims between machines: objects that are put if absent, with leases by the server's clock.

What is held is ``<name without .lock>/.../<generation>``: whoever stores a generation first has it. The next one is
stored by whoever finds the last one released, or its owner dead (``heartbeats``). So a holder is never asked to let
go, and one that was taken for dead and lives (a zombie) learns of it by ``Held.lost``.

An object that decides a race is removed by its own holder only, while it is surely alive, and only the first
generation; in all other cases it is marked as released. See docs/decisions/0051-claims-with-leases.md.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol, runtime_checkable

from custody.errors import CustodyError, StorageError
from custody.storage import Removing
from custody.storage.heartbeats import ALONE, WORKERS, Backing, Heartbeat, elapsed

log = logging.getLogger("custody")

_PAUSE = 0.25  # seconds for which somebody else's claim is believed without asking the server again


@runtime_checkable
class Leased(Protocol):
    """A storage whose locks and claims are leases."""

    leases: Leases


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds, or held, a generation. ``state`` is "held" or "released"."""

    holder: str
    worker: str
    generation: int
    state: str


class Leases:
    """``lock`` and ``claim`` for any storage with put-if-absent and a server's clock. Thread-safe, fork-safe.

    Raises OSError and StorageError as the storage does. Attributes:
        heartbeat: of this process in this storage.
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
        self.heartbeat = Heartbeat(storage, worker, seconds=seconds, folder=folder, clock=clock, beating=beating)
        self._storage, self._clock = storage, clock
        self._held: dict[str, Held] = {}
        self._taking: set[str] = set()
        self._pid = os.getpid()
        self._busy: dict[str, float] = {}  # prefix: until when somebody else's claim is believed
        self._unreleased: list[Held] = []
        self.heartbeat.then = self._catch_up
        self._numbers = iter(range(1, 1 << 62))
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        """How many claims this process has now, locks aside."""
        mine = tuple(self._held.values()) if self._pid == os.getpid() else ()
        return sum(1 for one in mine if one.generation and not one.prefix.endswith("/alone"))

    def lock(self, name: str, shared: bool = False) -> Held | None:
        """Take a lock without waiting; None where somebody else has it."""
        base = _base(name)
        self._begin()
        if not shared:
            alone = None if self._here(f"{base}/alone") else self._take(f"{base}/alone")
            if alone is not None and self._shared(base):
                alone.release()
                return None
            return alone
        mine = f"{base}/shared/{self.heartbeat.holder}-{next(self._numbers)}"
        self._storage.put(mine, self._mark("held"))
        held = self._keep_track(Held(self, mine, 0, None))
        # Both sides write first and look then, so that two may hinder, and never overlook, each other.
        owner = self._last(f"{base}/alone")
        if owner is not None and owner.state == "held" and self.heartbeat.alive(owner.holder):
            held.release()
            return None
        return held

    def claim(self, name: str, token: bytes) -> Held | None:
        """Take one of very many tokens within ``name``; None where somebody else has it, or keeps it."""
        prefix = f"{_base(name)}/{sha256(token).hexdigest()}"
        self._begin()
        if self._here(prefix) or (self._busy and self._clock() < self._busy.get(prefix, 0.0)):
            return None
        held = self._take(prefix)
        if held is not None:
            self._busy.pop(prefix, None)
        elif not self._here(prefix):
            self._busy[prefix] = self._clock() + min(_PAUSE, self.heartbeat.seconds / 6)
        return held

    def first(self, name: str, token: bytes) -> bool:
        """Whether nobody has taken a token before, and this process does now, for good. One request: who has it, and
        whether he lives, is not asked."""
        self._begin()
        return self._storage.put_if_absent(_object(f"{_base(name)}/{sha256(token).hexdigest()}", 1), self._mark("held"))

    def sweep(self, name: str, answered: Callable[[bytes], bool] | None = None) -> int:
        """Remove the claims of a name; gives their number. Only where no holder is at work: whoever claims next is the
        first one, and has to look into the archive before.

        Args:
            answered: asked with the first 16 bytes of a token's SHA-256; only those are removed, and what is in doubt
                stays so. Without it all are: only where no holder may wake up either.
        """
        base = f"{_base(name)}/"
        names = [entry.name for entry in self._storage.list(base)]
        if answered is not None:
            names = [each for each in names if (digest := _digest(each.removeprefix(base))) and answered(digest)]
        if isinstance(self._storage, Removing):
            self._storage.remove_all(names)
        else:
            for each in names:
                self._storage.remove(each)
        return len(names)

    def owner(self, name: str, token: bytes) -> Owner | None:
        """Who has, or last had, a claim. None where nobody has."""
        return self._last(f"{_base(name)}/{sha256(token).hexdigest()}")

    def close(self) -> None:
        """Free what is held, and say that this holder has ended."""
        if self._pid == os.getpid():
            for held in tuple(self._held.values()):
                held.release()
        self.heartbeat.end()

    # -- generations --------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._pid != os.getpid():  # what the parent holds is the parent's
            self._pid, self._held, self._busy, self._unreleased = os.getpid(), {}, {}, []
            self._taking = set()
            self._lock = threading.Lock()
        self.heartbeat.begin()

    def _take(self, prefix: str) -> Held | None:
        """None also where another thread of this process is just at it: what it has stored already would look like
        something that was kept."""
        with self._lock:
            if prefix in self._held or prefix in self._taking:
                return None
            self._taking.add(prefix)
        try:
            return self._taken(prefix)
        finally:
            with self._lock:
                self._taking.discard(prefix)

    def _taken(self, prefix: str) -> Held | None:
        if self._storage.put_if_absent(_object(prefix, 1), self._mark("held")):
            return self._keep_track(Held(self, prefix, 1, None))
        last = self._last(prefix)
        if last is None:  # released meanwhile
            if self._storage.put_if_absent(_object(prefix, 1), self._mark("held")):
                return self._keep_track(Held(self, prefix, 1, None))
            return None
        if last.state == "held" and not self._dropped(prefix, last) and self.heartbeat.alive(last.holder):
            return None
        number = last.generation + 1
        if not self._storage.put_if_absent(_object(prefix, number), self._mark("held")):
            return None
        dead = last if last.state == "held" and last.holder != self.heartbeat.holder else None
        return self._keep_track(Held(self, prefix, number, dead))

    def _here(self, prefix: str) -> bool:
        """Whether this very process has it, which is known without asking."""
        return prefix in self._held

    def _dropped(self, prefix: str, last: Owner) -> bool:
        """Whether it is our own, and kept as answered: nobody is at work on it."""
        return last.holder == self.heartbeat.holder and not self._here(prefix)

    def _last(self, prefix: str) -> Owner | None:
        """The highest generation, as it stands."""
        for _ in range(3):
            names = [entry.name for entry in self._storage.list(f"{prefix}/")]
            numbers = [int(tail) for name in names if (tail := name.removeprefix(f"{prefix}/")).isdigit()]
            if not numbers:
                return None
            try:
                said = json.loads(self._storage.read(_object(prefix, max(numbers))))
                return Owner(str(said["holder"]), str(said["worker"]), max(numbers), str(said["state"]))
            except FileNotFoundError:
                continue  # released between the list and the look
            except (ValueError, TypeError, KeyError) as error:
                raise StorageError(f"{_object(prefix, max(numbers))} is no claim: {error}") from error
        return None

    def _shared(self, base: str) -> bool:
        """Whether a living holder has a lock's shared form. What dead ones left is removed."""
        found = False
        for entry in list(self._storage.list(f"{base}/shared/")):
            holder = entry.name.removeprefix(f"{base}/shared/").rpartition("-")[0]
            if self.heartbeat.alive(holder):
                found = True
            else:
                self._storage.remove(entry.name)
        return found

    def _free(self, held: Held) -> None:
        try:
            held._free()
        except Exception as error:
            log.warning("custody: %s cannot be released now (%s); it will be", held.name, error)
            self._unreleased.append(held)

    def _catch_up(self) -> None:
        with contextlib.suppress(OSError, CustodyError):  # told, and tried again after the next beat
            while self._unreleased:
                self._unreleased[0]._free()
                self._unreleased.pop(0)

    def _mark(self, state: str, dead: Owner | None = None) -> bytes:
        said = {"holder": self.heartbeat.holder, "worker": self.heartbeat.worker, "state": state}
        if dead is not None:
            said = {"holder": dead.holder, "worker": dead.worker, "state": dead.state}
        return json.dumps(said).encode() + b"\n"

    def _keep_track(self, held: Held) -> Held:
        with self._lock:
            self._held[held.prefix] = held
        return held


class Held:
    """A lock or claim that is held. A ``storage.Lock``, with more to say.

    Attributes:
        generation: 1 where nobody has had it, or all who had it have released it; 0 of a shared lock.
        taken_from: the dead owner of the generation before, who did not release it.
    """

    def __init__(self, leases: Leases, prefix: str, generation: int, taken_from: Owner | None) -> None:
        self._leases, self.generation, self.taken_from = leases, generation, taken_from
        self.prefix = prefix
        self.name = _object(prefix, generation) if generation else prefix
        self._lapses = leases.heartbeat.lapses
        self._pid = os.getpid()
        self._over = self._returned = False

    @property
    def fresh(self) -> bool:
        """Whether nobody can have an answer that this process does not know since it began. Not where this holder was
        silent for longer than a lease: what others claimed meanwhile, and answered, may have been swept away."""
        return self.generation == 1 and not self._leases.heartbeat.lapses and self._sure()

    def lost(self) -> bool:
        """Whether somebody else has taken it over. Asks the server only if this holder may have been taken for dead:
        it was silent for longer than a lease since it took this. Raises OSError, StorageError."""
        heartbeat = self._leases.heartbeat
        if self._pid != os.getpid():
            return True
        if self._sure():
            return False
        if heartbeat.silent > heartbeat.seconds:
            heartbeat.beat()  # alive again, and then the look: nobody takes it over after that
        # Taken over by the next generation; or its own is gone: cleared away, as a shared lock is, or swept.
        return not self._there(self.name) or (self.generation > 0 and self._there(self._next))

    @property
    def _next(self) -> str:
        return _object(self.prefix, self.generation + 1)

    def _there(self, name: str) -> bool:
        try:
            self._leases._storage.read(name, 0, 1)
        except FileNotFoundError:
            return False
        return True

    def _sure(self) -> bool:
        heartbeat = self._leases.heartbeat
        return heartbeat.lapses == self._lapses and heartbeat.silent <= heartbeat.seconds

    def release(self) -> None:
        """Free it for others. Nothing where it is released, kept or the parent's. What the storage does not take now
        is done with a later heartbeat."""
        if self._close():
            self._leases._free(self)

    def _free(self) -> None:
        storage, heartbeat = self._leases._storage, self._leases.heartbeat
        if not self.generation or (self.generation == 1 and self._sure() and heartbeat.silent < heartbeat.seconds / 2):
            storage.remove(self.name)
        else:  # somebody may count on it
            owner = self.taken_from if self._returned else None
            storage.put(self.name, self._leases._mark("released", owner))

    def give_back(self) -> None:
        """Free it as the dead owner left it from whom it was taken: the next one finds it in doubt, too."""
        self._returned = self.taken_from is not None
        self.release()

    def keep(self) -> None:
        """It is answered: what it stands for is never to be done again. Nothing is stored: the claim stays, and
        whoever comes upon it looks into the archive."""
        self._close()

    def _close(self) -> bool:
        if self._over or self._pid != os.getpid():
            return False
        self._over = True
        with self._leases._lock:
            self._leases._held.pop(self.prefix, None)
        return True


def _object(prefix: str, generation: int) -> str:
    return f"{prefix}/{generation:06d}"


def _digest(name: str) -> bytes | None:
    """The first half of the SHA-256 in a claim's name, below its prefix; None where it is no claim's name."""
    try:
        return bytes.fromhex(name.partition("/")[0])[:16]
    except ValueError:
        return None


def _base(name: str) -> str:
    """The prefix of a lock's objects. Raises StorageError for a name that leads outside."""
    if "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise StorageError(f"{name!r} is not a name inside this storage")
    return name.removesuffix(".lock")


__all__ = ["Held", "Leased", "Leases", "Owner"]
