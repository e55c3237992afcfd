"""The writer: group commit, failing storages, forks, locks. Real files; failures are planted beneath them."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest

from custody.errors import AnswerNotArchived, ArchiveUnavailable, StorageError
from custody.journal import lines, writer
from custody.journal.scan import SegmentScan
from custody.journal.segments import segments, writer_of
from custody.journal.writer import Journal
from custody.redact import Redactor
from custody.storage import Log
from custody.storage.local import LocalStorage

pytestmark = pytest.mark.timeout(60)  # a deadlock fails


class FaultyLog:
    """A real log whose appends and syncs can be told to fail, and are counted."""

    def __init__(self, inner: Log, faults: FaultyStorage) -> None:
        self._inner, self._faults, self._bad = inner, faults, False

    def append(self, data: bytes) -> None:
        if self._faults.on_append is not None:
            self._faults.on_append()
        if self._faults.append_error is not None:
            self._inner.append(data[: len(data) // 2])
            raise OSError(self._faults.append_error, os.strerror(self._faults.append_error))
        self._inner.append(data)

    def sync(self) -> None:
        assert not self._bad, "after an error a log is not used again"
        self._faults.syncs += 1
        time.sleep(self._faults.sync_seconds)
        if self._faults.sync_error is not None:
            self._bad = True
            raise OSError(self._faults.sync_error, os.strerror(self._faults.sync_error))
        self._inner.sync()

    def close(self) -> None:
        self._inner.close()


class FaultyStorage(LocalStorage):
    append_error: int | None = None
    sync_error: int | None = None
    create_error: int | None = None
    on_append: Callable[[], None] | None = None
    sync_seconds = 0.0
    syncs = 0

    def create_log(self, name: str) -> Log:
        if self.create_error is not None:
            raise OSError(self.create_error, os.strerror(self.create_error))
        return FaultyLog(super().create_log(name), self)


class Spill:
    """Keeps lines in memory; refuses while ``error`` is set."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.error: OSError | None = None

    def __call__(self, writer: str, sealed: list[bytes]) -> str:
        if self.error is not None:
            raise self.error
        self.kept += sealed
        return "the spill"


@pytest.fixture
def storage(tmp_path: Path) -> FaultyStorage:
    return FaultyStorage(tmp_path / "session")


@pytest.fixture
def spill() -> Spill:
    return Spill()


@pytest.fixture
def journal(storage: FaultyStorage, spill: Spill) -> Journal:
    return Journal(storage, "session_x", Redactor(), spill)


def note(text: object) -> list[tuple[str, dict[str, Any]]]:
    return [("note", {"note": text})]


def stored(storage: FaultyStorage, of_writer: str = "") -> dict[int, Any]:
    """Notes by number, over all segments, damaged ones included."""
    found: dict[int, Any] = {}
    for name, _ in segments(storage, "llm_archive/"):
        for head, line, _ in SegmentScan(storage, name).lines():
            if head.kind != "segment" and of_writer in ("", writer_of(name)):
                value = json.loads(line)["note"]
                assert found.setdefault(head.seq, value) == value, "one number, two contents"
    return found


def test_group_commit(journal: Journal, storage: FaultyStorage) -> None:
    acked: dict[int, str] = {}
    appended = threading.Barrier(16)  # all lines of a round stand there before anybody asks for the disk

    def work(thread: int) -> None:
        for n in range(10):
            number, _ = journal.append(note(f"{thread}-{n}"))
            appended.wait(60)
            journal.ack(number).wait()
            acked[number] = f"{thread}-{n}"
            appended.wait(60)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    assert len(acked) == 160
    assert stored(storage) == acked
    assert storage.syncs <= 10, "commits are not grouped"
    journal.close()


def test_an_ack_waits_for_a_sync_that_began_after_its_append(journal: Journal, storage: FaultyStorage) -> None:
    storage.sync_seconds = 0.05
    journal.append(note("first"))
    first = threading.Thread(target=journal.sync_to, args=(1,))
    first.start()
    time.sleep(0.02)  # the first sync is on its way, and does not cover this line
    number, _ = journal.append(note("second"))
    journal.sync_to(number)
    first.join()
    assert storage.syncs == 2


def test_an_acknowledged_line_is_not_synced_twice(journal: Journal, storage: FaultyStorage) -> None:
    number, _ = journal.append(note("x"))
    for _ in range(3):
        journal.ack(number).wait()
    assert storage.syncs == 1


@pytest.mark.parametrize("failing", ["append_error", "sync_error"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_after_a_failure_every_unacknowledged_line_is_in_a_new_segment(
    journal: Journal, storage: FaultyStorage, spill: Spill, failing: str, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    journal.sync_to(journal.append(note("acknowledged"))[0])
    journal.append(note("pending"))
    once = getattr(FaultyLog, failing.removesuffix("_error"))

    def fail_once(log: FaultyLog, *args: Any) -> None:
        setattr(FaultyLog, failing.removesuffix("_error"), once)
        setattr(storage, failing, code)
        try:
            once(log, *args)
        finally:
            setattr(storage, failing, None)

    setattr(FaultyLog, failing.removesuffix("_error"), fail_once)
    number, _ = journal.append(note("third"))
    journal.ack(number).wait()
    assert journal.healthy
    names = [name for name, _ in segments(storage, "llm_archive/")]
    assert len(names) == 2
    second = [json.loads(line).get("note") for _, line, _ in SegmentScan(storage, names[1]).lines()]
    assert second == [None, "pending", "third"]
    assert stored(storage) == {1: "acknowledged", 2: "pending", 3: "third"}
    assert spill.kept == []
    assert "works again in a new segment" in caplog.text


def test_the_spill_takes_what_the_archive_refuses_and_no_further_call_is_sent(
    journal: Journal, storage: FaultyStorage, spill: Spill
) -> None:
    journal.append(note("before"))
    storage.append_error = storage.create_error = errno.ENOSPC
    number, sealed = journal.append(note("answer"))
    journal.ack(number).wait()
    assert [json.loads(line)["note"] for line in spill.kept] == ["before", "answer"]
    assert spill.kept[1:] == sealed
    assert not journal.healthy
    with pytest.raises(ArchiveUnavailable, match="No space left on device"):
        journal.require_healthy()
    assert len(spill.kept) == 2, "to ask whether the archive works leaves no record"

    storage.append_error = storage.create_error = None
    journal.require_healthy()
    assert journal.healthy
    journal.sync_to(journal.append(note("after"))[0])
    assert stored(storage) | {1: "before", 2: "answer"} == {
        1: "before",
        2: "answer",
        3: "archive_works_again",
        4: "after",
    }


def test_a_sync_that_fails_everywhere_spills(journal: Journal, storage: FaultyStorage, spill: Spill) -> None:
    number, _ = journal.append(note("answer"))
    storage.sync_error = errno.EIO
    journal.ack(number).wait()
    assert [json.loads(line)["note"] for line in spill.kept] == ["answer"]
    with pytest.raises(ArchiveUnavailable):
        journal.require_healthy()


def test_where_nothing_keeps_the_answer_the_error_carries_it(
    journal: Journal, storage: FaultyStorage, spill: Spill
) -> None:
    journal.append(note("chunk"))
    storage.append_error = storage.sync_error = errno.EIO
    spill.error = OSError(errno.EROFS, "read-only")
    number, _ = journal.append(note("call"))
    with pytest.raises(AnswerNotArchived, match=r"\.body") as caught:
        journal.ack(number, status=200, body=b"the answer").wait()
    assert (caught.value.status, caught.value.body) == (200, b"the answer")
    with pytest.raises(ArchiveUnavailable):
        journal.require_healthy()

    # What was lost is held, and archived with all its parts once that is possible.
    storage.append_error = storage.sync_error = None
    journal.require_healthy()
    journal.ack(number).wait()
    assert stored(storage) == {1: "chunk", 2: "call", 3: "archive_works_again"}


def test_a_call_line_is_not_acknowledged_without_the_chunks_before_it(
    journal: Journal, storage: FaultyStorage, spill: Spill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.0)
    storage.append_error, spill.error = errno.ENOSPC, OSError(errno.ENOSPC, "full")
    journal.append(note("chunk"))
    storage.append_error = None
    number, _ = journal.append(note("call"))
    journal.ack(number).wait()
    assert stored(storage) == {1: "chunk", 2: "call"}


def test_a_failing_storage_is_not_filled_with_segments(journal: Journal, storage: FaultyStorage, spill: Spill) -> None:
    storage.append_error = errno.ENOSPC
    for n in range(200):
        journal.append(note(n))
    assert len(list(storage.list("llm_archive/"))) < 10
    assert [json.loads(line)["note"] for line in spill.kept] == list(range(200))


def test_memory_is_let_go(journal: Journal, storage: FaultyStorage, spill: Spill) -> None:
    storage.append_error, spill.error = errno.ENOSPC, OSError(errno.ENOSPC, "full")
    for n in range(20):
        journal.append(note(n))
    storage.append_error = None
    journal.require_healthy()
    journal.sync_to(journal.append(note("x"))[0])
    assert journal._pending == []
    assert journal._lost == {}
    assert journal._full == []


def test_rotation_under_load_keeps_every_line(storage: FaultyStorage, spill: Spill) -> None:
    journal = Journal(storage, "session_x", Redactor(), spill, rotate_bytes=1500)

    def work(thread: int) -> None:
        for n in range(40):
            number, _ = journal.append(note(f"{thread}-{n}"))
            if n % 3 == 0:
                journal.sync_to(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    journal.close()
    assert sorted(stored(storage)) == list(range(1, 321)), "numbers run through all segments"
    names = [name for name, _ in segments(storage, "llm_archive/")]
    assert len(names) > 5
    for number, name in enumerate(names, 1):
        _, first, _ = next(iter(SegmentScan(storage, name).lines()))
        assert json.loads(first)["kind"] == "segment"
        assert json.loads(first)["number"] == number
    assert spill.kept == []


def test_a_rotated_segment_that_cannot_be_synced_is_written_again(storage: FaultyStorage, spill: Spill) -> None:
    journal = Journal(storage, "session_x", Redactor(), spill, rotate_bytes=1)
    journal.append(note("first"))
    number, _ = journal.append(note("second"))
    storage.sync_error = errno.EIO
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(journal.ack(number).wait)
        waiting.result()
    assert [json.loads(line)["note"] for line in spill.kept] == ["first", "second"]


def test_append_does_not_wait_for_the_disk(storage: FaultyStorage, spill: Spill) -> None:
    journal = Journal(storage, "session_x", Redactor(), spill, rotate_bytes=1)
    storage.sync_seconds = 5
    began = time.monotonic()
    for n in range(5):
        journal.append(note(n))
    assert time.monotonic() - began < 4
    storage.sync_seconds = 0


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_coroutines_wait_without_blocking_their_loop(journal: Journal, storage: FaultyStorage, backend: str) -> None:
    storage.sync_seconds = 0.2

    async def main() -> int:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await anyio.sleep(0.01)
                beats += 1

        async with anyio.create_task_group() as outer:
            outer.start_soon(beat)
            async with anyio.create_task_group() as waiting:
                for n in range(20):
                    number, _ = journal.append(note(n))
                    waiting.start_soon(journal.ack(number).awaited)
            outer.cancel_scope.cancel()
        return beats

    assert anyio.run(main, backend=backend) >= 5
    assert len(stored(storage)) == 20
    assert storage.syncs <= 3
    journal.close()


def test_a_coroutine_gets_its_answer_with_the_error(journal: Journal, storage: FaultyStorage, spill: Spill) -> None:
    storage.append_error, spill.error = errno.EIO, OSError(errno.EIO, "broken")
    number, _ = journal.append(note("x"))
    with pytest.raises(AnswerNotArchived) as caught:
        asyncio.run(journal.ack(number, status=200, body=b"kept").awaited())
    assert caught.value.body == b"kept"
    storage.append_error = None
    journal.close()
    assert stored(storage) == {1: "x"}


def test_a_cancelled_waiter_does_not_disturb_the_others(journal: Journal, storage: FaultyStorage) -> None:
    storage.sync_seconds = 0.1

    async def main() -> list[Any]:
        waiters = [asyncio.create_task(journal.ack(journal.append(note(n))[0]).awaited()) for n in range(6)]
        await asyncio.sleep(0.02)
        for waiter in waiters[::2]:
            waiter.cancel()
        return await asyncio.gather(*waiters, return_exceptions=True)

    results = asyncio.run(main())
    assert [type(result) for result in results[::2]] == [asyncio.CancelledError] * 3
    assert results[1::2] == [None] * 3
    assert len(stored(storage)) == 6
    journal.close()


def test_no_waiter_hangs_when_the_journal_closes(journal: Journal) -> None:
    done: list[Future[None]] = []

    def wait() -> None:
        for n in range(100):
            future: Future[None] = Future()
            journal.sync_later(journal.append(note(n))[0], future)
            done.append(future)

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        journal.close()
    for thread in threads:
        thread.join()
    assert len(done) == 400
    for future in done:
        future.result(timeout=10)
    journal.close()


def test_append_after_close_goes_to_a_segment_of_its_own(journal: Journal, storage: FaultyStorage) -> None:
    journal.append(note("before"))
    journal.close()
    journal.close()
    number, _ = journal.append(note("after"))
    journal.ack(number).wait()
    journal.close()
    assert stored(storage) == {1: "before", 2: "after"}
    assert len(list(storage.list("llm_archive/"))) == 2


def test_no_line_is_acknowledged_unsynced_when_closing_races_with_appends(
    journal: Journal, storage: FaultyStorage
) -> None:
    stop = threading.Event()

    def close() -> None:
        while not stop.is_set():
            journal.close()

    closing = threading.Thread(target=close)
    closing.start()
    for n in range(100):
        number, _ = journal.append(note(n))
        syncs = storage.syncs
        journal.sync_to(number)
        assert number <= journal._synced
        assert storage.syncs >= syncs
    stop.set()
    closing.join()
    journal.close()
    assert sorted(stored(storage)) == list(range(1, 101))
    assert not journal._full


def test_a_stream_that_is_collected_during_an_append_may_append(journal: Journal, storage: FaultyStorage) -> None:
    class Abandoned:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            number, _ = journal.append(note("abandoned"))
            journal.sync_to(number)

    collected: list[bool] = []

    def collect() -> None:
        if not collected:
            collected.append(True)
            Abandoned()
            gc.collect()

    storage.on_append = collect
    number, _ = journal.append(note("outer"))
    journal.ack(number).wait()
    storage.on_append = None
    journal.sync_to(journal.append(note("next"))[0])
    assert sorted(stored(storage).values()) == ["abandoned", "next", "outer"]
    assert sorted(stored(storage)) == [1, 2, 3]


def test_ctrl_c_in_the_middle_of_a_write_loses_nothing(journal: Journal, storage: FaultyStorage) -> None:
    journal.sync_to(journal.append(note("first"))[0])

    def interrupt() -> None:
        storage.on_append = None
        raise KeyboardInterrupt

    storage.on_append = interrupt
    with pytest.raises(KeyboardInterrupt):
        journal.append(note("interrupted"))
    number, _ = journal.append(note("next"))
    journal.ack(number).wait()
    assert stored(storage) == {1: "first", 2: "interrupted", 3: "next"}


def test_a_record_that_cannot_be_written_takes_no_number(journal: Journal, storage: FaultyStorage) -> None:
    with pytest.raises(TypeError):
        journal.append([*note("fine"), ("note", {"note": object()})])
    journal.sync_to(journal.append(note("next"))[0])
    assert stored(storage) == {1: "next"}


def test_what_is_sealed_is_what_is_stored(journal: Journal, storage: FaultyStorage) -> None:
    number, sealed = journal.append([("note", {"note": 1}), ("note", {"note": 2})])
    assert number == 2
    name = next(iter(storage.list("llm_archive/"))).name
    assert storage.read(name) == lines.opening("session_x", journal.writer, 1) + b"".join(sealed)


def test_secrets_are_cut_out_before_the_checksum(storage: FaultyStorage, spill: Spill) -> None:
    redactor = Redactor()
    redactor.learn(["canary-7f3a9b2c1d"])
    journal = Journal(storage, "session_x", redactor, spill)
    journal.append(note("it is canary-7f3a9b2c1d."))
    assert stored(storage) == {1: "it is [REDACTED]."}


def _in_child(journal: Journal, sender: Any) -> None:
    number, _ = journal.append(note("child"))
    journal.ack(number).wait()
    sender.send((journal.writer, journal.next_id()))
    sender.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # a fork beside threads: exactly that is tested
def test_a_forked_child_is_a_writer_of_its_own(journal: Journal, storage: FaultyStorage) -> None:
    parent = journal.writer
    journal.append(note("parent"))
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            journal.sync_to(journal.append(note("parent"))[0])

    thread = threading.Thread(target=busy)
    thread.start()
    writers = set()
    context = multiprocessing.get_context("fork")
    for _ in range(10):  # at some of them the other thread holds a lock
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=_in_child, args=(journal, sender))
        child.start()
        sender.close()
        assert receiver.poll(20), "the child hangs"
        name, call = receiver.recv()
        child.join(10)
        assert child.exitcode == 0
        assert call == f"{name}-000001"
        assert stored(storage, name) == {1: "child"}
        writers.add(name)
    stop.set()
    thread.join()
    journal.close()
    assert len(writers) == 10
    assert parent not in writers
    numbers = stored(storage, parent)
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert set(numbers.values()) == {"parent"}
    assert [d for n, _ in segments(storage, "llm_archive/") if (d := _damage(storage, n))] == []


def _damage(storage: FaultyStorage, name: str) -> list[Any]:
    scanned = SegmentScan(storage, name)
    list(scanned.lines())
    return scanned.damage


def test_ids_are_unique_over_threads(journal: Journal) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: journal.next_id(), range(400)))
    assert len(set(ids)) == 400
    assert all(call.startswith(journal.writer + "-") for call in ids)
    assert writer.new_writer_id() != writer.new_writer_id()


def test_lost_lines_raise_a_storage_error(journal: Journal, storage: FaultyStorage, spill: Spill) -> None:
    storage.create_error, spill.error = errno.EROFS, OSError(errno.EROFS, "read-only")
    number, _ = journal.append(note("x"))
    with pytest.raises(StorageError, match=r"archive: .*; spill: "):
        journal.sync_to(number)
