"""Prune removes nothing of which no sound, equal copy lies elsewhere."""

from __future__ import annotations

import os
import runpy
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import custody
from custody import layout
from custody.errors import SessionRemoved, UsageError
from custody.journal import closing, spill
from custody.journal.ledger import Ledger
from custody.journal.segments import Segments
from custody.sessions import manifest as manifests
from custody.sessions import workers
from custody.storage.local import LocalStorage
from custody.transfer import copying, places, removing, retention
from custody.transfer.retention import Decision, Rule

_made: Any = runpy.run_path(str(Path(__file__).with_name("study.py")))
study, tree = _made["study"], _made["tree"]

ALL = Rule(retention.before("0h"))


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return tmp_path / "other"


def copied(root: Path, other: Path, **options: Any) -> tuple[Path, Path]:
    """A session and its copy."""
    session: Path = study(root, **options)
    with places.held(session, "copied") as source:
        copying.copy(source, other)
    return session, other / session.relative_to(root)


def prune(root: Path, other: Path, rule: Rule | None = None, *, apply: bool = True) -> list[Decision]:
    return list(retention.prune(root, other, rule or Rule(retention.before("0h")), apply=apply))


def test_what_has_a_copy_goes_and_leaves_a_record(root: Path, other: Path) -> None:
    session, copy = copied(root, other)
    (frozen,) = session.parents[1].glob("framework_snapshot.md")
    before = tree(root)
    (would,) = prune(root, other, apply=False)
    assert (would.action, would.calls, would.in_doubt, would.copy) == ("remove", 4, 0, str(copy))
    assert tree(root) == before, "without --yes nothing is changed"
    (done,) = prune(root, other)
    assert done.action == "removed" and not session.exists() and frozen.exists()
    record = removing.read(session)
    assert record is not None and (record.copy, record.by, record.calls) == (str(copy), "prune", 4)
    assert {one["name"] for one in record.files} < set(tree(copy))
    with pytest.raises(SessionRemoved, match=str(copy)):
        layout.find_session(root, session.name)
    assert prune(root, other) == []
    with pytest.raises(SessionRemoved):  # which would make one of this name where there is none
        workers.choose(root, "P", "E", session.name, new=False)


def test_age_and_number_keep(root: Path, other: Path) -> None:
    sessions = [copied(root, other)[0] for _ in range(3)]
    kept = prune(root, other, Rule(retention.before("1d")))
    assert [(one.action, one.why) for one in kept] == [("keep", "not old enough")] * 3
    assert prune(root, other, Rule(retention.before("0h"), project="Q")) == []
    done = prune(root, other, Rule(retention.before("0h"), keep=2))
    assert [one.action for one in done] == ["removed", "keep", "keep"]
    assert [session.exists() for session in sessions] == [False, True, True]


@pytest.mark.parametrize("text", ["", "90", "d", "-1d", "1.5d", "90 d", "9999999d", "٣d"])
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(UsageError, match="no age"):
        retention.age(text)


def test_ages() -> None:
    assert [retention.age(text) for text in ("90d", "8w", "12h")] == [
        timedelta(days=90), timedelta(weeks=8), timedelta(hours=12)
    ]  # fmt: skip


def _cut(copy: Path) -> None:
    path = copy / layout.CHRONOLOG
    path.write_bytes(path.read_bytes()[:-1])


def _same_size(copy: Path) -> None:
    path = copy / "analysis_results/individual_analyses/one.json"
    path.write_bytes(path.read_bytes().replace(b"1", b"2"))


def _segment(copy: Path) -> None:
    (path,) = copy.glob("llm_archive/*.jsonl")
    path.write_bytes(path.read_bytes().replace(b"question 1", b"question 7"))


SPOILT: dict[str, Callable[[Path], object]] = {
    "a cut chronolog": _cut,
    "another result of the same size": _same_size,
    "another segment": _segment,
    "a file less": lambda copy: (copy / layout.REQUEST_KEY).unlink(),
    "a file more": lambda copy: (copy / "analysis_results/more.txt").write_text("more"),
    "no manifest": lambda copy: (copy / layout.MANIFEST).unlink(),
    "not finished": lambda copy: (copy / layout.COPYING).write_text("{}"),
    "another framework": lambda copy: (copy.parents[1] / layout.FRAMEWORK_SNAPSHOT).write_text("another"),
    "no framework": lambda copy: (copy.parents[1] / layout.FRAMEWORK_SNAPSHOT).unlink(),
    "another ledger": lambda copy: (copy / layout.SEGMENTS).write_text(""),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_copy_that_is_not_the_same_keeps_the_session(root: Path, other: Path, what: str) -> None:
    session, copy = copied(root, other)
    before = tree(root)
    SPOILT[what](copy)
    (refused,) = prune(root, other)
    assert refused.action == "refuse" and str(copy) in refused.why + str(copy.parents[1])
    assert tree(root) == before and session.exists()


def test_an_unsound_copy_keeps_the_session_though_it_is_the_same(root: Path, other: Path) -> None:
    session, copy = copied(root, other)
    for place in (session, copy):
        _segment(place)
    (refused,) = prune(root, other)
    assert refused.action == "refuse" and "not sound" in refused.why and session.exists()


@pytest.mark.parametrize("compressed", ["the session", "the copy"])
def test_the_same_lines_compressed_are_the_same(root: Path, other: Path, compressed: str) -> None:
    session, copy = copied(root, other)
    storage = LocalStorage(session if compressed == "the session" else copy)
    closing.compress_all(storage, Ledger(storage), [name for name, _ in Segments(storage).list()])
    assert list(storage.root.glob("llm_archive/*.zst"))
    (done,) = prune(root, other)
    assert (done.action, done.why) == ("removed", "")
    assert not session.exists()
    session.mkdir()  # as if it had been killed shortly before its end
    (session / "system_state").mkdir()
    (session / layout.REQUEST_KEY).write_bytes((copy / layout.REQUEST_KEY).read_bytes())
    (again,) = prune(root, other)
    assert (again.action, again.why) == ("removed", "its removal was interrupted")
    assert not session.exists()


def test_one_that_went_on_is_kept_wherever_it_did(root: Path, other: Path) -> None:
    session, copy = copied(root, other)
    with custody.session("P", "E", root=other, session=session.name):
        pass
    (refused,) = prune(root, other)
    assert refused.action == "refuse" and session.exists() and copy.exists()


def test_what_is_open_is_kept(root: Path, other: Path) -> None:
    session, _ = copied(root, other)
    with custody.session("P", "E", root=other, session=session.name):
        (refused,) = prune(root, other)
        assert refused.action == "refuse" and "open in another process" in refused.why
    with custody.session("P", "E", root=root, session=session.name):
        (kept,) = prune(root, other)
        assert kept.action == "keep" and "open" in kept.why


def test_calls_in_doubt_are_spoken_of(root: Path, other: Path) -> None:
    session, copy = copied(root, other)
    for place in (session, copy):
        (segment,) = place.glob("llm_archive/*.jsonl")
        lines = segment.read_bytes().split(b"\n")
        assert b'"kind":"call"' in lines[-2]
        segment.write_bytes(b"\n".join(lines[:-3]) + b"\n")  # as a kill leaves it
        (place / layout.SEGMENTS).write_bytes((place / layout.SEGMENTS).read_bytes().split(b"\n")[0] + b"\n")
        events = (place / layout.CHRONOLOG).read_bytes().split(b"\n")
        (place / layout.CHRONOLOG).write_bytes(b"\n".join(events[:-3]) + b"\n")
        (place / layout.HEAD).unlink()
    (would,) = prune(root, other, apply=False)
    assert (would.action, would.in_doubt) == ("remove", 1), would.why


def test_records_in_the_spill_are_in_no_copy(root: Path, other: Path) -> None:
    session, _ = copied(root, other)
    spill.keep(manifests.unique_name(LocalStorage(session)), "writer", [b"a line\n"])
    (refused,) = prune(root, other)
    assert refused.action == "refuse" and "custody resume" in refused.why


def test_a_root_is_no_copy_of_itself(root: Path, tmp_path: Path) -> None:
    session = study(root)
    alias = tmp_path / "alias"
    alias.symlink_to(root, target_is_directory=True)
    (refused,) = prune(root, alias)
    assert refused.action == "refuse" and session.exists()
    inner = tmp_path / "inner" / session.relative_to(root).parent
    inner.mkdir(parents=True)
    os.symlink(session, inner / session.name)
    (refused,) = prune(root, tmp_path / "inner")
    assert refused.action == "refuse" and "same folder" in refused.why and session.exists()


def test_two_roots_that_are_pruned_against_each_other_keep_one(root: Path, other: Path) -> None:
    session, copy = copied(root, other)
    with places.held(copy, "removed", must=True):  # the other one is at it
        (refused,) = prune(root, other)
    assert refused.action == "refuse" and session.exists()
