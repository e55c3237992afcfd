"""Logs in parts: what reaches the server when, who may go on with a log, and what a crash in between leaves."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable

import pytest
from custody_fsspec import log as logs
from custody_fsspec.opening import open_url
from custody_fsspec.parts import part_key
from custody_fsspec.settings import Settings
from custody_fsspec.storage import ObjectStorage
from small_s3 import SmallS3

NAME = "llm_archive/w-000001.jsonl"
PARTS = f"study/{NAME}.parts/"


def opened(flush: float = 1e5, patience: float = 0.3) -> ObjectStorage:
    made = open_url("s3://bucket/study", settings=Settings(flush=flush, patience=patience, client="obstore"))
    assert made is not None
    return made


def parts(server: SmallS3) -> dict[str, bytes]:
    return {key[len(PARTS) :]: data for key, (data, _) in sorted(server.objects.items()) if key.startswith(PARTS)}


def test_a_sync_is_one_request_for_all_that_was_appended(server: SmallS3) -> None:
    log = opened().create_log(NAME)
    server.asked.clear()
    for number in range(100):
        log.append(b"%d\n" % number)
    assert server.asked == [], "an append waited for the server"
    log.sync()
    assert server.asked == [("PUT", part_key(f"study/{NAME}", 0))]
    log.sync()
    assert len(server.asked) == 1, "a sync of nothing asked the server"


def test_a_line_that_nobody_syncs_is_uploaded_soon(server: SmallS3) -> None:
    log = opened(flush=0.01).create_log(NAME)
    log.append(b"intent\n")
    until = time.monotonic() + 30
    while not parts(server) and time.monotonic() < until:
        time.sleep(0.01)
    assert parts(server) == {f"{0:020d}": b"intent\n"}
    log.append(b"answer\n")
    log.close()
    assert opened().read(NAME) == b"intent\nanswer\n"


def test_a_log_that_was_not_closed_reads_as_far_as_it_was_stored(server: SmallS3) -> None:
    storage = opened()
    log = storage.create_log(NAME)
    log.append(b"one\n")
    log.sync()
    log.append(b"two\n")
    assert storage.read(NAME) == b"one\n"
    assert [(e.name, e.size) for e in storage.list()] == [(NAME, 4)]


def test_an_answer_that_was_lost_does_not_make_a_second_writer(server: SmallS3) -> None:
    log = opened(patience=20).create_log(NAME)
    log.append(b"one\n")
    server.lose_answers = 1
    log.sync()  # stored, the answer lost; tried again, the name is taken: by us
    log.append(b"two\n")
    log.sync()
    assert parts(server) == {f"{0:020d}": b"one\n", f"{4:020d}": b"two\n"}


def test_put_if_absent_knows_its_own_object_after_a_lost_answer(server: SmallS3) -> None:
    storage = opened(patience=20)
    server.lose_answers = 1
    assert storage.put_if_absent("object", b"mine") is True
    assert storage.put_if_absent("object", b"mine") is False, "the same bytes, but they were there before"


def test_a_failed_upload_ends_the_log_and_its_gap_hides_what_came_after(server: SmallS3) -> None:
    storage = opened()
    log = storage.create_log(NAME)
    log.append(b"one\n")
    log.sync()
    log.append(b"two\n")
    server.fail = 503
    with pytest.raises(OSError, match="503"):
        log.sync()
    server.fail = None
    for use in (log.sync, lambda: log.append(b"three\n")):
        with pytest.raises(OSError, match="failed earlier"):
            use()
    log.close()
    assert storage.read(NAME) == b"one\n"


def test_a_sync_waits_for_what_an_upload_before_it_has(server: SmallS3, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = opened(flush=0.0)
    log = storage.create_log(NAME)
    let_go, begun = threading.Event(), threading.Event()
    store = logs.PartLog._store

    def slowly(self: logs.PartLog, key: str, data: bytes) -> None:
        if data == b"first\n":
            begun.set()
            assert let_go.wait(30)
        store(self, key, data)

    monkeypatch.setattr(logs.PartLog, "_store", slowly)
    log.append(b"first\n")
    assert begun.wait(30), "nothing was uploaded in the background"
    log.append(b"second\n")
    synced = threading.Thread(target=log.sync)
    synced.start()
    time.sleep(0.2)
    assert synced.is_alive(), "acknowledged, and the line before it is not stored"
    assert storage.read(NAME) == b"", "what comes after a gap is no part of the log yet"
    let_go.set()
    synced.join(30)
    assert storage.read(NAME) == b"first\nsecond\n"


def test_a_compacted_log_is_one_object_that_other_tools_read(server: SmallS3) -> None:
    storage, reader = opened(), opened()
    log = storage.create_log(NAME)
    for number in range(30):
        log.append(b"line %d\n" % number)
        log.sync()
    whole = reader.read(NAME)
    log.close()
    storage.compact(NAME)
    assert server.objects[f"study/{NAME}"][0] == whole
    assert parts(server) == {f"{len(whole):020d}": b""}, "only the seal is left"
    assert reader.read(NAME, 7, 20) == whole[7:27], "a reader that knew the parts finds the bytes again"
    assert reader.read(NAME) == storage.read(NAME) == whole
    assert [tuple(e) for e in reader.list()] == [(NAME, len(whole))]
    storage.compact(NAME)
    assert storage.read(NAME) == whole
    storage.remove(NAME)
    assert list(storage.list()) == []
    with pytest.raises(FileNotFoundError):
        reader.read(NAME)


@pytest.mark.parametrize("step", range(8))
def test_a_compaction_that_is_cut_anywhere_changes_nothing_and_can_be_done_again(
    server: SmallS3, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = opened()
    log = storage.create_log(NAME)
    for number in range(5):
        log.append(b"line %d\n" % number)
        log.sync()
    whole = storage.read(NAME)
    left = [step]
    real = {method: getattr(storage._objects, method) for method in ("put", "put_new", "delete")}

    def cut(method: str, *arguments: object) -> object:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return real[method](*arguments)

    def one_by_one(keys: list[str]) -> None:
        for key in keys:
            cut("delete", [key])

    with monkeypatch.context() as patched, contextlib.suppress(KeyboardInterrupt):
        for method in ("put", "put_new"):
            patched.setattr(storage._objects, method, functools.partial(cut, method))
        patched.setattr(storage._objects, "delete", one_by_one)
        storage.compact(NAME)
    again = opened()
    assert again.read(NAME) == whole
    assert [tuple(e) for e in again.list()] == [(NAME, len(whole))]
    again.compact(NAME)
    assert again.read(NAME) == whole == server.objects[f"study/{NAME}"][0]


def test_a_writer_that_was_taken_for_dead_is_refused(server: SmallS3) -> None:
    zombie, owner = opened(), opened()
    log = zombie.create_log(NAME)
    log.append(b"acknowledged\n")
    log.sync()
    owner.compact(NAME)
    log.append(b"late\n")
    with pytest.raises(OSError, match="somebody else has ended"):
        log.sync()
    assert owner.read(NAME) == b"acknowledged\n"
    owner.remove(NAME)
    log = None  # type: ignore[assignment]
    assert list(owner.list()) == []


def test_a_part_that_is_not_what_was_stored_is_an_error_and_no_answer(server: SmallS3) -> None:
    storage = opened()
    log = storage.create_log(NAME)
    log.append(b"whole line\n")
    log.sync()
    assert storage.read(NAME) == b"whole line\n"
    key = part_key(f"study/{NAME}", 0)
    server.objects[key] = b"whole", server.objects[key][1]
    with pytest.raises(OSError, match="not what was stored"):
        storage.read(NAME, 0, 11)


def test_ranges_of_a_log_that_is_one_object_are_one_request_each(server: SmallS3) -> None:
    writer = opened()
    log = writer.create_log(NAME)
    for number in range(100):
        log.append(b"%02d\n" % number)
    log.close()
    writer.compact(NAME)
    reader = opened()
    assert reader.read(NAME, 0, 3) == b"00\n"
    server.asked.clear()
    assert [reader.read(NAME, 3 * n, 3) for n in range(100)] == [b"%02d\n" % n for n in range(100)]
    assert {method for method, _ in server.asked} == {"GET"}
    assert len(server.asked) == 100
    opened().put(NAME, b"another, longer object\n" * 20)  # as a repair does
    assert reader.read(NAME, 0, 7) == b"another"
    assert reader.read(NAME) == b"another, longer object\n" * 20


def test_a_server_that_is_down_is_waited_for_once(server: SmallS3) -> None:
    """And not again for each of the things that the end of a program has to store."""
    storage = opened(patience=1.0)
    server.fail = 503

    def seconds(request: Callable[[], object]) -> float:
        begun = time.monotonic()
        with pytest.raises(OSError, match="503"):
            request()
        return time.monotonic() - begun

    assert seconds(lambda: storage.put("one", b"1")) > 0.5
    quick = [
        seconds(lambda: storage.put("two", b"2")),
        seconds(lambda: storage.put_if_absent("three", b"3")),
        seconds(lambda: storage.read("four")),
    ]
    assert max(quick) < 0.4, quick
    server.fail = None
    storage.put("five", b"5")
    server.fail = 503
    assert seconds(lambda: storage.put_if_absent("six", b"6")) > 0.5, "it was there again, so it is waited for again"
    assert seconds(lambda: storage.put("seven", b"7")) < 0.4
