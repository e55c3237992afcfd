"""A copy is the same session, byte for byte, or says what is in its way and changes nothing."""

from __future__ import annotations

import errno
import runpy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import custody
from custody import layout
from custody.errors import SessionBusy, StorageError, UsageError
from custody.report.verify import verify
from custody.sessions import heads
from custody.storage.folders import at
from custody.storage.local import LocalStorage
from custody.storage.shared import SharedLocalStorage
from custody.transfer import copying, places, streaming

_made: Any = runpy.run_path(str(Path(__file__).with_name("study.py")))
study, tree, without_carried = _made["study"], _made["tree"], _made["without_carried"]


def copy(session: Path, root: Path) -> copying.Copied:
    with places.held(session, "copied") as source:
        return copying.copy(source, root)[0]


def there(session: Path, root: Path) -> Path:
    return root / session.relative_to(session.parents[5])


def test_a_copy_is_the_same_session(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "BLOCK", 10_000)
    session, other = study(root, large=35_000), tmp_path / "other"
    before = tree(root)
    copied = copy(session, other)
    assert without_carried(tree(there(session, other))) == tree(session)
    assert (copied.calls, copied.sound, copied.problems, copied.remarks) == (4, True, [], [])
    assert (copied.sent, copied.files, copied.bytes) == (
        copied.files,
        len(tree(session)),
        sum(map(len, tree(session).values())),
    )
    assert tree(root) == before, "the source was touched"
    frozen = session.parents[1] / layout.FRAMEWORK_SNAPSHOT
    assert there(session, other).parents[1].joinpath(frozen.name).read_bytes() == frozen.read_bytes()
    again = copy(session, other)
    assert (again.sent, again.sent_bytes, again.sound) == (0, 0, True)


def test_a_copy_replays_and_goes_on_and_the_next_one_beside_it_stays_sound(root: Path, tmp_path: Path) -> None:
    """The project's chronolog of the target is begun by the first that goes on there, and knows nothing of others."""
    one, two, other = study(root), study(root, experiment="F"), tmp_path / "other"
    copy(one, other), copy(two, other)
    with custody.session("P", "E", root=other, session=one.name, strict=True) as session:
        assert session.resumed
    for each in (one, two):
        verdict = verify(at(there(each, other)), deep=True)
        assert (verdict.problems, verdict.remarks) == ([], [])
    bound = heads.bound(LocalStorage(there(two, other)), "project")
    assert bound is not None and not heads.upto((other / "projects/P/PROJECT_CHRONOLOG_P.jsonl").read_bytes(), bound)
    (carried,) = there(two, other).glob("system_state/project_chronolog-*.jsonl")
    carried.write_bytes(carried.read_bytes()[:-1] + b" \n")
    assert verify(at(there(two, other))).problems, "nothing shows whether the project's chronolog was cut"


def test_what_is_there_and_equal_is_not_sent_again(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session, other = study(root), tmp_path / "other"
    put = LocalStorage.put_stream

    def fails(self: LocalStorage, name: str, blocks: Iterable[bytes]) -> bool:
        if name.endswith("one.json"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return put(self, name, blocks)

    with monkeypatch.context() as patches:
        patches.setattr(LocalStorage, "put_stream", fails)
        with pytest.raises(StorageError, match=r"one\.json: No space left.*not finished.*make room"):
            copy(session, other)
    with pytest.raises(custody.errors.SessionNotFound):
        verify(at(there(session, other)))
    was = tree(there(session, other))
    assert layout.COPYING in was and layout.MANIFEST not in was and len(was) > 3
    copied = copy(session, other)
    assert 0 < copied.sent < copied.files
    assert without_carried(tree(there(session, other))) == tree(session)


def test_an_unfinished_copy_of_a_session_that_went_on_is_brought_to_its_end(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, other = study(root), tmp_path / "other"
    put = LocalStorage.put_stream

    def stops(self: LocalStorage, name: str, blocks: Iterable[bytes]) -> bool:
        if name == layout.MANIFEST:
            raise KeyboardInterrupt
        return put(self, name, blocks)

    with monkeypatch.context() as patches:
        patches.setattr(LocalStorage, "put_stream", stops)
        with pytest.raises(KeyboardInterrupt):
            copy(session, other)
    with custody.session("P", "E", root=root, session=session.name):
        pass
    assert tree(there(session, other))[layout.HEAD] != tree(session)[layout.HEAD]
    assert copy(session, other).sound
    assert without_carried(tree(there(session, other))) == tree(session)


@pytest.mark.parametrize("name", [layout.MANIFEST, layout.CHRONOLOG, "analysis_results/individual_analyses/one.json"])
def test_nothing_is_overwritten(root: Path, tmp_path: Path, name: str) -> None:
    session, other = study(root), tmp_path / "other"
    copy(session, other)
    path = there(session, other) / name
    path.write_bytes(path.read_bytes()[:-2] + b"!\n")
    before = tree(other)
    with pytest.raises(UsageError, match=rf"{name} has other bytes.*Nothing was overwritten"):
        copy(session, other)
    assert tree(other) == before


def test_a_source_that_went_on_and_a_target_that_did_are_refused(root: Path, tmp_path: Path) -> None:
    session, one, two = study(root), tmp_path / "one", tmp_path / "two"
    copy(session, one), copy(session, two)
    with custody.session("P", "E", root=one, session=session.name):
        pass
    with pytest.raises(UsageError, match="other bytes"):
        copy(session, one)
    with custody.session("P", "E", root=root, session=session.name):
        pass
    with pytest.raises(UsageError, match="other bytes"):
        copy(session, two)


def test_a_file_that_the_source_has_more_is_brought_and_one_that_it_has_not_is_named(
    root: Path, tmp_path: Path
) -> None:
    session, other = study(root), tmp_path / "other"
    copy(session, other)
    (session / "analysis_results" / "later.txt").write_text("later")
    assert copy(session, other).sent == 1
    (there(session, other) / "analysis_results" / "foreign.txt").write_text("?")
    with pytest.raises(UsageError, match=r"foreign\.txt has no source"):
        copy(session, other)


def test_another_frozen_framework_is_not_overwritten(root: Path, tmp_path: Path) -> None:
    session, other = study(root), tmp_path / "other"
    experiment = there(session, other).parents[1]
    experiment.mkdir(parents=True)
    (experiment / layout.FRAMEWORK_SNAPSHOT).write_text("another")
    with pytest.raises(UsageError, match=r"another framework_snapshot\.md"):
        copy(session, other)
    assert tree(other) == {(experiment / layout.FRAMEWORK_SNAPSHOT).relative_to(other).as_posix(): b"another"}
    assert not there(session, other).exists()


def test_a_session_that_is_open_is_not_copied_and_not_copied_to(root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    with custody.session("P", "E", root=root) as session, pytest.raises(SessionBusy, match="open in another process"):
        assert isinstance(session.path, Path)
        copy(session.path, other)
    assert not other.exists()
    copy(session.path, other)
    with custody.session("P", "E", root=other, session=session.id), pytest.raises(SessionBusy):
        copy(session.path, other)


def test_what_belongs_to_machines_stays_and_claims_go_along(root: Path, tmp_path: Path) -> None:
    """A claim that its owner died with says that a call may have been sent: at the copy nobody has a heartbeat."""
    session, other = study(root), tmp_path / "other"
    mine = SharedLocalStorage(session, "one", create=False)
    claim = mine.leases.claim(layout.CLAIMS, b"a call")
    assert claim is not None
    with pytest.raises(SessionBusy):
        copy(session, other)
    mine.leases.heartbeat.end()  # and nothing is released: it was killed
    copied = copy(session, other)
    names = set(tree(there(session, other)))
    assert claim.name in names and copied.sound
    assert not [name for name in names if name.startswith(("system_state/workers/", "system_state/owner/"))]
    taken = SharedLocalStorage(there(session, other), "two", create=False).leases
    found = taken.claim(layout.CLAIMS, b"a call")
    assert found is not None and found.taken_from is not None and found.taken_from.worker == "one"
    taken.close()


def test_a_damaged_session_is_copied_as_it_is_and_said(root: Path, tmp_path: Path) -> None:
    session, other = study(root), tmp_path / "other"
    (segment,) = session.glob("llm_archive/*.jsonl")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    copied = copy(session, other)
    assert not copied.sound and any(segment.name in problem for problem in copied.problems)
    assert (there(session, other) / "llm_archive" / segment.name).read_bytes() == bytes(data)


def test_a_target_that_does_not_keep_what_it_was_given_is_found_out(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, other = study(root), tmp_path / "other"
    put = LocalStorage.put_stream

    def rots(self: LocalStorage, name: str, blocks: Iterable[bytes]) -> bool:
        whole = b"".join(blocks)
        return put(self, name, [whole[:-2] + b"?\n"] if name == layout.CHRONOLOG else [whole])

    monkeypatch.setattr(LocalStorage, "put_stream", rots)
    with pytest.raises(StorageError, match="does not read as it was written"):
        copy(session, other)
    assert not (there(session, other) / layout.MANIFEST).exists()


@pytest.mark.parametrize("where", ["", "projects", "projects/P/experiments/E/sessions/{}/inner"])
def test_a_root_that_is_the_source_or_lies_in_it_is_refused(root: Path, where: str) -> None:
    session = study(root)
    before = tree(root)
    with pytest.raises(UsageError):
        copy(session, (root / where.format(session.name)).resolve())
    assert tree(root) == before


def test_a_link_to_the_source_is_no_other_place(root: Path, tmp_path: Path) -> None:
    session, other = study(root), tmp_path / "other"
    there(session, other).parent.mkdir(parents=True)
    there(session, other).symlink_to(session, target_is_directory=True)
    with pytest.raises(UsageError, match="same folder under two names"):
        copy(session, other)


def test_links_are_left_out_and_named(root: Path, tmp_path: Path) -> None:
    session, other = study(root), tmp_path / "other"
    (tmp_path / "secret").write_text("not of the session")
    (session / "analysis_results" / "link").symlink_to(tmp_path / "secret")
    copied = copy(session, other)
    assert copied.left_out == ["analysis_results/link"]
    assert "analysis_results/link" not in tree(there(session, other))
