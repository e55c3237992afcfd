"""What every storage plugin must do, as tests to inherit::

    class TestMyStorage(StorageContract):
        @pytest.fixture
        def storage(self):
            return MyStorage("my://bucket/fresh-and-empty")

Each test says in its name what is promised, and in its message what it costs when the promise breaks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from custody.errors import StorageError
from custody.storage import Compacting, Entry, Storage, Streaming
from custody.testing.contract_base import CAPABILITIES, THREADS, at_once
from custody.testing.log_contract import LogContract
from custody.testing.place_contract import PlaceContract
from custody.testing.process_contract import ProcessContract
from custody.testing.sharing_contract import SharingContract

OUTSIDE = ("../outside", "/outside", "a/../../outside", "..", ".", "", "a//b", "a/./b", "a/")


class StorageContract(SharingContract, LogContract, PlaceContract, ProcessContract):
    """Inherit, override ``storage``, and ``reopen`` where the bytes outlive the object; ``opener`` for a plugin that is
    not installed. What can be said besides is in ``contract_base.Contract``."""

    # -- what it is ---------------------------------------------------------------------------------

    def test_it_is_an_empty_storage_with_a_url(self, storage: Storage) -> None:
        assert isinstance(storage, Storage)
        assert storage.url
        assert list(storage.list()) == []

    def test_what_does_not_apply_has_a_name_and_a_reason(self) -> None:
        assert set(self.not_applicable) <= set(CAPABILITIES)
        assert all(reason.strip() for reason in self.not_applicable.values())

    def test_what_was_removed_is_gone_and_its_name_is_free(self, storage: Storage) -> None:
        for name in ("kept", "object"):
            storage.put(name, b"1")
        for name in ("object", "never there"):
            storage.remove(name)
        assert [entry.name for entry in storage.list()] == ["kept"], "removed, and still listed"
        assert storage.put_if_absent("object", b"3"), "a removed name is not free"

    # -- logs ---------------------------------------------------------------------------------------

    def test_a_log_gives_back_what_was_appended_in_order(self, storage: Storage) -> None:
        log = storage.create_log("llm_archive/w-000001.jsonl")
        parts = [f"line {number}\n".encode() * (number % 7 + 1) for number in range(200)]
        for part in parts:
            log.append(part)
        log.sync()
        assert storage.read("llm_archive/w-000001.jsonl") == b"".join(parts), "synced, and not all there"
        log.append(b"last\n")
        log.sync()
        log.close()
        assert storage.read("llm_archive/w-000001.jsonl") == b"".join(parts) + b"last\n"

    def test_a_log_that_exists_is_not_created_again(self, storage: Storage) -> None:
        log = storage.create_log("llm_archive/w-000001.jsonl")
        log.append(b"kept\n")
        log.sync()
        with pytest.raises(FileExistsError):
            storage.create_log("llm_archive/w-000001.jsonl")
        log.append(b"goes on\n")
        log.sync()
        log.close()
        assert storage.read("llm_archive/w-000001.jsonl") == b"kept\ngoes on\n"
        storage.put("taken", b"object")
        with pytest.raises(FileExistsError):
            storage.create_log("taken")

    def test_logs_do_not_mix(self, storage: Storage) -> None:
        one, two = storage.create_log("one.jsonl"), storage.create_log("two.jsonl")
        expected = {"one.jsonl": b"", "two.jsonl": b""}
        for number in range(20):
            for name, log in (("one.jsonl", one), ("two.jsonl", two)):
                log.append(line := f"{name} {number}\n".encode())
                expected[name] += line
        one.sync()
        two.sync()
        assert {name: storage.read(name) for name in expected} == expected
        one.close()
        two.close()

    def test_only_one_of_many_threads_creates_a_log(self, storage: Storage) -> None:
        def create(_: int) -> bool:
            try:
                storage.create_log("contested.jsonl").close()
            except FileExistsError:
                return False
            return True

        assert sum(at_once(create)) == 1, "two writers own one log: their lines would tear each other"

    # -- objects ------------------------------------------------------------------------------------

    def test_put_if_absent_stores_once(self, storage: Storage) -> None:
        assert storage.put_if_absent("system_state/session.json", b"first") is True
        assert storage.put_if_absent("system_state/session.json", b"second") is False
        assert storage.read("system_state/session.json") == b"first", "put_if_absent replaced what was there"

    def test_a_stream_is_stored_whole_or_not_at_all(self, storage: Storage) -> None:
        def put(name: str, blocks: Iterator[bytes]) -> bool:
            if isinstance(storage, Streaming):
                return storage.put_stream(name, blocks)
            return storage.put_if_absent(name, b"".join(blocks))  # one that takes objects whole only

        pieces = [bytes([number]) * 6_000_000 for number in range(3)]

        def breaks() -> Iterator[bytes]:
            yield from pieces
            raise LookupError("on purpose")

        with pytest.raises(LookupError):
            put("folder/broken.bin", breaks())
        assert [entry.name for entry in storage.list()] == [], "a part of a stream that broke is there as an object"
        assert put("folder/object.bin", iter(pieces)) is True
        assert put("folder/object.bin", iter([b"another"])) is False
        assert storage.read("folder/object.bin") == b"".join(pieces), "a stream replaced what was there, or lost some"
        assert put("empty.jsonl", iter([])) is True
        assert storage.read("empty.jsonl") == b""

    def test_put_if_absent_has_exactly_one_winner(self, storage: Storage) -> None:
        won = at_once(lambda number: storage.put_if_absent("contested", b"%02d" % number * 1000))
        assert [type(answer) for answer in won] == [bool] * THREADS
        assert sum(won) == 1, f"{sum(won)} of {THREADS} threads were told that they had stored it"
        assert storage.read("contested") == b"%02d" % won.index(True) * 1000, (
            "the winner's bytes are not what is stored"
        )

    def test_put_replaces(self, storage: Storage) -> None:
        for data in (b"old and longer", b"new", bytes(range(256)) + b"\r\n\n\x00", b""):
            storage.put("object", data)
            assert storage.read("object") == data
        assert list(storage.list()) == [Entry("object", 0)]

    def test_put_replaces_atomically(self, storage: Storage) -> None:
        values = [bytes([letter]) * 200_000 for letter in b"ab"]
        storage.put("object", values[0])
        done = threading.Event()
        mixed: list[bytes] = []

        def look() -> None:
            while not done.is_set():
                seen = storage.read("object")
                if seen not in values:
                    mixed.append(seen)

        readers = [threading.Thread(target=look, daemon=True) for _ in range(2)]
        for reader in readers:
            reader.start()
        try:
            for number in range(40):
                storage.put("object", values[number % 2])
        finally:
            done.set()
        for reader in readers:
            reader.join()
        assert not mixed, f"a reader saw {len(mixed[0])} bytes that nobody stored"

    def test_read_takes_offset_and_size(self, storage: Storage) -> None:
        storage.put("object", b"0123456789")
        assert (storage.read("object", 3), storage.read("object", size=2)) == (b"3456789", b"01")
        assert (storage.read("object", 3, 4), storage.read("object", 8, 100)) == (b"3456", b"89")
        assert (storage.read("object", 0, 0), storage.read("object", 10)) == (b"", b"")
        assert storage.read("object", 11, 5) == b"", "past the end there is nothing, and no error"

    def test_read_gives_fewer_bytes_only_at_the_end(self, storage: Storage) -> None:
        log = storage.create_log("big.jsonl")
        block = bytes(range(256)) * 4096  # 1 MiB
        for _ in range(3):
            log.append(block)
        log.sync()
        log.close()
        assert storage.read("big.jsonl", 1, 3 * len(block) - 1) == (block * 3)[1:]
        assert storage.read("big.jsonl", len(block) - 5, 10) == block[-5:] + block[:5]

    @pytest.mark.parametrize("name", ["nothing", "no/such/folder/nothing"])
    def test_what_is_not_there_cannot_be_read(self, storage: Storage, name: str) -> None:
        with pytest.raises(FileNotFoundError):
            storage.read(name)

    # -- listing ------------------------------------------------------------------------------------

    def test_list_gives_names_sorted_and_sizes(self, storage: Storage) -> None:
        names = ["b", "a/c", "a0", "a-b/d", "a/b/c", "Z", "ä"]
        for size, name in enumerate(names):
            storage.put(name, b"x" * size)
        log = storage.create_log("a/log.jsonl")
        log.append(b"12345\n")
        log.sync()
        log.close()
        expected = sorted([*((name, size) for size, name in enumerate(names)), ("a/log.jsonl", 6)])
        assert [tuple(entry) for entry in storage.list()] == expected

    def test_list_takes_a_prefix_of_the_name(self, storage: Storage) -> None:
        for name in ("llm_archive/w-000001.jsonl", "llm_archive/w-000002.jsonl", "llm_archive/x", "llm", "system/s"):
            storage.put(name, b"x")

        def listed(prefix: str) -> list[str]:
            return [entry.name for entry in storage.list(prefix)]

        assert listed("llm_archive/") == ["llm_archive/w-000001.jsonl", "llm_archive/w-000002.jsonl", "llm_archive/x"]
        assert listed("llm_archive/w-") == ["llm_archive/w-000001.jsonl", "llm_archive/w-000002.jsonl"]
        assert listed("llm") == ["llm", *listed("llm_archive/")], "the prefix is of the name, not a folder"
        assert listed("system/s") == ["system/s"]
        assert listed("nothing") == listed("no/such/folder/") == []

    # -- names --------------------------------------------------------------------------------------

    @pytest.mark.parametrize("name", OUTSIDE)
    def test_names_that_lead_outside_are_refused(self, storage: Storage, name: str) -> None:
        uses: dict[str, Callable[[], Any]] = {
            "put": lambda: storage.put(name, b"x"),
            "put_if_absent": lambda: storage.put_if_absent(name, b"x"),
            "create_log": lambda: storage.create_log(name),
            "read": lambda: storage.read(name),
        }
        if "shared_log" not in self.not_applicable:
            uses["shared_log"] = lambda: storage.shared_log(name).append(lambda last: [b"x\n"])
        if "lock" not in self.not_applicable:
            uses["lock"] = lambda: storage.lock(name)
        if "claim" not in self.not_applicable:
            uses["claim"] = lambda: storage.claim(name, b"token")
        for use, call in uses.items():
            try:
                call()
            except (OSError, StorageError):
                continue
            pytest.fail(f"{use}({name!r}) was not refused")
        assert list(storage.list()) == []

    @pytest.mark.parametrize("prefix", ["../", "/", "a/../../", "../outside"])
    def test_list_shows_nothing_outside(self, storage: Storage, prefix: str) -> None:
        storage.put("inside", b"x")
        try:
            found = list(storage.list(prefix))
        except (OSError, StorageError):
            return
        assert found == [], "list shows what is not in this storage"

    # -- opened again -------------------------------------------------------------------------------

    def test_what_was_stored_is_there_when_opened_again(
        self, storage: Storage, reopen: Callable[[], Storage] | None
    ) -> None:
        again = self._again(reopen)
        storage.put("object", b"kept")
        log = storage.create_log("log.jsonl")
        log.append(b"line\n")
        log.sync()
        for other in (again, self._again(reopen)):
            assert (other.read("object"), other.read("log.jsonl")) == (b"kept", b"line\n")
            assert other.put_if_absent("object", b"mine") is False
            with pytest.raises(FileExistsError):
                other.create_log("log.jsonl")
            assert [entry.name for entry in other.list()] == ["log.jsonl", "object"]
        log.close()

    @pytest.mark.parametrize("lists", [True, False], ids=["listed", "only read"])
    def test_who_has_read_a_part_of_a_log_reads_the_rest_once_it_is_compacted(
        self, storage: Storage, reopen: Callable[[], Storage] | None, lists: bool
    ) -> None:
        name, other = "llm_archive/w-000001.jsonl", self._again(reopen)
        log = storage.create_log(name)
        for line in (b"first\n", b"second\n"):
            log.append(line)
            log.sync()
        assert other.read(name) == b"first\nsecond\n"
        log.append(b"third\n")
        log.sync()
        log.close()
        if isinstance(storage, Compacting):
            storage.compact(name)
        if lists:
            assert list(other.list("llm_archive/")) == [Entry(name, 19)]
        assert other.read(name, 13, 100) == b"third\n", "another worker would not find the answer, and pay again"
        assert other.read(name) == b"first\nsecond\nthird\n"

    def test_a_lock_holds_against_the_one_opened_again(
        self, storage: Storage, reopen: Callable[[], Storage] | None
    ) -> None:
        self._needs("lock")
        again, held = self._again(reopen), storage.lock("owner.lock")
        assert held is not None
        assert again.lock("owner.lock") is None
        held.release()
        taken = again.lock("owner.lock")
        assert taken is not None
        taken.release()

    def test_a_shared_log_goes_on_when_opened_again(
        self, storage: Storage, reopen: Callable[[], Storage] | None
    ) -> None:
        self._needs("shared_log")
        mine, theirs = storage.shared_log("events.jsonl"), self._again(reopen).shared_log("events.jsonl")
        for log in (mine, theirs, mine, theirs):
            log.append(lambda last: [b"%d\n" % (int(last or b"0") + 1)])
        assert storage.read("events.jsonl") == b"1\n2\n3\n4\n"
