"""Requests noted on this machine: what a storage lost of a killed writer comes back, and nothing else stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from custody.journal import intents, lines, spill
from custody.journal.archive import Archive
from custody.journal.intents import Intents
from custody.journal.writer import Journal
from custody.redact import Redactor
from custody.storage.local import LocalStorage


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CUSTODY_SPILL_DIR", str(tmp_path / "spill"))
    return tmp_path / "spill"


def refuse(writer: str, sealed: list[bytes]) -> str:
    raise OSError("no spill")


def request(number: int) -> dict[str, object]:
    return {
        "exchange": f"e{number}", "call": f"c{number}", "scope": {}, "scope_key": "s", "request_key": f"k{number}",
        "replicate": 0, "operation": "chat", "time": "2026-01-01T00:00:00.000000Z",
    }  # fmt: skip


def sealed(number: int) -> bytes:
    return lines.seal(lines.unsealed("request", number, request(number)))


def test_what_the_archive_lacks_is_taken_in_once(folder: Path, tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "session")
    (tmp_path / "session" / "llm_archive").mkdir()
    journal = Journal(storage, "session_x", Redactor(), refuse, intents=lambda writer: Intents("u-1", writer))
    journal.append([("request", request(1))])
    name = f"llm_archive/{journal.writer}-000001.jsonl"
    kept = storage.read(name)
    journal.append([("request", request(2))])
    (tmp_path / "session" / name).write_bytes(kept)  # the storage had nothing more when the writer was killed
    archive = Archive(storage)
    archive.refresh()
    assert [each["call"] for each in archive.in_doubt()] == ["c1"]
    assert intents.take_in("u-1", "session_x", archive) == 1
    assert [each["call"] for each in archive.in_doubt()] == ["c1", "c2"]
    assert not archive.damage and not list(folder.rglob("*.intents*"))
    assert intents.take_in("u-1", "session_x", archive) == 0


def test_who_ends_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "session")
    (tmp_path / "session" / "llm_archive").mkdir()
    journal = Journal(storage, "session_x", Redactor(), refuse, intents=lambda writer: Intents("u-1", writer))
    journal.append([("request", request(1))])
    assert len(list(folder.rglob("*.intents*"))) == 2
    journal.close()
    assert not list(folder.rglob("*"))


def test_they_do_not_grow(folder: Path) -> None:
    noted = Intents("u-1", "w", turn_bytes=1000)
    for number in range(1, 200):
        noted.note(number, sealed(number))
        noted.done(number - 1)
    sizes = [path.stat().st_size for path in folder.rglob("*.intents*")]
    assert max(sizes) < 2000, sizes
    numbers = {number for number, _ in intents._lines(intents._names(folder / "u-1", "w"))}
    assert 199 in numbers, "the last one, which nobody has yet"
    noted.close()
    assert len(list(folder.rglob("*.intents*"))) == 2, "the archive does not have it"


def test_what_is_not_done_is_not_overwritten(folder: Path) -> None:
    noted = Intents("u-1", "w", turn_bytes=1000)
    for number in range(1, 100):
        noted.note(number, sealed(number))
    assert {number for number, _ in intents._lines(intents._names(folder / "u-1", "w"))} == set(range(1, 100))


def test_a_torn_line_is_left_out(folder: Path, tmp_path: Path) -> None:
    noted = Intents("u-1", "w")
    noted.note(1, sealed(1))
    noted.note(2, sealed(2)[:-20])
    (tmp_path / "session" / "llm_archive").mkdir(parents=True)
    archive = Archive(LocalStorage(tmp_path / "session"))
    archive.refresh()
    assert intents.take_in("u-1", "session_x", archive) == 1


def test_no_folder_stops_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(spill, "folders", lambda: [Path("/dev/null")])
    noted = Intents("u-1", "w")
    noted.note(1, sealed(1))
    noted.note(2, sealed(2))
    noted.close()
    assert caplog.text.count("not noted on this machine") == 1
