"""The index over segments, read beside writers that append and after damage."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from custody.errors import ArchiveDamaged
from custody.identity import Identity
from custody.journal import archive as archives
from custody.journal import lines
from custody.journal.archive import Archive
from custody.journal.scan import SegmentScan
from custody.journal.segments import segments
from custody.journal.writer import Journal
from custody.redact import Redactor
from custody.storage.local import LocalStorage


def refuse(writer: str, sealed: list[bytes]) -> str:
    raise AssertionError("nothing has to be spilled here")


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "session")


@pytest.fixture
def journal(storage: LocalStorage) -> Journal:
    return Journal(storage, "session_x", Redactor(), refuse)


@pytest.fixture
def archive(storage: LocalStorage) -> Archive:
    return Archive(storage)


def identity(key: str = "k", replicate: int = 1) -> Identity:
    return Identity('{"run":1}', key, replicate)


def request(journal: Journal, call: str, who: Identity) -> None:
    journal.append(
        [
            (
                "request",
                {
                    "exchange": f"{call}.1",
                    "call": call,
                    "time": "2026-01-01T00:00:00.000000Z",
                    "scope": {"run": 1},
                    "scope_key": who.scope,
                    "request_key": who.key,
                    "replicate": who.replicate,
                    "operation": "chat",
                    "body": {"text": "the prompt"},
                },
            )
        ]
    )


def respond(journal: Journal, call: str, chunks: list[bytes], ending: str = "complete", status: int = 200) -> str:
    """Lines of a streamed response; gives the digest that the call line commits to."""
    head = {"status": status, "reason": "OK", "http_version": "HTTP/1.1", "headers": [["x-a", "1"]], "decoded": False}
    _, sealed = journal.append(
        [
            ("response", {"exchange": f"{call}.1", "at_ms": 1.0, **head}),
            *(("chunk", {"exchange": f"{call}.1", "at_ms": 2.0, "body": lines.pack(c)}) for c in chunks),
            ("end", {"exchange": f"{call}.1", "at_ms": 3.0, "ending": ending}),
        ]
    )
    return hashlib.sha256(b"".join(sealed)).hexdigest()


def commit(
    journal: Journal,
    call: str,
    who: Identity,
    digest: str | None,
    *,
    status: int | None = 200,
    ending: str = "complete",
    answers: bool = True,
    ended: str = "2026-01-01T00:00:01.000000Z",
) -> None:
    attempt = {"exchange": f"{call}.1", "request_sha256": "", "response_sha256": digest}
    fields = {
        "id": call,
        "ended": ended,
        "scope_key": who.scope,
        "request_key": who.key,
        "replicate": who.replicate,
        "ending": ending,
        "answers": answers,
        "status": status,
        "attempts": [attempt],
    }
    journal.sync_to(journal.append([("call", fields)])[0])


def whole_call(journal: Journal, who: Identity, chunks: list[bytes] | None = None, **fields: Any) -> str:
    call = journal.next_id()
    request(journal, call, who)
    commit(journal, call, who, respond(journal, call, chunks or [b"a", b"\xff\x00", b"c"]), **fields)
    return call


def flip(storage: LocalStorage, kind: str, which: int = 0) -> tuple[str, int]:
    """Damage the n-th line of a kind; gives its segment and offset."""
    found = [
        (name, place)
        for name, _ in segments(storage, "llm_archive/")
        for head, _, place in SegmentScan(storage, name).lines()
        if head.kind == kind
    ]
    name, place = found[which]
    path = storage.root / name
    data = bytearray(path.read_bytes())
    data[place.offset + place.size // 2] ^= 4
    path.write_bytes(data)
    return name, place.offset


def test_an_answer_comes_back_byte_for_byte(journal: Journal, archive: Archive) -> None:
    call = whole_call(journal, identity(), [b"data: 1\n\n", b"\xff\xfe", "ä\u2028".encode()])
    archive.refresh()
    stored = archive.answer(identity())
    assert stored is not None
    assert stored.id == call
    response = archive.response(stored)
    assert response is not None
    assert [chunk.data for chunk in response.chunks] == [b"data: 1\n\n", b"\xff\xfe", "ä\u2028".encode()]
    assert (response.head.status, response.head.headers, response.ending) == (200, (("x-a", "1"),), "complete")
    assert archive.request(stored)["body"] == {"text": "the prompt"}
    assert archive.answer(identity(replicate=2)) is None
    assert archive.answer(identity("other")) is None
    assert list(archive.replicates()) == [identity()]


def test_refresh_takes_in_what_others_write_meanwhile(storage: LocalStorage, archive: Archive) -> None:
    def write(number: int) -> None:
        journal = Journal(storage, "session_x", Redactor(), refuse, rotate_bytes=3000)
        for n in range(30):
            whole_call(journal, identity(f"{number}", n + 1))
        journal.close()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    seen = 0
    while any(thread.is_alive() for thread in threads):
        archive.refresh()
        for answer in archive.replicates():
            stored = archive.answer(answer)
            assert stored is not None
            response = archive.response(stored)
            assert response is not None
            assert len(response.chunks) == 3
        assert len(archive.calls) >= seen
        seen = len(archive.calls)
    archive.refresh()
    assert len(archive.calls) == 90
    assert archive.damage == []
    again = Archive(storage)
    again.refresh()
    assert set(again.replicates()) == set(archive.replicates())


def test_in_doubt_until_the_call_line_comes(journal: Journal, archive: Archive) -> None:
    call = journal.next_id()
    request(journal, call, identity())
    archive.refresh()
    assert [doubt["call"] for doubt in archive.in_doubt()] == [call]
    assert archive.answer(identity()) is None
    digest = respond(journal, call, [b"x"])
    archive.refresh()
    assert len(archive.in_doubt()) == 1
    commit(journal, call, identity(), digest)
    archive.refresh()
    assert archive.in_doubt() == []
    assert archive.answer(identity()) is not None


def test_failures_are_no_answers(journal: Journal, archive: Archive) -> None:
    failed = whole_call(journal, identity(), status=500, answers=False)
    silent = whole_call(journal, identity("silent"), status=None, ending="no_response", answers=False)
    whole_call(journal, identity("cancelled"), status=None, ending="cancelled", answers=False)
    archive.refresh()
    assert archive.answer(identity()) is None
    assert [call.id for call in archive.failures(identity())] == [failed]
    assert [call.id for call in archive.failures(identity("silent"))] == [silent]
    assert archive.failures(identity("cancelled")) == []


def test_failures_that_the_last_program_saw(storage: LocalStorage, archive: Archive) -> None:
    """Those of an earlier start were asked again: they are no part of what the program saw in the end."""
    early, late = (Journal(storage, "session_x", Redactor(), refuse) for _ in range(2))
    early.writer, late.writer = "20260101T000000-a", "20260102T000000-b"
    whole_call(early, identity(), status=500, answers=False)
    seen = whole_call(late, identity(), status=500, answers=False)
    archive.refresh()
    assert [call.id for call in archive.failures(identity())] == [seen]
    whole_call(late, identity())
    archive.refresh()
    assert [call.id for call in archive.failures(identity())] == [seen]
    assert archive.answer(identity()) is not None


def test_the_first_complete_answer_stays_the_answer(storage: LocalStorage) -> None:
    early, late = (Journal(storage, "session_x", Redactor(), refuse) for _ in range(2))
    early.writer, late.writer = "20260101T000000-a", "20260102T000000-b"
    live = Archive(storage)
    first = whole_call(late, identity(), ended="2026-01-02T00:00:00.000000Z")
    live.refresh()
    # A process that was thought dead: its segment sorts before the other, its answer came after it.
    whole_call(early, identity(), ended="2026-01-03T00:00:00.000000Z")
    live.refresh()
    fresh = Archive(storage)
    fresh.refresh()
    for archive in (live, fresh):
        stored = archive.answer(identity())
        assert stored is not None
        assert stored.id == first


def test_lines_that_were_written_again_count_once(journal: Journal, storage: LocalStorage, archive: Archive) -> None:
    whole_call(journal, identity())
    name = segments(storage, "llm_archive/")[0][0]
    data = storage.read(name)
    opening, _, rest = data.partition(b"\n")
    storage.put(name.replace("000001", "000002"), opening + b"\n" + rest)
    archive.refresh()
    assert len(archive.calls) == 1
    stored = archive.answer(identity())
    assert stored is not None
    response = archive.response(stored)
    assert response is not None
    assert [chunk.data for chunk in response.chunks] == [b"a", b"\xff\x00", b"c"]


@pytest.mark.parametrize("kind", ["request", "response", "chunk", "end", "call"])
@pytest.mark.parametrize("order", ["together", "one by one"])
def test_a_line_that_is_whole_in_a_later_segment_heals(
    journal: Journal, storage: LocalStorage, archive: Archive, kind: str, order: str
) -> None:
    whole_call(journal, identity())
    name = segments(storage, "llm_archive/")[0][0]
    data = storage.read(name)
    flip(storage, kind, 0)
    if order == "one by one":
        archive.refresh()
    storage.put(name.replace("000001", "000002"), data)
    archive.refresh()
    stored = archive.answer(identity())
    assert stored is not None
    response = archive.response(stored)
    assert response is not None
    assert [chunk.data for chunk in response.chunks] == [b"a", b"\xff\x00", b"c"], "in the order of their numbers"
    assert archive.request(stored)["body"] == {"text": "the prompt"}
    assert archive.in_doubt() == []


def test_a_damaged_request_line_names_file_and_byte(journal: Journal, storage: LocalStorage, archive: Archive) -> None:
    whole_call(journal, identity())
    archive.refresh()
    name, offset = flip(storage, "request")
    fresh = Archive(storage)
    fresh.refresh()
    for reader in (archive, fresh):
        stored = reader.answer(identity())
        assert stored is not None
        with pytest.raises(ArchiveDamaged) as caught:
            reader.request(stored)
        assert name in str(caught.value)
        assert f"byte {offset}" in str(caught.value)


@pytest.mark.parametrize(("kind", "which"), [("chunk", 0), ("chunk", 1), ("chunk", 2), ("end", 0), ("response", 0)])
def test_half_an_answer_is_never_given_for_a_whole_one(
    journal: Journal, storage: LocalStorage, archive: Archive, kind: str, which: int
) -> None:
    whole_call(journal, identity())
    archive.refresh()
    name, offset = flip(storage, kind, which)
    fresh = Archive(storage)
    fresh.refresh()
    for reader in (archive, fresh):
        stored = reader.answer(identity())
        assert stored is not None
        with pytest.raises(ArchiveDamaged) as caught:
            reader.response(stored)
        assert name in str(caught.value)
        assert f"byte {offset}" in str(caught.value)


def test_a_damaged_neighbour_costs_nothing(journal: Journal, storage: LocalStorage, archive: Archive) -> None:
    for n in (1, 2, 3):
        whole_call(journal, identity(replicate=n))
    flip(storage, "call", 1)
    archive.refresh()
    assert set(archive.replicates()) == {identity(replicate=1), identity(replicate=3)}
    assert len(archive.in_doubt()) == 1
    assert [damage.torn for damage in archive.damage] == [False]


def test_a_damaged_first_line_costs_the_segment_nothing(
    journal: Journal, storage: LocalStorage, archive: Archive
) -> None:
    whole_call(journal, identity())
    flip(storage, "segment")
    archive.refresh()
    assert archive.answer(identity()) is not None
    assert archive.foreign == []
    assert len(archive.damage) == 1


@pytest.mark.parametrize("data", [b'{"a":1}\n', b"\n\n", b"\xff\xfe\n\0\n", b'{"kind":"call","seq":1,"id":"x"}\n'])
def test_a_foreign_file_is_listed_and_skipped(
    journal: Journal, storage: LocalStorage, archive: Archive, data: bytes
) -> None:
    storage.put("llm_archive/notes-1.jsonl", data)
    whole_call(journal, identity())
    for _ in range(3):
        archive.refresh()
    assert archive.foreign == ["llm_archive/notes-1.jsonl"]
    assert archive.damage == []
    assert len(archive.calls) == 1


def test_a_segment_that_is_being_begun_is_not_foreign(storage: LocalStorage, archive: Archive) -> None:
    opening = lines.opening("session_x", "w", 1)
    log = storage.create_log("llm_archive/w-000001.jsonl")
    archive.refresh()
    log.append(opening[:20])
    archive.refresh()
    assert archive.foreign == []
    log.append(opening[20:] + lines.seal(lines.unsealed("note", 1, {"note": "x"})))
    archive.refresh()
    log.close()
    assert archive.foreign == []
    assert archive.damage == []
    assert [note["note"] for note in archive.notes] == ["x"]


def test_a_segment_of_a_newer_format_says_what_to_do(storage: LocalStorage, archive: Archive) -> None:
    fields = {"format": lines.FORMAT_VERSION + 1, "session": "session_x", "writer": "w", "number": 1}
    line = lines.seal(lines.unsealed("segment", 0, fields))
    storage.put("llm_archive/w-000001.jsonl", line + b'{"whatever":"comes"}\n')
    with pytest.raises(ArchiveDamaged, match=r"w-000001\.jsonl has format 2.*update custody"):
        archive.refresh()


def test_a_torn_tail_is_reported_as_one(journal: Journal, storage: LocalStorage, archive: Archive) -> None:
    whole_call(journal, identity())
    name = segments(storage, "llm_archive/")[0][0]
    with (storage.root / name).open("ab") as file:
        file.write(b'{"kind":"request","seq":99,"exch')
    for _ in range(2):
        archive.refresh()
    assert [damage.torn for damage in archive.damage] == [True]
    assert archive.answer(identity()) is not None


def test_no_news_of_its_own_writer(journal: Journal, archive: Archive) -> None:
    archive.own_writer = journal.writer
    whole_call(journal, identity())
    archive.refresh()
    assert archive.calls == {}


def test_notes_are_kept(journal: Journal, archive: Archive) -> None:
    journal.append([("note", {"note": "hook_failed", "scope": {"exchange": "not one"}})])
    archive.refresh()
    assert [json.dumps(note["scope"]) for note in archive.notes] == ['{"exchange": "not one"}']


def test_a_call_line_without_its_fields_is_damage(journal: Journal, archive: Archive) -> None:
    journal.append([("call", {"id": "somebody's", "attempts": []})])
    kept = whole_call(journal, identity())
    archive.refresh()
    assert list(archive.calls) == [kept]
    assert [damage.torn for damage in archive.damage] == [False]


def test_who_looks_up_while_calls_are_packed_finds_them(
    journal: Journal, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread's refresh moves them, one after another."""
    for number in range(6):
        whole_call(journal, identity(str(number)))
    archive.refresh()
    monkeypatch.setattr(archives, "PACK", 3)
    asked: list[list[Any]] = []

    class Slow(dict[str, Any]):
        def pop(self, *args: Any) -> Any:
            found = super().pop(*args)
            asked.append([archive.answer(identity(str(n))) for n in range(6)])
            asked.append(list(archive.with_key("3")))
            return found

    archive.live.calls = Slow(archive.live.calls)
    archive._pack_live()
    assert len(asked) == 12
    assert all(found and None not in found for found in asked)


def test_who_goes_through_all_calls_while_they_are_packed_misses_none(
    journal: Journal, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "PACK", 3)
    for number in range(4):
        whole_call(journal, identity(str(number)))
    archive.refresh()
    assert len(archive.packed) == 1
    for number in range(4, 8):
        whole_call(journal, identity(str(number)))
    archive.refresh()
    every = archive.replicates()
    found = [next(every)]
    archive._pack_live()
    assert len(archive.packed) == 2
    assert sorted(each.key for each in [*found, *every]) == [str(number) for number in range(8)]


def test_what_others_did_not_sync_is_synced_before_it_is_replayed(
    journal: Journal, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed writer's last lines survive in the page cache only, and a power cut takes them from there."""
    settled: list[str] = []
    monkeypatch.setattr(LocalStorage, "settle", lambda self, name: settled.append(name))
    archive.settles = True

    def replayed(number: int) -> str:
        archive.refresh()
        stored = archive.answer(identity(replicate=number))
        assert stored is not None
        assert archive.response(stored) is not None
        return stored.place.segment

    whole_call(journal, identity(replicate=1))
    segment = replayed(1)
    assert settled == [segment]
    replayed(1)
    assert settled == [segment], "once is enough"
    whole_call(journal, identity(replicate=2))
    replayed(2)
    assert settled == [segment, segment], "something was appended since"
