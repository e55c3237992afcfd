"""What a crash left is found quickly, and one damaged line hides none of the rest."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from custody.errors import ArchiveDamaged
from custody.integrity.chronolog import Chronolog
from custody.journal import archive as archives
from custody.journal import calls, closing
from custody.journal.archive import Archive
from custody.journal.ledger import Ledger
from custody.journal.repair import repair
from custody.redact import Redactor
from custody.sessions import recovery

Written: Any = runpy.run_path(str(Path(__file__).parents[1] / "journal" / "sessions.py"))["Written"]


@pytest.fixture
def crashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Closed segments with an index, two calls in doubt in the first, and a last segment that nobody closed."""
    monkeypatch.setattr(archives, "PACK", 3)
    monkeypatch.setattr(closing, "PACK", 3)
    session = Written(tmp_path / "session", rotate_bytes=14_000)
    log = Chronolog(session.storage.shared_log("SESSION_CHRONOLOG.jsonl"), Redactor())
    session.doubts = [session.request(1000, "first doubt"), session.request(1001, "second doubt")]
    for number in range(40):
        log.event("llm_call_complete", call_id=session.call(number), success=True)
    session.journal.sync_to(session.journal._seq)
    session.closer.finish()
    return session


def opened(storage: Any) -> Archive:
    archive = Archive(storage)
    archive.refresh()
    return archive


def test_no_call_is_looked_up_by_its_id(crashed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each such look-up goes through all calls: a start took minutes after a crash at 10^4 calls."""
    archive = opened(crashed.storage)
    assert len(archive.packed) > 2

    def never(self: object, name: str) -> Any:
        raise AssertionError(f"{name} is looked up among all calls")

    monkeypatch.setattr(calls.Calls, "__getitem__", never)
    assert recovery.vanished(crashed.storage, archive) == []
    assert [doubt["call_id"] for doubt in recovery.doubts(archive)] == crashed.doubts


def test_a_damaged_request_in_doubt_hides_no_other(crashed: Any) -> None:
    """Its segment has an index, so that it is not read until it is asked for."""
    path = next(iter(sorted((crashed.storage.root / "llm_archive").glob("*.jsonl"))))
    assert path.with_suffix(".idx").exists()
    path.write_bytes(path.read_bytes().replace(b"first doubt", b"first coubt", 1))
    archive = opened(crashed.storage)
    assert [doubt["call_id"] for doubt in recovery.doubts(archive)] == crashed.doubts[1:]
    assert [doubt["call_id"] for doubt in recovery.doubts(archive)] == crashed.doubts[1:]
    assert [(d.segment, d.torn) for d in archive.damage] == [(f"llm_archive/{path.name}", False)]
    assert archive.answers() == 40


def test_what_a_repair_lost_does_not_keep_the_session_shut(crashed: Any) -> None:
    """It was said when it was repaired; the last segment is still not closed."""
    path = next(iter(sorted((crashed.storage.root / "llm_archive").glob("*.jsonl"))))
    data = path.read_bytes()
    at = data.index(b'{"kind":"call"')
    path.write_bytes(data[: at + 40] + b"#" + data[at + 41 :])
    assert len(repair(crashed.storage, Ledger(crashed.storage))) == 1
    archive = opened(crashed.storage)
    assert archive.answers() == 39
    recovery.refuse_if_vanished(crashed.storage, archive)
    crashed.storage.remove(sorted(name for name, _ in archive.segments.list())[1])
    with pytest.raises(ArchiveDamaged, match="are gone"):
        recovery.refuse_if_vanished(crashed.storage, opened(crashed.storage))
