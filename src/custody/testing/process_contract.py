"""What a storage must do between processes, and when one of them is killed; the second one is started for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from custody.storage import Capable, KeepsAppends, Lock, Storage
from custody.testing.contract_base import Contract, size_of
from custody.testing.second_process import Broken, Opener, SecondProcess, following, race

_SECONDS = 0.6

ONE = "the study would go on in one process only, and its workers would pay for the same calls"


class ProcessContract(Contract):
    """The part of ``StorageContract`` that needs a second process; inherit that one."""

    @pytest.fixture
    def second(self, storage: Storage, opener: Opener) -> Iterator[SecondProcess]:
        """Another process that has opened the URL of ``storage``."""
        self._needs("processes", "url")
        if isinstance(storage, Capable) and storage.capabilities.durability == "process":
            pytest.skip("by its capabilities it is of one process: durability='process'")
        try:
            started = SecondProcess.opened(opener, storage.url)
        except Broken as error:
            pytest.fail(
                f"another process cannot open {storage.url}: {error}. Install the plugin (pip install -e .), override "
                "the fixture 'opener', declare Capabilities(durability='process') where it is of one process, or say "
                "in not_applicable['processes'] why this cannot be"
            )
        yield started
        started.spare()

    def test_another_process_finds_what_was_stored(self, storage: Storage, second: SecondProcess) -> None:
        name = "llm_archive/w-000001.jsonl"
        storage.put("object", b"one")
        log = storage.create_log(name)
        log.append(b"1\n")
        log.sync()
        assert second.do("read", "object") == b"one", f"another process does not find an object: {ONE}"
        assert second.do("read", name) == b"1\n", f"another process does not find what was synced: {ONE}"
        assert second.do("names", "") == [name, "object"], f"another process does not list what was stored: {ONE}"
        assert second.do("put_if_absent", "object", b"two") is False, "another process stored what was there already"
        with pytest.raises(Broken, match="FileExistsError"):
            second.do("create_log", name, [])
        storage.put("object", b"two")
        log.append(b"2\n")
        log.sync()
        log.close()
        assert second.do("read", "object") == b"two", (
            "another process reads what it has read before, not what is stored"
        )
        assert second.do("read", name) == b"1\n2\n", (
            "another process does not find what was synced after its first look"
        )

    def test_what_another_process_stored_is_found(self, storage: Storage, second: SecondProcess) -> None:
        name = "llm_archive/w-000001.jsonl"
        storage.put("object", b"one")
        assert storage.read("object") == b"one"
        second.do("put", "object", b"three")
        second.do("create_log", name, [b"1\n", b"2\n"])
        assert storage.read("object") == b"three", "what another process replaced is read as it was before"
        assert storage.read(name) == b"1\n2\n", f"what another process synced is not found: {ONE}"
        assert size_of(storage, name) == 4, "what another process synced is not listed with its size"
        with pytest.raises(FileExistsError):
            storage.create_log(name)

    def test_a_shared_log_has_writers_in_two_processes(self, storage: Storage, second: SecondProcess) -> None:
        self._needs("shared_log")
        mine = storage.shared_log("events.jsonl")
        mine.append(following)
        second.ask("shared_log", "events.jsonl", 20)
        for _ in range(20):
            mine.append(following)
        second.answer("shared_log")
        mine.append(following)
        found = storage.read("events.jsonl").split(b"\n")[:-1]
        assert found == [b"%d" % n for n in range(1, 43)], (
            "two processes appended to a shared log between each other's look and write: its chain of hashes breaks"
        )

    def test_a_lock_is_known_in_another_process(self, storage: Storage, second: SecondProcess) -> None:
        self._needs("lock")
        name = "system_state/owner.lock"
        held = storage.lock(name)
        assert held is not None
        assert second.do("lock", name) is False, f"a lock is known in one process only: {ONE}"
        held.release()
        assert second.do("lock", name) is True, "a lock that was released is not free in another process"
        assert storage.lock(name) is None, f"a lock that another process has was taken: {ONE}"
        second.do("release")
        self._freed(lambda: storage.lock(name), "a lock that another process released")
        if "shared_lock" not in self.not_applicable:
            assert second.do("lock", "members.lock", True) is True
            member = storage.lock("members.lock", shared=True)
            assert member is not None, "two processes cannot share a lock"
            member.release()
            assert storage.lock("members.lock") is None, (
                "a shared lock of another process does not keep out an exclusive one"
            )

    def test_a_claim_is_known_in_another_process(self, storage: Storage, second: SecondProcess) -> None:
        self._needs("claim")
        held = storage.claim("claims.lock", b"one")
        assert held is not None
        assert second.do("claim", "claims.lock", b"one") is False, f"a claim is known in one process only: {ONE}"
        assert second.do("claim", "claims.lock", b"two") is True, "tokens of two processes are not independent"
        assert storage.claim("claims.lock", b"two") is None, f"a claim that another process has was taken: {ONE}"
        held.release()
        second.do("release")
        self._freed(lambda: storage.claim("claims.lock", b"two"), "a claim that another process released")

    def test_what_a_killed_process_held_becomes_free(self, storage: Storage, second: SecondProcess) -> None:
        taken: dict[str, tuple[tuple[Any, ...], Callable[[], Lock | None]]] = {
            "lock": (("lock", "owner.lock"), lambda: storage.lock("owner.lock")),
            "shared_lock": (("lock", "members.lock", True), lambda: storage.lock("members.lock")),
            "claim": (("claim", "claims.lock", b"one"), lambda: storage.claim("claims.lock", b"one")),
        }
        whats = [what for what in taken if what not in self.not_applicable]
        if "lock" in self.not_applicable:
            whats = [what for what in whats if what == "claim"]
        for what in whats:
            given, take = taken[what]
            assert second.do(*given) is True
            assert take() is None, f"a {what} of another process is not seen: {ONE}"
        second.kill()
        for what in whats:
            self._freed(taken[what][1], f"a {what} whose holder was killed (SIGKILL)")

    @pytest.mark.parametrize("how", ["put_if_absent", "claim"])
    def test_of_two_processes_exactly_one_wins(self, storage: Storage, second: SecondProcess, how: str) -> None:
        if how == "claim":
            self._needs("claim")
        start = time.time() + 0.1
        second.ask("race", how, b"2" * 60_000, start, _SECONDS)
        mine, held = race(storage, how, b"1" * 60_000, start, _SECONDS)
        both = [int(one) + int(other) for one, other in zip(mine, second.answer(how), strict=False)]
        for lock in held:
            lock.release()
        assert max(both, default=0) < 2, (
            f"both of two processes were told, of {both.count(2)} of {len(both)} names, that they alone have got it: "
            f"{how} looks and then writes, under a lock of one process; both would pay for one call"
        )
        assert how == "claim" or both.count(0) == 0, "of two processes that stored a new object, none was told so"

    def test_what_was_synced_survives_a_kill(self, storage: Storage, second: SecondProcess) -> None:
        name, pieces = "llm_archive/w-000001.jsonl", [b"line %d\n" % number for number in range(25)]
        second.do("create_log", name, pieces)
        second.do("put", "object", b"kept")
        second.kill()
        assert storage.read(name) == b"".join(pieces), (
            "a process was killed, and what it had synced is not all there: an answer that was paid for is lost"
        )
        assert storage.read("object") == b"kept", "a process was killed, and the object that it had stored is not there"
        assert size_of(storage, name) == len(b"".join(pieces))
        with pytest.raises(FileExistsError):
            storage.create_log(name)

    def test_what_is_appended_survives_a_kill_where_it_says_so(self, storage: Storage, second: SecondProcess) -> None:
        if not isinstance(storage, KeepsAppends):
            return  # of such a storage requests are noted on this machine before they are sent
        name, pieces = "llm_archive/w-000001.jsonl", [b"line %d\n" % number for number in range(5)]
        second.do("append", name, pieces)
        second.kill()
        assert storage.read(name) == b"".join(pieces), (
            "it has keeps_appends, and what a killed process had appended is not there: a request that was under way "
            "would be paid again unseen. Leave keeps_appends out where append only collects"
        )

    def _freed(self, take: Callable[[], Lock | None], what: str) -> None:
        deadline = time.monotonic() + self.freed_within
        while (lock := take()) is None:
            if time.monotonic() > deadline:
                pytest.fail(
                    f"{what} is not free after {self.freed_within:g} seconds (freed_within): what was killed could "
                    "never be continued. Use the service's locks that end with a connection, or custody.plugin.Leases"
                )
            time.sleep(0.05)
        lock.release()
