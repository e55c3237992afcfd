"""What verify finds, and that many processes find the same as one."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from custody.integrity.chronolog import Chronolog
from custody.journal import closing, lines
from custody.journal.ledger import Ledger
from custody.journal.repair import repair
from custody.journal.segments import Segments
from custody.redact import Redactor
from custody.report import segments as reports
from custody.report.verify import verify
from custody.sessions import manifest as manifests

Written: Any = runpy.run_path(str(Path(__file__).parents[1] / "journal" / "sessions.py"))["Written"]


@pytest.fixture
def session(tmp_path: Path) -> Any:
    session = Written(tmp_path / "session", rotate_bytes=14_000)
    manifest = manifests.Manifest(session="session_x", project="P", experiment="E", created="", custody="0", python="3")
    manifests.write(session.storage, manifest, Redactor())
    log = Chronolog(session.storage.shared_log("SESSION_CHRONOLOG.jsonl"), Redactor())
    log.event("session_start", session_id="session_x")
    early = session.request(1000)
    sealed = session.sealed
    for number in range(40):
        log.event("llm_call_complete", call_id=session.call(number, [b"text %d " % number * 9]), success=True)
    session.sealed = sealed
    session.respond(early, 1000, [b"late, in another segment"])
    log.event("llm_call_complete", call_id=early, success=True)
    session.close()
    return session


def test_a_sound_session_is_sound(session: Any) -> None:
    for deep in (False, True):
        verdict = verify(session.storage, deep=deep)
        assert (verdict.problems, verdict.remarks, verdict.calls, verdict.sound) == ([], [], 41, True)
    assert verdict.segments > 3


def test_processes_find_what_one_finds(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    name = Segments(session.storage).list()[1][0]
    path = session.storage.root / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    one = verify(session.storage, deep=True)
    monkeypatch.setattr(reports, "ALONE", 0)
    assert vars(verify(session.storage, deep=True, processes=2)) == vars(one)
    assert any(name in problem for problem in one.problems)
    assert any("; they belong to call " in problem for problem in one.problems)


def test_an_answer_that_was_changed_with_its_checksum_is_found_by_deep(session: Any) -> None:
    """Also one that is no longer known to the ledger: the call commits to it."""
    name = Segments(session.storage).list()[0][0]
    path = session.storage.root / name
    changed = []
    for line in path.read_bytes().split(b"\n")[:-1]:
        body = line[: -len(b',"crc32":"00000000"}')]
        changed.append(lines.seal(body.replace(b"text 4 text 4", b"text 4 tezt 4")))
    path.write_bytes(b"".join(changed))
    assert verify(session.storage).sound
    found = verify(session.storage, deep=True).problems
    assert any("committed to" in problem for problem in found)
    assert any("not what it was when it was closed" in problem for problem in found)


def test_a_segment_that_is_gone_or_shorter(session: Any) -> None:
    names = [name for name, _ in Segments(session.storage).list()]
    session.storage.remove(names[1])
    path = session.storage.root / names[0]
    path.write_bytes(path.read_bytes()[:-200])
    found = verify(session.storage).problems
    assert any(f"{names[1]} is gone" in problem for problem in found)
    assert any(names[0] in problem and "when it was closed" in problem for problem in found)


def test_a_ledger_line_that_was_changed(session: Any) -> None:
    path = session.storage.root / "system_state" / "segments.jsonl"
    whole = path.read_bytes().split(b"\n")
    event = json.loads(whole[1])
    event["size"] = 5
    whole[1] = json.dumps(event).encode()
    path.write_bytes(b"\n".join(whole))
    assert any("segments.jsonl: line 3 does not follow" in problem for problem in verify(session.storage).problems)


def test_compressed_it_is_as_sound(session: Any) -> None:
    storage = session.storage
    closing.compress_all(storage, Ledger(storage), [name for name, _ in Segments(storage).list()])
    verdict = verify(storage, deep=True)
    assert (verdict.problems, verdict.calls) == ([], 41)
    path = next((storage.root / "llm_archive").glob("*.zst"))
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    for deep in (False, True):
        (problem,) = verify(storage, deep=deep).problems
        assert f"{path.name}: byte 100 is damaged, in frames that hold call " in problem
        assert "nothing is lost" in problem
    assert repair(storage, Ledger(storage))[0].corrected
    assert (verify(storage, deep=True).problems, verify(storage).remarks) == ([], [])
    data[:] = path.read_bytes()
    data[-100] ^= 1
    path.write_bytes(data)
    (problem,) = verify(storage).problems
    assert f"{path.name}: byte {len(data) - 100} is damaged, which are no call's; nothing is lost" in problem
    for place in range(0, 40 * 512, 512):
        data[place % len(data)] ^= 1
    path.write_bytes(data)
    assert any("more is damaged than can be made anew" in problem for problem in verify(storage).problems)
    path.write_bytes(b"")
    assert any(path.name.removesuffix(".zst") in problem for problem in verify(storage).problems)


def test_after_a_repair_what_was_lost_is_remarked(session: Any) -> None:
    storage = session.storage
    path = storage.root / Segments(storage).list()[0][0]
    path.write_bytes(path.read_bytes().replace(b"text 4 text 4", b"text 4 tezt 4", 1))
    assert not verify(storage).sound
    repair(storage, Ledger(storage))
    verdict = verify(storage, deep=True)
    assert verdict.problems == []
    assert any("repaired" in remark for remark in verdict.remarks)
    assert any("lines are missing" in remark for remark in verdict.remarks)


def test_zeros_at_the_end_of_a_segment_that_others_follow_are_no_torn_tail(session: Any) -> None:
    """Without --deep, too: the lines in them are missing."""
    name = Segments(session.storage).list()[1][0]
    path = session.storage.root / name
    data = path.read_bytes()
    path.write_bytes(data[:-200] + bytes(200))
    verdict = verify(session.storage)
    assert not verdict.sound
    assert [problem for problem in verdict.problems if problem.startswith(name) and "no whole line" in problem]
    assert not [remark for remark in verdict.remarks if "torn" in remark]


@pytest.mark.parametrize("begun", [b"", b'{"kind":"segment","seq":0,"for'])
def test_a_segment_that_was_only_begun_is_no_damage(session: Any, begun: bytes) -> None:
    """By a disk that was full, or a kill."""
    (session.storage.root / "llm_archive/20991231T000000-00000000-000001.jsonl").write_bytes(begun)
    verdict = verify(session.storage)
    assert verdict.sound, verdict.problems


def test_a_chronolog_is_missed_once_there_is_something_to_tell(session: Any) -> None:
    (session.storage.root / "SESSION_CHRONOLOG.jsonl").unlink()
    assert "SESSION_CHRONOLOG.jsonl is missing" in verify(session.storage).problems
    for folder in ("llm_archive", "system_state"):
        for path in (session.storage.root / folder).iterdir():
            if path.name not in ("session.json", "request_key.json"):
                path.unlink()
    assert verify(session.storage).sound, "killed while it was being created"


def test_a_repaired_first_line_is_remarked(session: Any) -> None:
    storage = session.storage
    path = storage.root / Segments(storage).list()[0][0]
    path.write_bytes(path.read_bytes().replace(b'"format"', b'"fermat"', 1))
    assert not verify(storage).sound
    repair(storage, Ledger(storage))
    verdict = verify(storage, deep=True)
    assert verdict.problems == []
    assert any("does not begin with a segment line" in remark for remark in verdict.remarks)


def test_one_segment_that_cannot_be_read_hides_no_other(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = session.storage
    names = [name for name, _ in Segments(storage).list()]
    path = storage.root / names[2]
    path.write_bytes(path.read_bytes().replace(b'"kind":"call"', b'"kind":"cell"', 1))
    real = storage.read

    def read(name: str, offset: int = 0, size: int | None = None) -> bytes:
        if name == names[0]:
            raise OSError(5, "Input/output error", name)
        return real(name, offset, size)

    monkeypatch.setattr(storage, "read", read)
    found = verify(storage).problems
    assert any(names[0] in problem and "Input/output error" in problem for problem in found)
    assert any(names[2] in problem for problem in found)


def test_a_segment_that_is_compressed_at_this_moment_is_not_gone(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder's listing may have been read before the one form came, and looked at after the other went."""
    storage = session.storage
    name, real = Segments(storage).list()[1][0], storage.list
    looks: list[str] = []

    def listed(prefix: str = "") -> Any:
        if prefix != "llm_archive/" or looks:
            return real(prefix)
        looks.append(prefix)
        missed = [entry for entry in real(prefix) if entry.name != name]
        closing.compress_all(storage, Ledger(storage), [name])
        return iter(missed)

    monkeypatch.setattr(storage, "list", listed)
    assert verify(storage, deep=True).problems == []
    assert looks
