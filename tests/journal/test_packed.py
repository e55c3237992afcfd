"""Packed calls are the calls: nothing changes by being packed, and a sidecar is never believed over its segment."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from custody.errors import ArchiveDamaged
from custody.journal import archive as archives
from custody.journal import closing, entries, indexing, packed
from custody.journal.archive import Archive
from custody.journal.segments import Segments


@pytest.fixture
def session(tmp_path: Path, written: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(archives, "PACK", 3)
    monkeypatch.setattr(closing, "PACK", 3)
    return written(tmp_path / "session", rotate_bytes=14_000)


def everything(archive: Archive, numbered: Any, count: int) -> list[Any]:
    found = []
    for number in range(count):
        call = archive.answer(numbered(number))
        response = archive.response(call) if call else None
        failures = [f.id for f in archive.failures(numbered(number))]
        found.append((call and call.id, response, failures, call and archive.request(call)["body"]))
    return [found, archive.answers(), archive.unanswering(), sorted(archive.calls), len(archive.calls)]


def test_a_packed_session_answers_as_one_that_was_read(session: Any, numbered: Any, tmp_path: Path) -> None:
    for number in range(40):
        session.call(number, [b"\xff", b"x" * (number % 5), b"z"], answers=number % 7 != 3)
    session.call(3)
    session.request(99)
    session.journal.append([("note", {"note": "hook_failed"})])
    plain = Archive(session.storage)
    plain.refresh()
    session.close()
    indexed = Archive(session.storage)
    indexed.refresh()
    assert len(indexed.packed) > 3, "it was packed"
    assert not indexed.unindexed, "from sidecars"
    assert everything(indexed, numbered, 41) == everything(plain, numbered, 41)
    assert [d["call"] for d in indexed.in_doubt()] == [d["call"] for d in plain.in_doubt()] != []
    assert indexed.notes == plain.notes != []
    names = [name.decode() for some in indexed.names() for name in some]
    assert sorted(names) == sorted(indexed.calls)
    assert [i.key for i in indexed.replicates(numbered(5).key)] == [numbered(5).key]


def _answer_late(session: Any) -> None:
    """Call 1000 is sent first, and answered segments later."""
    early = session.request(1000)
    sealed = session.sealed
    for number in range(30):
        session.call(number)
    session.sealed = sealed
    session.respond(early, 1000, [b"late"])
    session.close()


def test_lines_of_a_call_in_two_segments_find_each_other(session: Any, numbered: Any) -> None:
    _answer_late(session)
    archive = Archive(session.storage)
    archive.refresh()
    call = archive.answer(numbered(1000))
    assert call is not None
    response = archive.response(call)
    assert response is not None
    assert [chunk.data for chunk in response.chunks] == [b"late"]
    assert archive.request(call)["body"] == {"text": "prompt"}
    assert archive.in_doubt() == []


def test_a_call_line_that_stands_alone_is_not_read(
    session: Any, numbered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _answer_late(session)
    asked: list[bytes] = []
    monkeypatch.setattr(indexing, "summary", lambda line: (asked.append(line), entries.summary(line))[1])
    archive = Archive(session.storage)
    archive.refresh()
    assert not archive.unindexed, "from sidecars"
    assert not asked
    call = archive.answer(numbered(1000))
    assert call is not None and (response := archive.response(call)) is not None
    assert [chunk.data for chunk in response.chunks] == [b"late"]


@pytest.mark.parametrize("change", ["flip", "cut", "empty", "other", "grown"])
def test_a_sidecar_that_is_not_right_is_not_believed(session: Any, numbered: Any, change: str) -> None:
    for number in range(30):
        session.call(number)
    session.close()
    path = sorted((session.storage.root / "llm_archive").glob("*.idx"))[1]
    data = bytearray(path.read_bytes())
    if change == "flip":
        data[-50] ^= 1
    elif change == "other":
        data = bytearray(sorted(path.parent.glob("*.idx"))[0].read_bytes())
    elif change == "grown":
        with path.with_suffix(".jsonl").open("ab") as file:
            file.write(b"\n")
    path.write_bytes(data[:-9] if change == "cut" else b"" if change == "empty" else data)
    archive = Archive(session.storage)
    archive.refresh()
    assert [archive.answer(numbered(number)) is not None for number in range(30)] == [True] * 30
    assert list(archive.unindexed) == [f"llm_archive/{path.stem}.jsonl"], "read in full"


def test_what_grows_is_packed_too(tmp_path: Path, written: Any, numbered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LIVE", 8)
    monkeypatch.setattr(archives, "PACK", 3)
    session = written(tmp_path / "growing")
    archive = Archive(session.storage)
    for number in range(60):
        session.call(number)
        archive.refresh()
        assert archive.answer(numbered(number)) is not None
    assert len(archive.live.calls) <= 10
    fresh = Archive(session.storage)
    fresh.refresh()
    assert everything(archive, numbered, 60) == everything(fresh, numbered, 60)


def test_a_segment_with_damage_is_not_packed(session: Any, numbered: Any) -> None:
    for number in range(12):
        session.call(number)
    session.journal.sync_to(session.journal._seq)
    session.closer.finish()
    name = Segments(session.storage).list()[0][0]
    path = session.storage.root / name
    session.storage.remove(name.removesuffix(".jsonl") + ".idx")  # else it is taken, and nothing read
    data = bytearray(path.read_bytes())
    data[data.index(b"answer 1")] ^= 1
    path.write_bytes(data)
    found = indexing.read(Segments(session.storage), name)
    assert not found.clean
    archive = Archive(session.storage)
    archive.refresh()
    assert len(archive.damage) == 1
    assert archive.answer(numbered(11)) is not None


def test_a_dump_is_loaded_as_it_was(session: Any) -> None:
    for number in range(5):
        session.call(number)
    session.request(7)
    name = Segments(session.storage).list()[0][0]
    made = indexing.pack(indexing.read(Segments(session.storage), name), lambda place: {})
    again = packed.load(made.dump(), name, lambda place: {})
    assert again is not None
    assert (again.records, again.entries, again.loose) == (made.records, made.entries, made.loose)
    assert len(again) == 5
    assert packed.load(made.dump(), "llm_archive/other-000001.jsonl", lambda place: {}) is None


def test_no_flipped_bit_of_a_sidecar_is_taken_for_what_it_says(session: Any) -> None:
    """Also of its first line: numbers of lines that are wrong there hide another segment's calls."""
    for number in range(5):
        session.call(number)
    session.request(7)
    name = Segments(session.storage).list()[0][0]
    whole = indexing.pack(indexing.read(Segments(session.storage), name), lambda place: {}).dump()
    assert packed.load(whole, name, lambda place: {}) is not None
    for bit in range(8 * len(whole)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        assert packed.load(bytes(data), name, lambda place: {}) is None, f"bit {bit % 8} of byte {bit // 8}"


def test_an_index_that_gives_a_call_for_another_is_not_replayed(session: Any, numbered: Any) -> None:
    """Its checksums are right: somebody made it by hand."""
    for number in range(30):
        session.call(number)
    session.close()
    path = sorted((session.storage.root / "llm_archive").glob("*.idx"))[0]
    name = f"llm_archive/{path.stem}.jsonl"
    made = packed.load(path.read_bytes(), name, lambda place: {})
    assert made is not None
    one, two = made.records[:48], made.records[48:96]
    made.records = one[:24] + two[24:] + two[:24] + one[24:] + made.records[96:]
    path.write_bytes(made.dump())
    archive = Archive(session.storage)
    archive.refresh()
    wrong = []
    for number in range(30):
        call = archive.answer(numbered(number))
        assert call is not None
        with contextlib.suppress(ArchiveDamaged):
            response = archive.response(call)
            assert response is not None
            assert [chunk.data for chunk in response.chunks] == [f"answer {number}".encode()]
            continue
        wrong.append(number)
    assert len(wrong) == 2


@pytest.mark.parametrize("said", [["id"], [1, ["s", "k", []], 0, 0, 1, 0, 1, []], ["i", "sk", 0, 0, 1, 0, 1, []], "id"])
def test_a_summary_that_is_none_makes_the_sidecar_none(session: Any, said: Any) -> None:
    """Its checksum says that it was written so, not that it is right."""
    line: Any = ("call", 1, "", 0, 10, said)
    made = packed.pack("llm_archive/w-000001.jsonl", [], size=1, lines=1, first=1, last=1, loose=[line], load=dict)
    assert packed.load(made.dump(), made.segment, dict) is None


def test_a_summary_has_the_types_of_one_whoever_wrote_it() -> None:
    line: Any = ("call", 1, "", 0, 10, ["i", ["s", "k", 2], 3, 4, 1, 0, 1, [["not a name"], 5]])
    made = packed.pack("llm_archive/w-000001.jsonl", [], size=1, lines=1, first=1, last=1, loose=[line], load=dict)
    found = packed.load(made.dump(), made.segment, dict)
    assert found is not None and (said := found.loose[0][5]) is not None
    assert said.answers is True and said.identity == ("s", "k", 2)
    assert all(isinstance(name, str) for name in said.exchanges)
