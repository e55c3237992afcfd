"""The chain of a chronolog: what was done to it shows, by the first wrong line."""

from __future__ import annotations

import errno
import gc
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import StorageError
from custody.integrity import chronolog
from custody.integrity.chronolog import Chronolog
from custody.redact import Redactor
from custody.storage.local import LocalStorage

COUNT = 8


def written(folder: Path, count: int = COUNT) -> list[bytes]:
    storage = LocalStorage(folder)
    log = Chronolog(storage.shared_log("log"), Redactor())
    for n in range(count):
        log.event("llm_call_complete", call_id=f"w-{n}", success=True)
    return storage.read("log").splitlines(keepends=True)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    return written(tmp_path_factory.mktemp("log"))


def first_wrong(data: list[bytes]) -> int | None:
    """The number of the line that the first problem names."""
    found = chronolog.problems(b"".join(data))
    return int(found[0].split()[1]) if found else None


def test_a_sound_chain(lines: list[bytes]) -> None:
    assert chronolog.problems(b"".join(lines)) == []
    assert chronolog.problems(b"") == []
    assert [event["seq"] for event in chronolog.read(b"".join(lines))] == list(range(1, COUNT + 1))
    assert json.loads(lines[0])["previous_sha256"] == chronolog.GENESIS


@given(at=st.integers(0, COUNT - 2))
def test_a_deleted_line(lines: list[bytes], at: int) -> None:
    assert first_wrong([*lines[:at], *lines[at + 1 :]]) == at + 1
    assert len(chronolog.problems(b"".join([*lines[:at], *lines[at + 1 :]]))) == 1, "one deed, one problem"


@given(places=st.lists(st.integers(0, COUNT - 1), min_size=2, max_size=2, unique=True).map(sorted))
def test_swapped_lines(lines: list[bytes], places: list[int]) -> None:
    first, second = places
    swapped = list(lines)
    swapped[first], swapped[second] = lines[second], lines[first]
    assert first_wrong(swapped) == first + 1


@given(at=st.integers(0, COUNT - 2))
def test_an_edited_line_is_named_by_the_one_that_follows_it(lines: list[bytes], at: int) -> None:
    edited = lines[at].replace(b"true", b"null")
    assert edited != lines[at]
    assert first_wrong([*lines[:at], edited, *lines[at + 1 :]]) == at + 2


@pytest.mark.parametrize("seq", [b'"x"', b"null", b"7.5", b"true", b"[]", b"99", b"-1"])
def test_an_edited_number_is_named_and_does_not_stop_the_examination(lines: list[bytes], seq: bytes) -> None:
    edited = lines[2].replace(b'{"seq":3,', b'{"seq":' + seq + b",")
    deleted_later = [*lines[:2], edited, *lines[3:5], *lines[6:]]
    problems = chronolog.problems(b"".join(deleted_later))
    assert problems[0].startswith("line 3 has number")
    assert any(problem.startswith("line 6 ") for problem in problems)


@given(
    at=st.integers(0, COUNT - 1), foreign=st.sampled_from([b"\n", b"x\n", b"{}\n", b"[1]\n", b'{"seq":4\n', b"\0\n"])
)
def test_an_inserted_line(lines: list[bytes], at: int, foreign: bytes) -> None:
    assert first_wrong([*lines[:at], foreign, *lines[at:]]) == at + 1
    assert first_wrong([*lines, foreign]) == COUNT + 1


@given(at=st.integers(0, COUNT - 1), data=st.data())
def test_a_line_that_lost_its_end(lines: list[bytes], at: int, data: st.DataObject) -> None:
    kept = data.draw(st.integers(0, len(lines[at]) - 2))
    assert first_wrong([*lines[:at], lines[at][:kept] + b"\n", *lines[at + 1 :]]) == at + 1


def test_a_line_nested_too_deep_to_be_read(lines: list[bytes]) -> None:
    deep = b"[" * 200_000 + b"\n"
    assert first_wrong([*lines[:3], deep, *lines[3:]]) == 4
    assert len(list(chronolog.read(b"".join([*lines, deep])))) == COUNT


@given(cut=st.integers(1, 200))
def test_a_torn_tail_is_no_problem(lines: list[bytes], cut: int) -> None:
    data = b"".join(lines)[:-cut]
    assert chronolog.problems(data) == []


@given(cut=st.integers(2, 500))
def test_torn_and_healed_is_no_problem(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], cut: int) -> None:
    storage = LocalStorage(tmp_path_factory.mktemp("healed"))
    (storage.root / "log").write_bytes(b"".join(lines)[:-cut])
    for _ in range(2):
        Chronolog(storage.shared_log("log"), Redactor()).event("session_resume")
        with (storage.root / "log").open("ab") as file:
            file.write(b'{"seq":')
    Chronolog(storage.shared_log("log"), Redactor()).event("session_end", outcome="finished")
    data = storage.read("log")
    assert chronolog.problems(data) == []
    events = list(chronolog.read(data))
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [event["event"] for event in events[-3:]] == ["session_resume", "session_resume", "session_end"]
    # The mark of a healed line hides no deed.
    healed = data.splitlines(keepends=True)
    assert first_wrong([b"x\x18\n", *healed[1:]]) == 2


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), StorageError("away")])
def test_a_failing_disk_is_reported_once_and_stops_nothing(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def append(self, make: Callable[[bytes | None], list[bytes]]) -> None:
            make(None)
            raise error

    log = Chronolog(Broken(), Redactor())
    for _ in range(3):
        log.event("session_start")
    assert [record.message for record in caplog.records] == [
        f"custody: the chronolog cannot be written ({error}); events are missing from here on"
    ]


@pytest.mark.timeout(30)
def test_a_stream_that_is_collected_while_an_event_is_written(tmp_path: Path) -> None:
    class Collecting(LocalStorage):
        pass

    storage = Collecting(tmp_path)
    shared = storage.shared_log("log")
    log: Chronolog

    class Abandoned:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            log.event("abandoned")

    class Shared:
        collected = False

        def append(self, make: Callable[[bytes | None], list[bytes]]) -> None:
            def made(last: bytes | None) -> list[bytes]:
                if not self.collected:
                    self.collected = True
                    Abandoned()
                    gc.collect()
                return make(last)

            shared.append(made)

    log = Chronolog(Shared(), Redactor())
    log.event("outer")
    data = storage.read("log")
    assert [event["event"] for event in chronolog.read(data)] == ["outer", "abandoned"]
    assert chronolog.problems(data) == []


def test_secrets_and_surrogates(tmp_path: Path) -> None:
    redactor = Redactor()
    redactor.learn(["canary-7f3a9b2c1d"])
    storage = LocalStorage(tmp_path)
    Chronolog(storage.shared_log("log"), redactor).event("stage_start", stage="canary-7f3a9b2c1d \udc80")
    assert b"canary" not in storage.read("log")
    assert next(chronolog.read(storage.read("log")))["stage"] == "[REDACTED] \udc80"


@pytest.mark.parametrize("kept", range(1, 200, 3))
def test_a_line_that_a_full_disk_has_cut_names_no_call(tmp_path: Path, kept: int) -> None:
    before = written(tmp_path, 2)
    line = before[-1].removesuffix(b"\n")[:kept]
    if b"w-1" in line:
        return  # all of the id is there
    torn = b"".join((*before[:1], line, b"\x18\n", before[-1].replace(b"w-1", b"w-2")))
    assert chronolog.completed([torn]) == {b"w-0", b"w-2"}
