"""A migration is verified, changes nothing when made again, survives a kill, and is taken back without a trace."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from custody.cli.main import main
from custody.errors import SessionBusy, StorageError, UsageError
from custody.migrate import apply, check, plan, record, rollback
from custody.report.stored import StoredSession
from custody.report.verify import verify
from custody.storage.local import LocalStorage

NAMES = ("gen2", "ensemble", "gen3a", "gen3b", "gen4")

Tree = Callable[[str], Path]
Digests = Callable[[Path], dict[str, str]]


def cli(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "custody.cli", "migrate", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def sessions(destination: Path) -> list[Path]:
    return sorted(destination.glob("projects/*/experiments/*/sessions/session_*"))


@pytest.mark.parametrize("name", NAMES)
def test_verified_and_taken_back(name: str, tree: Tree, digests: Digests, tmp_path: Path) -> None:
    source, destination = tree(name), tmp_path / "new"
    before = digests(source)
    made, changed = apply.apply(plan.make(source), destination)
    assert changed
    assert made.state == "complete"
    assert digests(source) == before

    (verdict,) = check.verify(destination, source)
    assert (verdict.problems, verdict.sound) == ([], True)
    for file in made.files:  # every source file is there byte for byte, or ignored with a reason
        if file.goes_to is None:
            assert file.disposition == "ignored" and file.reason
        else:
            assert (destination / file.goes_to).read_bytes() == (source / file.path).read_bytes()
    assert sessions(destination)
    for session in sessions(destination):
        assert verify(LocalStorage(session, create=False)).problems == []
        assert StoredSession(session).status()["state"] == "interrupted"

    after = digests(destination)
    assert apply.apply(plan.make(source), destination)[1] is False
    assert digests(destination) == after

    (removed,) = rollback.rollback(destination)
    assert removed.left == []
    assert list(destination.iterdir()) == []
    assert digests(source) == before
    again, _ = apply.apply(plan.make(source), destination)  # and it can be made once more
    assert [s.session for s in again.sessions] == [s.session for s in made.sessions]


def test_the_commands(tree: Tree, digests: Digests, tmp_path: Path) -> None:
    source, destination = tree("gen3b"), tmp_path / "new root"
    before = digests(tmp_path)
    dry = cli(source, destination)
    assert dry.returncode == 0, dry.stderr
    assert "nothing was written" in dry.stdout and "all accounted for" in dry.stdout
    assert "default_dev_key" in dry.stdout and "proves nothing" in dry.stdout
    assert digests(tmp_path) == before

    planned = json.loads(cli(source, destination, "--json").stdout)
    assert (planned["calls"]["answers"], planned["applied"], planned["changed"]) == (4, False, False)
    assert digests(tmp_path) == before
    applied = json.loads(cli(source, destination, "--apply", "--json").stdout)
    assert (applied["applied"], applied["changed"]) == (True, True)
    assert [s["session"] for s in applied["sessions"]] == [s["session"] for s in planned["sessions"]]
    assert "nothing was changed" in cli(source, destination, "--apply").stdout
    assert cli("--verify", source, destination).returncode == 0
    assert json.loads(cli("--verify", destination, "--json").stdout)[0]["sound"] is True

    back = cli("--rollback", destination)
    assert back.returncode == 0, back.stderr
    assert digests(source) == {k.partition("/")[2]: v for k, v in before.items() if k.startswith("old gen3b/")}


def test_misuse_is_one_clear_line(tree: Tree, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, destination = tree("gen4"), tmp_path / "new"
    for words in (
        ("--rollback", destination), ("--verify", destination), (source,), (source, destination, "--force"),
        (source, source / "inside"), (tmp_path / "nowhere", destination), (source, tmp_path, "--apply"),
        (source, destination, "--apply", "--rollback"), (source, destination, "--project", "a/b"),
    ):  # fmt: skip
        with pytest.raises(SystemExit) as ended:
            main(["migrate", *map(str, words)])
        assert ended.value.code == 2, words
        assert len(capsys.readouterr().err.splitlines()) == 1, words
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old gen4"]


KILLED = """
import os, signal, sys
from custody.migrate import apply, plan
from pathlib import Path

left = int(sys.argv[3])
rename = os.rename

def killed(*arguments):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    rename(*arguments)

os.rename = killed
apply.apply(plan.make(Path(sys.argv[1])), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("renames", [0, 3, 5, 6])
def test_killed_and_made_again(renames: int, tree: Tree, digests: Digests, tmp_path: Path) -> None:
    source, destination = tree("gen3a"), tmp_path / "new"
    before = digests(source)
    killed = subprocess.run([sys.executable, "-c", KILLED, source, destination, str(renames)], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = check.verify(destination)
    assert not left.sound and "run the same command again" in left.problems[0]
    for session in sessions(destination):  # what is there is there whole
        assert verify(LocalStorage(session, create=False)).sound
    copy = shutil.copytree(destination, tmp_path / "not finished", symlinks=True)
    rollback.rollback(copy)  # it is taken back from wherever it came to
    assert list(copy.iterdir()) == []
    apply.apply(plan.make(source), destination)
    (verdict,) = check.verify(destination, source)
    assert verdict.problems == []
    assert not [p for p in destination.rglob("*") if p.name.startswith((".migrating", ".tmp"))]
    events = (destination / "projects/harbour/PROJECT_CHRONOLOG_harbour.jsonl").read_text().count("session_migrated")
    assert events == 2
    rollback.rollback(destination)
    assert list(destination.iterdir()) == []
    assert digests(source) == before


def test_a_rollback_that_was_killed_is_finished(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, destination = tree("gen3a"), tmp_path / "new"
    apply.apply(plan.make(source), destination)

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("shutil.rmtree", stop)
        rollback.rollback(destination)
    with pytest.raises(UsageError, match="is being taken back"):
        apply.apply(plan.make(source), destination)
    rollback.rollback(destination)
    assert list(destination.iterdir()) == []


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("**/legacy_originals/**/*machine.jsonl", "was changed"),
        ("**/llm_archive/*.jsonl", "was changed"),
        ("**/SESSION_CHRONOLOG.jsonl", "was changed"),
        ("**/migration.json", "was changed"),
    ],
)
def test_a_change_is_found_and_not_rolled_back(pattern: str, words: str, migrated: Tree, digests: Digests) -> None:
    destination = migrated("gen3b")
    path = next(destination.glob(pattern))
    data = path.read_bytes()
    path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    (verdict,) = check.verify(destination)
    assert not verdict.sound
    assert any(words in problem and path.name in problem for problem in verdict.problems)
    before = digests(destination)
    with pytest.raises(UsageError, match="left it: 1 files were changed"):
        rollback.rollback(destination)
    assert digests(destination) == before
    rollback.rollback(destination, force=True)
    assert not sessions(destination)


def test_what_is_lost_is_found(migrated: Tree) -> None:
    destination = migrated("gen4")
    next(destination.glob("**/legacy_originals/**/response_002.txt")).unlink()
    (verdict,) = check.verify(destination)
    assert len(verdict.problems) == 1 and "is missing" in verdict.problems[0]


def test_a_source_that_changed_is_told_apart(tree: Tree, tmp_path: Path) -> None:
    source, destination = tree("gen3b"), tmp_path / "new"
    apply.apply(plan.make(source), destination)
    (source / "projects/MVA/experiment_2/corpus/third.txt").write_text("new")
    (source / "projects/MVA/README").unlink()
    (verdict,) = check.verify(destination, source)
    assert [("README" in p, "third.txt" in p) for p in verdict.problems] == [(True, False), (False, True)]
    with pytest.raises(UsageError, match="another state of the source"):
        apply.apply(plan.make(source), destination)


def test_nothing_of_others_is_touched(tree: Tree, tmp_path: Path, digests: Digests) -> None:
    """Two sources in one destination, beside a file of the user's: each goes alone."""
    destination = tmp_path / "new"
    apply.apply(plan.make(tree("gen3b")), destination)
    (destination / "projects/MVA/my notes.md").write_text("mine")
    before = digests(destination)
    other = tree("gen3a")
    apply.apply(plan.make(other), destination)
    assert len(record.read_all(destination)) == 2
    assert len({path.name for path in sessions(destination)}) == 3
    rollback.rollback(destination)
    assert [p.name for p in destination.rglob("*") if p.is_file()] == ["my notes.md"]
    assert "projects/MVA/my notes.md" in before


def test_copies_of_one_experiment_are_sessions_each(tmp_path: Path, trees: Any, digests: Digests) -> None:
    """A backup beside it, in one source; and two sources of one project, taken back together."""
    source, other, destination = tmp_path / "old", tmp_path / "other", tmp_path / "new"
    trees.gen3b(source)
    trees.gen3b(source / "backup")
    trees.gen3a(other)
    made, _ = apply.apply(plan.make(source), destination)
    assert [s.session for s in made.sessions] == ["session_20250717_195121", "session_20250717_195121_2"]
    (destination / made.name).write_text(
        made.model_copy(update={"state": "begun"}).model_dump_json()  # as an interrupted one
    )
    before = digests(destination)
    again, _ = apply.apply(plan.make(source), destination)
    assert again.sessions == made.sessions
    assert {k: v for k, v in digests(destination).items() if "migration_" not in k} == {
        k: v for k, v in before.items() if "migration_" not in k
    }
    apply.apply(plan.make(other, project="MVA"), destination)
    assert all(verdict.sound for verdict in check.verify(destination))
    assert all(one.left == [] for one in rollback.rollback(destination))
    assert list(destination.iterdir()) == []


def test_a_run_that_only_a_chronolog_knows(tmp_path: Path, trees: Any) -> None:
    """Its folders were deleted; the experiment is not known where there are two."""
    trees.ensemble(tmp_path / "old")
    for kept in ("experiment_1", "experiment_2"):
        trees.write(tmp_path / f"old/projects/harbour/{kept}/results/2025-07-14_10-00-00/session_run.log", "")
    for path in (tmp_path / "old/projects/harbour/results").rglob("*"):
        if path.is_file():
            path.unlink()
    made, _ = apply.apply(plan.make(tmp_path / "old"), tmp_path / "new")
    found = {(s.experiment, s.run): (s.calls, s.answers) for s in made.sessions}
    assert found == {
        ("harbour/harbour", "session_20250713_190034"): (4, 2),
        ("harbour/experiment_1", "2025-07-14_10-00-00"): (0, 0),
        ("harbour/experiment_2", "2025-07-14_10-00-00"): (0, 0),
    }
    (verdict,) = check.verify(tmp_path / "new")
    assert verdict.problems == []


def test_a_file_in_the_way_is_not_overwritten(tree: Tree, tmp_path: Path) -> None:
    source, destination = tree("gen3b"), tmp_path / "new"
    planned = plan.make(source)
    target = next(f.goes_to for f in planned.files if f.path.endswith("experiment_2.md"))
    assert target is not None
    (destination / target).parent.mkdir(parents=True)
    (destination / target).write_text("somebody else's")
    with pytest.raises(StorageError, match="is there already, and is another file"):
        apply.apply(planned, destination)
    assert (destination / target).read_text() == "somebody else's"


def test_a_file_that_changes_meanwhile_is_not_copied(tree: Tree, tmp_path: Path) -> None:
    source, destination = tree("gen3b"), tmp_path / "new"
    planned = plan.make(source)
    (source / "projects/MVA/README").write_text("changed since")
    with pytest.raises(StorageError, match="was changed while it was migrated"):
        apply.apply(planned, destination)
    assert not sessions(destination)


def test_a_session_that_is_alive_is_not_removed(migrated: Tree) -> None:
    destination = migrated("gen3b")
    (session,) = sessions(destination)
    lock = LocalStorage(session).lock("system_state/owner.lock")
    assert lock is not None
    with pytest.raises(SessionBusy):
        rollback.rollback(destination)
    lock.release()
    rollback.rollback(destination)


def test_one_migration_at_a_time(tree: Tree, tmp_path: Path) -> None:
    destination = tmp_path / "new"
    destination.mkdir()
    with record.alone(destination), pytest.raises(SessionBusy, match="another migration is under way"):
        apply.apply(plan.make(tree("gen4")), destination)


def test_a_copy_that_was_moved_verifies(migrated: Tree, tmp_path: Path) -> None:
    """Nothing in a destination says where it lies."""
    destination = migrated("gen2")
    moved = tmp_path / "другое место (2)"
    os.rename(destination, moved)
    (verdict,) = check.verify(moved)
    assert verdict.sound
    everything = b"".join(path.read_bytes() for path in moved.rglob("*") if path.is_file())
    assert str(tmp_path).encode() not in everything
    assert b"sk-not-to-be-copied" not in everything
