"""Leases: one holder a claim, the dead are replaced, a zombie learns of it; by a clock of the tests' own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from custody.errors import StorageError, UsageError
from custody.storage import Entry
from custody.storage.heartbeats import WORKERS, Heartbeat, lease_seconds
from custody.storage.leases import Held, Leases
from custody.storage.shared import SharedLocalStorage
from custody.testing import StorageContract

LEASE = 30.0


class Server:
    """Objects in memory, with the time at which each was stored."""

    def __init__(self) -> None:
        self.time = 1_000.0
        self.objects: dict[str, tuple[bytes, float]] = {}
        self.away = False
        self.asked: list[str] = []
        self._lock = threading.Lock()

    def tick(self, seconds: float) -> None:
        self.time += seconds

    def _ask(self, what: str, name: str) -> None:
        if self.away:
            raise OSError("the server is away")
        self.asked.append(f"{what} {name}")

    def put_if_absent(self, name: str, data: bytes) -> bool:
        self._ask("put_if_absent", name)
        with self._lock:
            if name in self.objects:
                return False
            self.objects[name] = data, self.time
            return True

    def put(self, name: str, data: bytes) -> None:
        self._ask("put", name)
        with self._lock:
            self.objects[name] = data, self.time

    def remove(self, name: str) -> None:
        self._ask("remove", name)
        with self._lock:
            self.objects.pop(name, None)

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes:
        self._ask("read", name)
        try:
            data = self.objects[name][0]
        except KeyError:
            raise FileNotFoundError(name) from None
        return data[offset : None if size is None else offset + size]

    def list(self, prefix: str = "") -> Iterator[Entry]:
        self._ask("list", prefix)
        with self._lock:
            return iter(
                sorted(Entry(name, len(data)) for name, (data, _) in self.objects.items() if name.startswith(prefix))
            )

    def modified(self, name: str) -> float:
        self._ask("modified", name)
        try:
            return float(int(self.objects[name][1]))  # as S3 does: whole seconds
        except KeyError:
            raise FileNotFoundError(name) from None


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def worker(server: Server) -> Callable[..., Leases]:
    """A worker whose heart beats when the test says so; its own clock runs with the server's, at another time."""

    def make(name: str = "w", seconds: float = LEASE) -> Leases:
        return Leases(server, name, seconds=seconds, clock=lambda: server.time - 900, beating=False)

    return make


def claims(server: Server) -> list[str]:
    return sorted(name for name in server.objects if not name.startswith(f"{WORKERS}/"))


# -- one holder ---------------------------------------------------------------------------------------


def test_a_claim_has_one_holder_between_workers(server: Server, worker: Callable[..., Leases]) -> None:
    one, two = worker("one"), worker("two")
    held = one.claim("claims.lock", b"token")
    assert held is not None and held.fresh and held.taken_from is None
    assert two.claim("claims.lock", b"token") is None
    assert one.claim("claims.lock", b"token") is None, "nor twice in one process"
    other = two.claim("claims.lock", b"another")
    assert other is not None
    owner = two.owner("claims.lock", b"token")
    assert owner is not None and (owner.worker, owner.holder, owner.state) == ("one", one.heartbeat.holder, "held")
    held.release()
    server.tick(1)
    again = two.claim("claims.lock", b"token")
    assert again is not None and again.fresh, "released by one who had no answer: as if nobody had had it"


def test_a_first_claim_costs_one_request(server: Server, worker: Callable[..., Leases]) -> None:
    one = worker("one")
    assert one.claim("claims.lock", b"first") is not None
    server.asked.clear()
    held = one.claim("claims.lock", b"second")
    assert held is not None
    assert [what.split()[0] for what in server.asked] == ["put_if_absent"]
    held.keep()
    assert held.lost() is False
    assert len(server.asked) == 1, "to keep it and to ask whether it was lost asks nobody"


def test_sixteen_workers_race_for_one_claim(server: Server, worker: Callable[..., Leases]) -> None:
    for turn in range(50):
        workers = [worker(f"w{n}") for n in range(16)]
        barrier = threading.Barrier(16)

        def race(one: Leases, token: bytes = b"%d" % turn, start: threading.Barrier = barrier) -> Held | None:
            start.wait()
            return one.claim("claims.lock", token)

        with ThreadPoolExecutor(16) as pool:
            held = [lock for lock in pool.map(race, workers) if lock is not None]
        assert len(held) == 1


def test_somebody_elses_claim_is_not_asked_for_at_every_look(server: Server, worker: Callable[..., Leases]) -> None:
    one, two = worker("one"), worker("two")
    held = one.claim("claims.lock", b"token")
    assert held is not None
    assert two.claim("claims.lock", b"token") is None
    server.asked.clear()
    for _ in range(10):
        assert two.claim("claims.lock", b"token") is None
    assert server.asked == []
    held.release()
    server.tick(1)
    assert two.claim("claims.lock", b"token") is not None


# -- the dead ------------------------------------------------------------------------------------------


def test_a_silent_holder_is_replaced_after_its_lease_and_not_before(
    server: Server, worker: Callable[..., Leases]
) -> None:
    one, two = worker("one"), worker("two")
    assert one.claim("claims.lock", b"token") is not None
    server.tick(LEASE)
    assert two.claim("claims.lock", b"token") is None, "its lease is not over"
    server.tick(LEASE / 6 + 1)  # for so long it is believed
    taken = two.claim("claims.lock", b"token")
    assert taken is not None and not taken.fresh and taken.generation == 2
    assert taken.taken_from is not None and taken.taken_from.worker == "one"
    assert (taken.taken_from.holder, taken.taken_from.generation) == (one.heartbeat.holder, 1)


def test_a_heart_that_beats_keeps_its_claims(server: Server, worker: Callable[..., Leases]) -> None:
    one, two = worker("one"), worker("two")
    held = one.claim("claims.lock", b"token")
    for _ in range(10):
        server.tick(LEASE / 2)
        one.heartbeat.beat()
        assert two.claim("claims.lock", b"token") is None
    assert held is not None and held.lost() is False


def test_the_holders_own_lease_counts(server: Server, worker: Callable[..., Leases]) -> None:
    patient, hasty = worker("patient", 300), worker("hasty", 1)
    assert patient.claim("claims.lock", b"token") is not None
    server.tick(200)
    assert hasty.claim("claims.lock", b"token") is None
    server.tick(200)
    assert hasty.claim("claims.lock", b"token") is not None


def test_one_who_has_ended_is_replaced_at_once(server: Server, worker: Callable[..., Leases]) -> None:
    one, two = worker("one"), worker("two")
    assert one.claim("claims.lock", b"token") is not None
    one.heartbeat.end()  # without a word about its claim
    taken = two.claim("claims.lock", b"token")
    assert taken is not None and taken.taken_from is not None


def test_a_claim_without_a_heartbeat_is_a_dead_ones(server: Server, worker: Callable[..., Leases]) -> None:
    one, two = worker("one"), worker("two")
    assert one.claim("claims.lock", b"token") is not None
    server.remove(one.heartbeat.name)
    assert two.claim("claims.lock", b"token") is not None
    server.put(one.heartbeat.name, b"no heartbeat")
    assert two.claim("claims.lock", b"second") is not None


def test_one_of_many_takes_over(server: Server, worker: Callable[..., Leases]) -> None:
    for turn in range(20):
        token = b"%d" % turn
        assert worker("dead").claim("claims.lock", token) is not None
        server.tick(LEASE + 2)
        workers = [worker(f"w{n}") for n in range(8)]
        with ThreadPoolExecutor(8) as pool:
            held = [one for one in pool.map(lambda w, t=token: w.claim("claims.lock", t), workers) if one is not None]
        assert [one.generation for one in held] == [2]


def test_a_chain_of_dead_owners_goes_on(server: Server, worker: Callable[..., Leases]) -> None:
    for generation in range(1, 13):
        held = worker(f"w{generation}").claim("claims.lock", b"token")
        assert held is not None and held.generation == generation
        server.tick(LEASE + 2)


def test_a_jump_of_the_workers_own_wall_clock_changes_nothing(
    server: Server, worker: Callable[..., Leases], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = worker("one"), worker("two")
    assert one.claim("claims.lock", b"token") is not None
    real = time.time()
    monkeypatch.setattr(time, "time", lambda: real + 1e6)
    assert two.claim("claims.lock", b"token") is None


# -- what is kept, and what is freed -------------------------------------------------------------------


def test_a_kept_claim_stays_while_its_owner_lives(server: Server, worker: Callable[..., Leases]) -> None:
    one, two = worker("one"), worker("two")
    held = one.claim("claims.lock", b"token")
    assert held is not None
    held.keep()
    held.release()
    server.tick(1)
    assert two.claim("claims.lock", b"token") is None
    assert one.held == 0
    one.close()
    server.tick(LEASE / 6 + 1)
    taken = two.claim("claims.lock", b"token")
    assert taken is not None and not taken.fresh, "who comes upon it looks into the archive"


def test_ones_own_kept_claim_can_be_taken_again(worker: Callable[..., Leases]) -> None:
    one = worker("one")
    held = one.claim("claims.lock", b"token")
    assert held is not None
    held.keep()
    again = one.claim("claims.lock", b"token")
    assert again is not None and not again.fresh and again.taken_from is None


def test_a_taken_over_claim_is_marked_and_not_removed(server: Server, worker: Callable[..., Leases]) -> None:
    assert worker("dead").claim("claims.lock", b"token") is not None
    server.tick(LEASE + 2)
    two = worker("two")
    taken = two.claim("claims.lock", b"token")
    assert taken is not None
    taken.release()
    assert [name[-6:] for name in claims(server)] == ["000001", "000002"]
    again = two.claim("claims.lock", b"token")
    assert again is not None and (again.generation, again.taken_from) == (3, None)


def test_what_is_given_back_is_the_dead_ones_again(server: Server, worker: Callable[..., Leases]) -> None:
    dead, two, three = worker("dead"), worker("two"), worker("three")
    assert dead.claim("claims.lock", b"token") is not None
    server.tick(LEASE + 2)
    taken = two.claim("claims.lock", b"token")
    assert taken is not None
    taken.give_back()
    again = three.claim("claims.lock", b"token")
    assert again is not None and again.taken_from is not None
    assert (again.taken_from.worker, again.generation) == ("dead", 3)


def test_what_cannot_be_released_now_is_released_later(
    server: Server, worker: Callable[..., Leases], caplog: pytest.LogCaptureFixture
) -> None:
    one, two = worker("one"), worker("two")
    held = one.claim("claims.lock", b"token")
    assert held is not None
    server.away = True
    held.release()
    assert "cannot be released now" in caplog.text
    server.away = False
    assert two.claim("claims.lock", b"token") is None
    one.heartbeat.try_beat()
    server.tick(1)
    assert two.claim("claims.lock", b"token") is not None


def test_close_frees_everything_and_says_so(server: Server, worker: Callable[..., Leases]) -> None:
    one, two = worker("one"), worker("two")
    assert None not in (one.claim("claims.lock", b"a"), one.lock("owner.lock"), one.lock("members.lock", shared=True))
    one.close()
    one.close()
    assert claims(server) == []
    assert [seen.state for seen in two.heartbeat.others()] == ["ended"]


# -- zombies -------------------------------------------------------------------------------------------


def test_a_zombie_learns_that_its_claim_was_taken_over(server: Server, worker: Callable[..., Leases]) -> None:
    one, two = worker("one"), worker("two")
    held, untouched = one.claim("claims.lock", b"token"), one.claim("claims.lock", b"untouched")
    assert held is not None and untouched is not None
    server.tick(LEASE + 2)
    assert two.claim("claims.lock", b"token") is not None
    assert held.lost() is True
    assert untouched.lost() is False, "nobody wanted it"
    server.tick(1)
    assert two.claim("claims.lock", b"untouched") is None, "and its owner is alive again"
    held.release()
    assert [name[-6:] for name in claims(server)].count("000002") == 1, "a zombie frees nothing of its successor"
    three = worker("three")
    assert three.claim("claims.lock", b"token") is None


def test_a_zombie_whose_heart_beats_first_learns_it_all_the_same(server: Server, worker: Callable[..., Leases]) -> None:
    one, two = worker("one"), worker("two")
    held = one.claim("claims.lock", b"token")
    assert held is not None
    server.tick(LEASE + 2)
    assert two.claim("claims.lock", b"token") is not None
    one.heartbeat.beat()  # its thread woke up before the one that was sending
    assert held.lost() is True


def test_a_shared_lock_that_was_cleared_away_is_lost(server: Server, worker: Callable[..., Leases]) -> None:
    one, two = worker("one"), worker("two")
    member = one.lock("members.lock", shared=True)
    assert member is not None
    assert two.lock("members.lock") is None
    server.tick(LEASE + 2)
    assert two.lock("members.lock") is not None
    assert member.lost() is True


def test_a_zombie_whose_claim_was_swept_away_learns_that_it_is_lost(
    server: Server, worker: Callable[..., Leases]
) -> None:
    """And what it claims from then on may have been answered, and swept, while it was silent."""
    one, two = worker("one"), worker("two")
    held = one.claim("claims.lock", b"answered")
    assert held is not None and held.fresh
    server.tick(LEASE + 2)
    taken, open_ = two.claim("claims.lock", b"answered"), two.claim("claims.lock", b"in doubt")
    assert taken is not None and open_ is not None
    taken.keep()
    digest = sha256(b"answered").digest()[:16]
    assert two.sweep("claims.lock", {digest}.__contains__) == 2
    assert claims(server) == [open_.name], "what is not answered stays"
    assert held.lost() is True
    held.keep()
    again = one.claim("claims.lock", b"answered")
    assert again is not None
    assert again.generation == 1
    assert not again.fresh, "it would be sent without a look into the archive"


def test_a_claim_taken_while_silent_is_not_fresh(server: Server, worker: Callable[..., Leases]) -> None:
    """The process was frozen; the claim goes out before its heart has beaten again."""
    one = worker("one")
    assert one.claim("claims.lock", b"first") is not None
    server.tick(LEASE + 2)
    late = one.claim("claims.lock", b"second")
    assert late is not None and not late.fresh


# -- locks ---------------------------------------------------------------------------------------------


def test_a_dead_exclusive_owner_keeps_nobody_out(server: Server, worker: Callable[..., Leases]) -> None:
    one, two = worker("one"), worker("two")
    assert one.lock("owner.lock") is not None
    assert two.lock("owner.lock") is None
    assert two.lock("owner.lock", shared=True) is None
    server.tick(LEASE + 2)
    member = two.lock("owner.lock", shared=True)
    assert member is not None
    assert worker("three").lock("owner.lock") is None
    member.release()
    assert worker("three").lock("owner.lock") is not None


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside", "..", ".", "", "a//b", "a/"])
def test_names_that_lead_outside_are_refused(server: Server, worker: Callable[..., Leases], name: str) -> None:
    for use in (lambda one: one.lock(name), lambda one: one.claim(name, b"token")):
        with pytest.raises(StorageError):
            use(worker("one"))
    assert server.objects == {}


# -- heartbeats ----------------------------------------------------------------------------------------


def test_workers_are_seen_with_what_they_say_of_themselves(server: Server, worker: Callable[..., Leases]) -> None:
    one, two, look = worker("one"), worker("two"), worker("look")
    one.heartbeat.facts = lambda: {"calls": 7}
    for leases in (one, two):
        leases.heartbeat.begin()
    server.tick(LEASE + 2)
    one.heartbeat.beat()
    seen = {s.worker: s for s in look.heartbeat.others()}
    assert {name: s.state for name, s in seen.items()} == {"one": "alive", "two": "lost"}
    assert seen["one"].facts == {"calls": 7}
    assert seen["two"].silent == LEASE + 2


def test_a_heartbeat_names_no_machine_and_no_user(server: Server, worker: Callable[..., Leases]) -> None:
    one = worker("one")
    one.heartbeat.begin()
    said = json.loads(server.read(one.heartbeat.name))
    assert set(said) == {"worker", "holder", "started", "lease_seconds", "state"}
    assert said["holder"] == one.heartbeat.holder != worker("one").heartbeat.holder


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".x", "a b", "x" * 61, "naïve"])
def test_worker_names_that_cannot_be_objects_are_refused(server: Server, name: str) -> None:
    with pytest.raises(UsageError, match="worker name"):
        Heartbeat(server, name)


@pytest.mark.parametrize("text", ["x", "0", "-1", "1e9", "nan"])
def test_lease_seconds_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("CUSTODY_LEASE_SECONDS", text)
    with pytest.raises(UsageError, match="CUSTODY_LEASE_SECONDS"):
        lease_seconds()


def test_a_heart_beats_by_itself_and_stops(server: Server) -> None:
    others = set(threading.enumerate())  # of holders that other tests have left
    leases = Leases(server, "one", seconds=0.5)
    leases.heartbeat.begin()
    (mine,) = (thread for thread in set(threading.enumerate()) - others if thread.name == "custody-heartbeat")
    _until(lambda: server.asked.count(f"put {leases.heartbeat.name}") >= 3)
    leases.close()
    _until(lambda: not mine.is_alive())


def test_a_failing_heart_goes_on_and_says_so_once(
    server: Server, worker: Callable[..., Leases], caplog: pytest.LogCaptureFixture
) -> None:
    one = worker("one")
    one.heartbeat.begin()
    server.away = True
    for _ in range(3):
        one.heartbeat.try_beat()
    assert caplog.text.count("heartbeat cannot be stored") == 1
    server.away = False
    server.tick(10)
    one.heartbeat.try_beat()
    assert one.heartbeat.silent == 0


# -- real processes ------------------------------------------------------------------------------------


def open_shared(url: str, create: bool) -> SharedLocalStorage:
    return SharedLocalStorage(Path(url), "three", create=create)


class TestSharedLocalStorage(StorageContract):
    @pytest.fixture
    def opener(self) -> Callable[..., SharedLocalStorage]:
        return open_shared

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[SharedLocalStorage]:
        storage = SharedLocalStorage(tmp_path / "session", "one")
        yield storage
        storage.leases.close()

    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Iterator[Callable[[], SharedLocalStorage]]:
        opened: list[SharedLocalStorage] = []

        def again() -> SharedLocalStorage:
            opened.append(SharedLocalStorage(tmp_path / "session", "two", create=False))
            return opened[-1]

        yield again
        for one in opened:
            one.leases.close()


HOLD = """
import sys
from pathlib import Path
from custody.storage.shared import SharedLocalStorage
storage = SharedLocalStorage(Path(sys.argv[1]), "child", seconds=1.5)
held = storage.claim("claims.lock", b"token")
print("held" if held is not None else "none", flush=True)
for line in sys.stdin:
    print(held.lost(), flush=True)
"""


@pytest.fixture
def child(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[SharedLocalStorage]:
    storage = SharedLocalStorage(tmp_path, "parent", seconds=1.5)
    yield storage
    storage.leases.close()


def test_the_claim_of_a_killed_process_is_taken_over(shared: SharedLocalStorage, child: subprocess.Popen[str]) -> None:
    assert shared.claim("claims.lock", b"token") is None
    time.sleep(3)
    assert shared.claim("claims.lock", b"token") is None, "the child's heart beats"
    child.kill()
    taken: Any = _until(lambda: shared.claim("claims.lock", b"token"))
    assert taken.taken_from.worker == "child"


def test_the_claim_of_a_frozen_process_is_taken_over_and_it_learns_of_it(
    shared: SharedLocalStorage, child: subprocess.Popen[str]
) -> None:
    assert child.stdin is not None and child.stdout is not None
    os.kill(child.pid, signal.SIGSTOP)
    taken: Any = _until(lambda: shared.claim("claims.lock", b"token"))
    assert taken.taken_from.worker == "child"
    os.kill(child.pid, signal.SIGCONT)
    child.stdin.write("lost?\n")
    child.stdin.flush()
    assert child.stdout.readline() == "True\n"


def test_a_forked_child_has_a_heartbeat_of_its_own(shared: SharedLocalStorage) -> None:
    held = shared.claim("claims.lock", b"token")
    assert isinstance(held, Held)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            held.release()  # the parent's: nothing happens
            mine = shared.claim("claims.lock", b"another")
            code = 0 if held.lost() and mine is not None and shared.claim("claims.lock", b"token") is None else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert held.lost() is False
    names = [entry.name for entry in shared.list(f"{WORKERS}/")]
    assert len(names) == 2, "two processes, two hearts"


def _until(look: Callable[[], Any]) -> Any:
    for _ in range(600):
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("never")
