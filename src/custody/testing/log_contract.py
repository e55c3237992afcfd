"""What a log must keep: many syncs, equal lines, what is removed and made again, other openings, threads, failures."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from custody.errors import StorageError
from custody.storage import Log, Storage
from custody.testing.contract_base import Contract, at_once, size_of, written

LOG = "llm_archive/w-000001.jsonl"
LARGE = 5_000_000


class LogContract(Contract):
    """The part of ``StorageContract`` that is about logs over time; inherit that one."""

    def test_a_log_that_is_synced_many_times_stays_in_order(
        self, storage: Storage, reopen: Callable[[], Storage] | None
    ) -> None:
        other, log, expected = self._again(reopen), storage.create_log(LOG), b""
        for number in range(1, 26):
            log.append(line := b"line %d\n" % number)
            log.sync()
            expected += line
            if number % 4 == 0 or number > 8:
                for each in (storage, other):
                    found = each.read(LOG)
                    assert sorted(found) == sorted(expected), f"after {number} syncs a log has lost or doubled lines"
                    assert found == expected, (
                        f"after {number} syncs the lines of a log are in another order: are its pieces sorted as text, "
                        "so that 10 comes before 2?"
                    )
                    assert size_of(each, LOG) == len(expected), f"after {number} syncs its listed size is wrong"
        log.close()
        assert self._again(reopen).read(LOG) == expected

    def test_equal_lines_are_as_many_as_were_appended(self, storage: Storage) -> None:
        logs = [storage.create_log(f"llm_archive/w-{number}.jsonl") for number in range(2)]
        for _ in range(3):
            for log in logs:
                log.append(b"the same\n")
                log.sync()
        for log in logs:
            log.append(b"twice\n")
            log.append(b"twice\n")
            log.sync()
            log.close()
        for number in range(2):
            assert storage.read(f"llm_archive/w-{number}.jsonl") == b"the same\n" * 3 + b"twice\n" * 2, (
                "an append that is equal to one before it is taken for the same: six answers to one prompt are six"
            )
        storage.remove("llm_archive/w-0.jsonl")
        assert storage.read("llm_archive/w-1.jsonl").startswith(b"the same\n" * 3), "a log went with its equal"

    def test_objects_of_equal_content_are_independent(self, storage: Storage) -> None:
        for name in ("one", "two"):
            storage.put(name, b"the same")
        storage.remove("one")
        assert storage.read("two") == b"the same", "an object went with its equal"
        storage.put("one", b"another")
        assert storage.read("two") == b"the same"

    def test_a_log_that_was_removed_comes_back_empty(self, storage: Storage) -> None:
        written(storage, LOG, [b"old 1\n", b"old 2\n", b"old 3\n"])
        storage.remove(LOG)
        assert size_of(storage, LOG) is None, "a log was removed, and is still listed"
        with pytest.raises(FileNotFoundError):
            storage.read(LOG)
        log = storage.create_log(LOG)
        assert storage.read(LOG) == b"", "pieces of a log that was removed came back with the new one of its name"
        log.append(b"new\n")
        log.sync()
        log.close()
        assert storage.read(LOG) == b"new\n", "pieces of a log that was removed came back with the new one of its name"
        assert size_of(storage, LOG) == 4

    def test_put_replaces_a_log(self, storage: Storage, reopen: Callable[[], Storage] | None) -> None:
        """As ``custody repair`` does with a damaged segment."""
        written(storage, LOG, [b"damaged 1\n", b"damaged 2\n"])
        assert storage.read(LOG) == b"damaged 1\ndamaged 2\n"
        for data in (b"short\n", b"longer than both of its lines were before\n"):
            storage.put(LOG, data)
            for each in (storage, self._again(reopen)):
                assert each.read(LOG) == data, "put over a closed log: its pieces are still read"
                assert size_of(each, LOG) == len(data), "put over a closed log: it is listed with another size"

    def test_what_is_large_is_kept_whole(self, storage: Storage, reopen: Callable[[], Storage] | None) -> None:
        data = bytes(range(251)) * (LARGE // 251)
        storage.put("put", data)
        assert storage.put_if_absent("absent", data) is True
        written(storage, LOG, [data, b"end\n"])
        for name, whole in (("put", data), ("absent", data), (LOG, data + b"end\n")):
            for each in (storage, self._again(reopen)):
                found = each.read(name)
                assert len(found) == len(whole), f"of {len(whole)} bytes {len(found)} were kept"
                assert found == whole, f"{len(whole)} bytes came back as others"
                assert size_of(each, name) == len(whole)

    def test_another_opening_reads_what_is_stored_now(
        self, storage: Storage, reopen: Callable[[], Storage] | None
    ) -> None:
        other, log = self._again(reopen), storage.create_log(LOG)
        for number in range(3):
            storage.put("object", b"%d" % number)
            log.append(b"%d\n" % number)
            log.sync()
            assert other.read("object") == b"%d" % number, "another opening reads what it has read before"
            assert len(other.read(LOG)) == 2 * number + 2, "another opening does not see what was synced after its look"
            assert other.read(LOG, 2 * number, 2) == b"%d\n" % number
        log.close()
        storage.remove("object")
        with pytest.raises(FileNotFoundError):
            other.read("object")
        assert size_of(other, "object") is None, "another opening lists what was removed"

    def test_threads_have_a_log_each(self, storage: Storage) -> None:
        lines = {n: [b"%d.%d " % (n, line) + b"x" * 50 + b"\n" for line in range(10)] for n in range(8)}

        def work(number: int) -> None:
            log = storage.create_log(f"llm_archive/t{number}.jsonl")
            for line in lines[number]:
                log.append(line)
                log.sync()
                storage.put(f"objects/{number}", line)
                assert storage.read(f"objects/{number}") == line, "a thread reads another thread's bytes"
            log.close()

        at_once(work, 8)
        for number, expected in lines.items():
            assert storage.read(f"llm_archive/t{number}.jsonl") == b"".join(expected), "threads tore each other's logs"

    def test_what_is_appended_during_a_sync_is_not_lost(self, storage: Storage) -> None:
        """Appends come one after another, from whatever thread; a sync may be under way meanwhile."""
        log, order, expected = storage.create_log(LOG), threading.Lock(), []

        def work(number: int) -> None:
            for count in range(3):
                with order:
                    expected.append(b"%d.%d\n" % (number, count))
                    log.append(expected[-1])
                log.sync()
                found = storage.read(LOG)
                assert b"%d.%d\n" % (number, count) in found, (
                    "sync returned, and a line that was appended before it is not there: it went with another thread's"
                )

        at_once(work, 8)
        log.close()
        assert storage.read(LOG) == b"".join(expected), (
            "of threads that append and sync one log, lines were lost or moved"
        )

    def test_a_failure_is_said(self, storage: Storage, outage: Callable[[], object] | None) -> None:
        if outage is None:
            pytest.skip("override the fixture 'outage' to see that errors of the service are not swallowed")
        log = storage.create_log(LOG)
        log.append(b"stored\n")
        log.sync()
        outage()
        for what, call in (
            ("put", lambda: storage.put("object", b"x")),
            ("put_if_absent", lambda: storage.put_if_absent("another", b"x")),
            ("append and sync", lambda: _both(log, b"lost\n")),
        ):
            try:
                call()
            except (OSError, StorageError):
                continue
            except Exception as error:
                pytest.fail(f"{what} raised {type(error).__name__}: custody knows OSError and StorageError only")
            pytest.fail(f"the service failed, and {what} said nothing: an answer that was paid for is lost silently")


def _both(log: Log, data: bytes) -> None:
    log.append(data)
    log.sync()
