"""Logs with many writers."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from typing import Any

import pytest
from custody_fsspec import compacting, shared
from custody_fsspec.compacting import compact, merge
from custody_fsspec.parts import look, merged_key, part_key
from custody_fsspec.shared import CasLog
from small_s3 import SmallS3
from test_logs import opened

NAME = "process_chronology.jsonl"


def numbered(last: bytes | None) -> list[bytes]:
    return [b"%d\n" % (int(last or b"0") + 1)]


def another() -> CasLog:
    """As in another process."""
    storage = opened()
    return CasLog(storage._objects, storage._reading, NAME, conditional=True)


def test_a_lost_race_makes_the_line_anew(server: SmallS3) -> None:
    one, two = another(), another()
    given: list[bytes | None] = []

    def make(last: bytes | None) -> list[bytes]:
        given.append(last)
        return numbered(last)

    one.append(numbered)
    two.append(numbered)
    one.append(make)  # believes that the log ends with 1
    assert given == [b"1", b"2"]
    assert opened().read(NAME) == b"1\n2\n3\n"


def test_an_append_is_one_request_once_the_end_is_known(server: SmallS3) -> None:
    log = another()
    log.append(numbered)
    server.asked.clear()
    log.append(numbered)
    assert server.asked == [("PUT", part_key(f"study/{NAME}", 2))]


def test_whoever_was_slower_reads_the_last_part_and_no_other(server: SmallS3) -> None:
    one, two = another(), another()
    for _ in range(50):
        one.append(numbered)
    two.append(numbered)
    server.asked.clear()
    one.append(numbered)
    assert [method for method, _ in server.asked].count("GET") <= 2, server.asked  # a listing, and the part
    assert opened().read(NAME).split() == [b"%d" % n for n in range(1, 53)]


def test_events_in_the_background_are_one_request_and_keep_their_order(
    server: SmallS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "SOON", 1e5)
    log = another()
    log.append(numbered)
    server.asked.clear()
    for _ in range(500):
        log.append_soon(numbered)
    assert server.asked == [], "an event waited for the server"
    log.append(numbered)
    assert len(server.asked) == 1
    assert opened().read(NAME) == b"".join(b"%d\n" % n for n in range(1, 503))


def test_events_in_the_background_are_written_soon(server: SmallS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "SOON", 0.01)
    another().append_soon(numbered)
    until = time.monotonic() + 30
    while not server.objects and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.1)
    assert opened().read(NAME) == b"1\n"


def test_what_could_not_be_written_in_the_background_is_written_later(
    server: SmallS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "SOON", 1e5)
    log, told = another(), []
    log.append(numbered)
    server.fail = 503
    log.append_soon(numbered, told.append)
    with pytest.raises(OSError, match="503"):
        log.drain()
    assert len(told) == 1
    server.fail = None
    log.append(numbered)
    assert opened().read(NAME) == b"1\n2\n3\n"


def test_what_waits_at_the_end_of_the_program_is_written(server: SmallS3) -> None:
    script = (
        "from custody_fsspec.opening import open_url\n"
        "log = open_url('s3://bucket/study').shared_log('events.jsonl')\n"
        "log.append_soon(lambda last: [b'last words\\n'])\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
    assert opened().read("events.jsonl") == b"last words\n"


def test_a_compacted_shared_log_goes_on(server: SmallS3) -> None:
    storage, log = opened(), another()
    for _ in range(30):
        log.append(numbered)
    compact(storage._objects, NAME)
    assert len(server.objects) == 1
    log.append(numbered)
    another().append(numbered)
    compact(storage._objects, NAME)
    whole = b"".join(b"%d\n" % n for n in range(1, 33))
    assert storage.read(NAME) == opened().read(NAME) == whole
    assert len(server.objects) == 1


def test_a_large_piece_of_a_shared_log_is_not_written_anew_for_the_lines_that_came_since(
    server: SmallS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compacting, "_SMALL", 20)
    storage, log, expected = opened(), another(), b""

    def grow(count: int) -> None:
        nonlocal expected
        for _ in range(count):
            log.append(numbered)
            expected += b"%d\n" % (expected.count(b"\n") + 1)

    grow(30)
    compact(storage._objects, NAME)
    large = pieces(server)
    assert large == [f"merged-{0:020d}-{len(expected):020d}"]
    for _ in range(3):
        grow(2)
        server.asked.clear()
        compact(storage._objects, NAME)
        assert len(pieces(server)) == 2
        assert not [key for method, key in server.asked if method == "GET" and key.endswith(large[0])], "read again"
        assert opened().read(NAME) == storage.read(NAME) == expected
    grow(40)
    compact(storage._objects, NAME)
    assert pieces(server) == [f"merged-{0:020d}-{len(expected):020d}"], "what follows is as much by now"
    assert opened().read(NAME) == expected


@pytest.mark.parametrize("streams", [True, False])
def test_a_log_larger_than_a_piece_is_compacted(
    server: SmallS3, monkeypatch: pytest.MonkeyPatch, streams: bool
) -> None:
    monkeypatch.setattr(compacting, "_PIECE", 1_000_000 if streams else 1 << 40)
    storage, log = opened(), another()
    lines = [b"%d" % n * 300_000 + b"\n" for n in range(1, 10)]
    for line in lines:
        log.append(lambda last, line=line: [line])
    compact(storage._objects, NAME)
    assert len(pieces(server)) == 1
    assert opened().read(NAME) == b"".join(lines)


def test_a_process_that_slept_through_a_compaction_does_not_write_where_nobody_reads(
    server: SmallS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper, other = another(), another()
    sleeper.append(numbered)
    for _ in range(3):
        other.append(numbered)
    compact(opened()._objects, NAME)
    monkeypatch.setattr(shared, "CONFIRMED_FOR", 0.0)
    sleeper.append(numbered)  # the name of the part that it puts was taken, and is free again
    assert opened().read(NAME) == b"1\n2\n3\n4\n5\n"
    assert look(opened()._objects, NAME).covered == (), "the part that nobody reads was left behind"


@pytest.mark.parametrize("of", ["all", "those behind the first"])
def test_a_sleepers_longer_line_does_not_show_behind_what_was_merged(server: SmallS3, of: str) -> None:
    log = another()
    for _ in range(4):
        log.append(numbered)
    storage = opened()
    if of == "all":
        compact(storage._objects, NAME)
    else:
        storage._objects.put(merged_key(NAME, 2, 8), b"2\n3\n4\n")
        storage._objects.delete([part_key(NAME, begin) for begin in (2, 4, 6)])
    for begin in (2, 6):  # their names are free again
        assert storage._objects.put_new(part_key(NAME, begin), b"a line of one that slept through it\n")
    assert opened().read(NAME) == b"1\n2\n3\n4\n"
    assert len(look(storage._objects, NAME).covered) == 2


def pieces(server: SmallS3) -> list[str]:
    return [key.rpartition("/")[2] for key in sorted(server.objects) if ".parts/" in key]


def test_old_parts_become_one_piece_while_others_go_on(server: SmallS3) -> None:
    log, other = another(), another()
    for _ in range(12):
        log.append(numbered)
    for key in pieces(server)[:9]:  # by the server's clock; the last three are of just now
        whole = next(each for each in server.objects if each.endswith(key))
        server.objects[whole] = server.objects[whole][0], server.objects[whole][1] - 100
    assert not merge(opened()._objects, NAME, at_least=10), "they are not many"
    assert merge(opened()._objects, NAME, at_least=9)
    assert len(pieces(server)) == 4, "what somebody may not have heard of yet keeps its name"
    log.append(numbered)
    other.append(numbered)
    assert opened().read(NAME) == b"".join(b"%d\n" % n for n in range(1, 15))
    assert not merge(opened()._objects, NAME), "what was merged is not merged again"


def test_a_log_that_is_written_for_long_does_not_become_many_parts(
    server: SmallS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "SOON", 0.01)
    monkeypatch.setattr(shared, "MANY", 4)
    monkeypatch.setattr(compacting, "CONFIRMED_FOR", -10.0)
    log = another()
    until, given = time.monotonic() + 60, 0
    while not any("merged" in name for name in pieces(server)) and time.monotonic() < until:
        log.append_soon(numbered)
        given += 1
        time.sleep(0.02)
    assert any("merged" in name for name in pieces(server))
    log.drain()
    assert opened().read(NAME) == b"".join(b"%d\n" % n for n in range(1, given + 1))


def test_a_torn_line_that_came_from_elsewhere_is_ended(server: SmallS3) -> None:
    storage = opened()
    storage.put(NAME, b"1\n2\n3")
    storage.shared_log(NAME).append(numbered)
    assert storage.read(NAME) == b"1\n2\n3\x18\n3\n"


def test_a_chronolog_does_not_wait_for_the_events_of_calls(server: SmallS3, monkeypatch: pytest.MonkeyPatch) -> None:
    from custody.integrity import chronolog
    from custody.redact import Redactor

    monkeypatch.setattr(shared, "SOON", 1e5)
    log = chronolog.Chronolog(another(), Redactor())
    log.event("session_start")
    server.asked.clear()
    for number in range(50):
        log.call_event("llm_call_start", call_id=f"w-{number}")
    assert server.asked == []
    log.event("session_end")
    data = opened().read(NAME)
    assert chronolog.problems(data) == []
    assert [json.loads(line)["seq"] for line in data.split(b"\n")[:-1]] == list(range(1, 53))


def test_an_outage_is_told_once(
    server: SmallS3, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from custody.integrity.chronolog import Chronolog
    from custody.redact import Redactor

    monkeypatch.setattr(shared, "SOON", 1e5)
    log: Any = Chronolog(another(), Redactor())
    log.event("session_start")
    server.fail = 503
    with caplog.at_level(logging.ERROR, logger="custody"):
        log.call_event("llm_call_start", call_id="w-1")
        log.drain()
        log.event("stage_start")
    assert len(caplog.records) == 1
    server.fail = None
    log.drain()
