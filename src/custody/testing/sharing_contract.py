"""What a storage must do where several share it: logs with many writers, locks and claims."""

from __future__ import annotations

import pytest

from custody.storage import Entry, Storage
from custody.storage.heartbeats import WORKERS
from custody.testing.contract_base import THREADS, Contract, at_once


class SharingContract(Contract):
    """The part of ``StorageContract`` that is about sharing; inherit that one."""

    # -- shared logs --------------------------------------------------------------------------------

    def test_a_shared_log_begins_with_none_and_goes_on_from_the_last_line(self, storage: Storage) -> None:
        self._needs("shared_log")
        given: list[bytes | None] = []

        def two(last: bytes | None) -> list[bytes]:
            given.append(last)
            return [b"%d.1\n" % len(given), b"%d.2\n" % len(given)]

        for _ in range(2):
            storage.shared_log("events.jsonl").append(two)
        storage.shared_log("events.jsonl").append(lambda last: given.append(last) or [])  # type: ignore[func-returns-value]
        assert given == [None, b"1.2", b"2.2"], "the last complete line, without its newline"
        assert storage.read("events.jsonl") == b"1.1\n1.2\n2.1\n2.2\n"

    def test_shared_appends_from_threads_are_linked(self, storage: Storage) -> None:
        self._needs("shared_log")

        def append(_: int) -> None:
            log = storage.shared_log("events.jsonl")  # writers do not share the object
            for _number in range(10):
                log.append(lambda last: [b"%d\n" % (int(last or b"0") + 1)])

        at_once(append)
        found = storage.read("events.jsonl").split(b"\n")[:-1]
        assert found == [b"%d" % n for n in range(1, THREADS * 10 + 1)], (
            "an append came between another's look and write"
        )

    def test_a_failing_maker_leaves_nothing_and_blocks_nobody(self, storage: Storage) -> None:
        self._needs("shared_log")

        def fail(last: bytes | None) -> list[bytes]:
            raise LookupError("the maker's own error")

        log = storage.shared_log("events.jsonl")
        log.append(lambda last: [b"1\n"])
        with pytest.raises(LookupError):
            log.append(fail)
        storage.shared_log("events.jsonl").append(lambda last: [b"after %s\n" % (last or b"")])
        assert storage.read("events.jsonl") == b"1\nafter 1\n"

    # -- locks and claims ---------------------------------------------------------------------------

    def test_a_lock_is_exclusive_and_never_waits(self, storage: Storage) -> None:
        self._needs("lock")
        held = storage.lock("system_state/owner.lock")
        assert held is not None
        assert storage.lock("system_state/owner.lock") is None, "two owners of one lock"
        other = storage.lock("system_state/other.lock")
        assert other is not None, "locks of different names are independent"
        held.release()
        again = storage.lock("system_state/owner.lock")
        assert again is not None, "a released lock can be taken again"
        again.release()
        other.release()

    def test_shared_locks_keep_out_the_exclusive_one_only(self, storage: Storage) -> None:
        self._needs("lock", "shared_lock")
        members = [storage.lock("members.lock", shared=True) for _ in range(3)]
        assert None not in members
        assert storage.lock("members.lock") is None
        for member in members:
            assert member is not None
            member.release()
        alone = storage.lock("members.lock")
        assert alone is not None
        assert storage.lock("members.lock", shared=True) is None
        alone.release()

    def test_a_claim_has_one_holder_a_token(self, storage: Storage) -> None:
        self._needs("claim")
        one = storage.claim("claims.lock", b"one")
        assert one is not None
        assert storage.claim("claims.lock", b"one") is None, "two holders of one token: a call would be paid twice"
        two = storage.claim("claims.lock", b"two")
        assert two is not None, "tokens are independent"
        one.release()
        again = storage.claim("claims.lock", b"one")
        assert again is not None, "a released token can be claimed again"
        assert storage.claim("claims.lock", b"two") is None, "the release of one token let go of another"
        again.release()
        two.release()

    def test_a_contested_claim_has_exactly_one_winner(self, storage: Storage) -> None:
        self._needs("claim")
        held = [lock for lock in at_once(lambda _: storage.claim("claims.lock", b"contested")) if lock is not None]
        assert len(held) == 1
        held[0].release()

    def test_many_claims_leave_nothing_behind(self, storage: Storage) -> None:
        self._needs("claim")
        before = list(storage.list())
        for number in range(1000):
            lock = storage.claim("claims.lock", b"token %d" % number)
            assert lock is not None
            lock.release()
        # One file that all claims share is no trace of a claim, nor is what says that their holder is alive.
        left = [e for e in storage.list() if e not in before and not e.name.startswith(f"{WORKERS}/")]
        assert left in ([], [Entry("claims.lock", 0)]), f"1000 claims left {len(left)} objects"
