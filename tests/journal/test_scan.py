"""Segments that were damaged on purpose: every untouched line comes back, nothing else does, and offsets are right."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from custody.journal import lines, scan
from custody.journal.scan import Damage, SegmentScan
from custody.journal.segments import segments, writer_of
from custody.storage.local import LocalStorage

NAME = "llm_archive/w-000001.jsonl"
TEXTS = ["short", "", "line\nbreak \u2028 \0 end", "x" * 300, '{"kind":"call","seq":9,', "ä" * 70, "y" * 5000, "last"]
LINES = [
    lines.opening("s", "w", 1),
    *(
        lines.seal(
            lines.unsealed("chunk", n, {"exchange": f"w-1.{n}", "body": {"text": t}, "raw": {"kind": "x", "seq": 1}})
        )
        for n, t in enumerate(TEXTS, 1)
    ),
]
WHOLE = b"".join(LINES)
STARTS = [sum(map(len, LINES[:n])) for n in range(len(LINES))]
SPANS = [(start, start + len(line)) for start, line in zip(STARTS, LINES, strict=True)]

fast = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    made = LocalStorage(tmp_path / "session")
    made.put(NAME, b"")
    return made


@pytest.fixture(params=[7, 64, 1000, scan.BLOCK])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(scan, "BLOCK", request.param)
    return int(request.param)


def read(storage: LocalStorage, data: bytes, start: int = 0) -> tuple[list[bytes], SegmentScan]:
    """The lines that a scan gives, each also read again at its place, checked and compared."""
    (storage.root / NAME).write_bytes(data)
    scanned = SegmentScan(storage, NAME, start=start)
    found = []
    for head, line, place in scanned.lines():
        assert data[place.offset : place.offset + place.size] == line
        assert lines.check(line)
        assert line + b"\n" in LINES, "not a line that was written"
        assert place.seq == head.seq
        found.append(line + b"\n")
    for damage in scanned.damage:
        assert 0 < damage.size <= len(data) - damage.offset
    return found, scanned


def untouched(first: int, last: int) -> list[bytes]:
    """The lines that bytes ``first`` to ``last`` are no part of; a newline alone is no part of its line."""
    return [line for line, (start, end) in zip(LINES, SPANS, strict=True) if end - 1 <= first or start >= last]


def test_an_undamaged_segment(storage: LocalStorage, block: int) -> None:
    found, scanned = read(storage, WHOLE)
    assert found == LINES
    assert scanned.damage == []
    assert scanned.end == len(WHOLE)
    assert scanned.first == LINES[0][:-1]


def test_reading_on_from_any_line(storage: LocalStorage, block: int) -> None:
    for number, start in enumerate(STARTS):
        found, scanned = read(storage, WHOLE, start)
        assert found == LINES[number:]
        assert scanned.end == len(WHOLE)


@fast
@given(cut=st.integers(0, len(WHOLE)))
def test_truncated_anywhere_is_a_torn_tail_and_no_damage(storage: LocalStorage, cut: int) -> None:
    found, scanned = read(storage, WHOLE[:cut])
    complete = [line for line, (_, end) in zip(LINES, SPANS, strict=True) if end <= cut]
    whole_without_newline = cut + 1 in [end for _, end in SPANS]
    assert found == (LINES[: len(complete) + 1] if whole_without_newline else complete)
    assert scanned.end == sum(map(len, complete))
    assert all(damage.torn for damage in scanned.damage)
    assert bool(scanned.damage) == (cut not in [0, *(end for _, end in SPANS)] and not whole_without_newline)


def test_every_truncation_of_the_last_line(storage: LocalStorage) -> None:
    for cut in range(STARTS[-1] - 40, len(WHOLE) - 1):
        _, scanned = read(storage, WHOLE[:cut])
        assert all(damage.torn for damage in scanned.damage), cut


@fast
@given(first=st.integers(0, len(WHOLE) - 1), size=st.integers(1, 900))
def test_zeros_anywhere_leave_every_untouched_line(storage: LocalStorage, first: int, size: int) -> None:
    last = min(first + size, len(WHOLE))
    found, scanned = read(storage, WHOLE[:first] + bytes(last - first) + WHOLE[last:])
    assert found == untouched(first, last)
    assert scanned.damage
    # Zeros in the last line are pages that a power cut lost; before a whole line they are damage.
    in_last_line = last > STARTS[-1]
    if not in_last_line:
        assert not any(damage.torn for damage in scanned.damage)
    elif last - first >= 8:
        assert scanned.damage[-1].torn


@fast
@given(at=st.integers(0, len(WHOLE) * 8 - 1))
def test_a_flipped_bit_is_damage_and_costs_one_line(storage: LocalStorage, at: int) -> None:
    data = bytearray(WHOLE)
    data[at // 8] ^= 1 << at % 8
    assume(data[at // 8] != ord("\n"))
    found, scanned = read(storage, bytes(data))
    assert found == untouched(at // 8, at // 8 + 1)
    assert [damage.torn for damage in scanned.damage] == [False]
    assert scanned.damage[0].offset <= at // 8 < scanned.damage[0].offset + scanned.damage[0].size


def test_a_flipped_bit_in_the_last_line_is_no_torn_tail(storage: LocalStorage) -> None:
    data = bytearray(WHOLE)
    data[-15] ^= 1
    _, scanned = read(storage, bytes(data))
    assert scanned.damage == [Damage(NAME, STARTS[-1], len(LINES[-1]) - 1, torn=False)]
    assert scanned.end == len(WHOLE)


@pytest.mark.parametrize("number", range(len(LINES) - 1))
def test_a_deleted_newline_costs_no_line(storage: LocalStorage, number: int) -> None:
    end = SPANS[number][1]
    found, _ = read(storage, WHOLE[: end - 1] + WHOLE[end:])
    assert found == LINES


@fast
@given(number=st.integers(0, len(LINES) - 1), foreign=st.binary(min_size=1, max_size=60))
def test_foreign_bytes_between_lines_cost_no_line(storage: LocalStorage, number: int, foreign: bytes) -> None:
    start = STARTS[number]
    found, scanned = read(storage, WHOLE[:start] + foreign + WHOLE[start:])
    assert found == LINES
    if foreign.strip(b"\n"):
        assert sum(damage.size for damage in scanned.damage) >= len(foreign.strip(b"\n")) - foreign.count(b"\n")
        assert not any(damage.torn for damage in scanned.damage)
    else:
        assert scanned.damage == [], "empty lines are where a torn line was ended"


def test_an_editor_that_writes_carriage_returns(storage: LocalStorage) -> None:
    found, _ = read(storage, WHOLE.replace(b"\n", b"\r\n"))
    assert found == LINES


def test_a_foreign_tail_is_damage_and_not_torn(storage: LocalStorage) -> None:
    found, scanned = read(storage, WHOLE + b"something else")
    assert found == LINES
    assert scanned.damage == [Damage(NAME, len(WHOLE), 14, torn=False)]


def test_a_torn_tail_is_judged_again_when_more_follows(storage: LocalStorage) -> None:
    lost = LINES[-1][:10] + bytes(len(LINES[-1]) - 11) + b"\n"
    data = WHOLE[: STARTS[-1]] + lost
    _, scanned = read(storage, data)
    assert [damage.torn for damage in scanned.damage] == [True]
    found, again = read(storage, data + LINES[-1], scanned.end)
    assert found == [LINES[-1]]
    assert [damage.torn for damage in again.damage] == [False]


def test_a_million_openings_of_lines_are_no_trap(storage: LocalStorage) -> None:
    hostile = b'{"kind":"call","seq":1,' * 50_000 + b',"crc32":"00000000"}' * 50_000
    found, scanned = read(storage, LINES[0] + hostile + b"\n" + LINES[-1])
    assert found == [LINES[0], LINES[-1]]
    assert len(scanned.damage) == 1


def test_names(storage: LocalStorage) -> None:
    storage.put("llm_archive/w-000002.jsonl", WHOLE)
    storage.put("llm_archive/readme.txt", b"")
    assert segments(storage, "llm_archive/") == [(NAME, 0), ("llm_archive/w-000002.jsonl", len(WHOLE))]
    assert writer_of("llm_archive/20261123T044154-0a1b2c3d-000012.jsonl") == "20261123T044154-0a1b2c3d"
