"""The commands that copy, move, compact and prune: what they say, and how they exit."""

from __future__ import annotations

import errno
import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from custody import layout
from custody.cli.main import main
from custody.storage.local import LocalStorage
from custody.transfer import removing

_made: Any = runpy.run_path(str(Path(__file__).parents[1] / "transfer" / "study.py"))
study, tree = _made["study"], _made["tree"]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return command


@pytest.fixture
def session(root: Path) -> Path:
    made: Path = study(root)
    return made


def test_copy_move_and_what_is_said_afterwards(run: Run, root: Path, session: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    code, out, _ = run("copy", session.name, "--root", root, "--to", one)
    assert code == 0 and "4 calls" in out and "verify --deep: sound" in out
    code, out, _ = run("copy", session, "--to", one, "--json")
    said = json.loads(out)
    assert (code, said["sent"], said["calls"], said["sound"]) == (0, 0, 4, True)
    code, out, _ = run("move", session.name, "--root", root, "--to", two)
    assert code == 0 and "is removed" in out and not session.exists()
    code, out, _ = run("move", session.name, "--root", root, "--to", two)
    assert code == 0 and str(two) in out, "a second move has nothing to do, and says where it is"
    for command in ("status", "verify", "copy"):
        code, out, err = run(command, session.name, "--root", root, *(["--to", one] if command == "copy" else []))
        assert (code, out) == (2, "") and f"its verified copy is {two}" in err
    code, _, err = run("move", session.name, "--root", root, "--to", one)
    assert code == 2 and str(two) in err, "moved elsewhere"
    assert run("verify", session.name, "--root", two, "--deep")[0] == 0
    (listed,) = json.loads(run("sessions", root, "--json")[1])
    assert listed["session"] == session.name and listed["state"] == "removed" and str(two) in listed["reason"]


def test_misuse_is_said_and_changes_nothing(run: Run, root: Path, session: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    before = tree(root)
    for words in (
        ("copy", "session_20200101_000000", "--root", root, "--to", tmp_path / "one"),
        ("copy", session, "--to", root),
        ("copy", session, "--to", session),
        ("copy", session, "--to", tmp_path / "file"),
        ("copy", session, "--to", "nobody://bucket/study"),
        ("copy", session),
        ("move", session, "--to", root),
        ("prune", "--root", root, "--older-than", "1d"),
        ("prune", "--root", root, "--verified-at", tmp_path / "one"),
        ("prune", "--root", root, "--verified-at", root, "--older-than", "1d"),
        ("prune", "--root", root, "--verified-at", tmp_path / "one", "--older-than", "1d"),
        ("prune", "--root", root, "--verified-at", root, "--older-than", "old"),
        ("prune", "--root", root, "--verified-at", root, "--keep", "1", "--yes", "--dry-run"),
    ):
        code, out, err = run(*words)
        assert code == 2 and not out and err, words
    assert tree(root) == before and not (tmp_path / "one").exists()


def test_an_interruption_says_how_to_go_on(
    run: Run, root: Path, session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = LocalStorage.put_stream

    def stops(self: LocalStorage, name: str, blocks: Iterable[bytes]) -> bool:
        if name == layout.CHRONOLOG:
            raise KeyboardInterrupt
        return put(self, name, blocks)

    monkeypatch.setattr(LocalStorage, "put_stream", stops)
    for command in ("copy", "move"):
        code, out, err = run(command, session, "--to", tmp_path / "one")
        assert (code, out) == (130, "") and "the same command goes on" in err
    _, out, _ = run("sessions", tmp_path / "one")
    assert "a copy that has not come to its end" in out
    monkeypatch.undo()
    assert run("move", session, "--to", tmp_path / "one")[0] == 0


def test_a_removal_that_was_interrupted_is_listed_with_the_reason(
    run: Run, root: Path, session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = LocalStorage.remove

    def stops(self: LocalStorage, name: str) -> None:
        if name == layout.CHRONOLOG:
            raise OSError(errno.EIO, "Input/output error")
        remove(self, name)

    monkeypatch.setattr(LocalStorage, "remove", stops)
    code, _, err = run("move", session, "--to", tmp_path / "one")
    assert code == 1 and "Input/output error" in err
    _, out, _ = run("sessions", root)
    assert "its removal was interrupted" in out and str(tmp_path / "one") in out
    monkeypatch.undo()
    code, out, _ = run("move", session.name, "--root", root, "--to", tmp_path / "one", "--json")
    assert code == 0 and json.loads(out)["session"] == session.name
    assert not session.exists() and removing.read(session) is not None


def test_an_unsound_session_is_copied_and_not_moved(run: Run, session: Path, tmp_path: Path) -> None:
    (segment,) = session.glob("llm_archive/*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b"question 1", b"question 7"))
    code, out, _ = run("copy", session, "--to", tmp_path / "one")
    assert code == 1 and "NOT SOUND" in out and "is equal (SHA-256)" in out
    code, _, err = run("move", session, "--to", tmp_path / "one")
    assert code == 1 and "not removed" in err and session.exists()


def test_a_link_is_not_moved_away(run: Run, session: Path, tmp_path: Path) -> None:
    (session / "analysis_results/link").symlink_to(tmp_path)
    code, _, err = run("move", session, "--to", tmp_path / "one")
    assert code == 2 and "analysis_results/link would be lost" in err
    code, out, _ = run("copy", session, "--to", tmp_path / "one")
    assert code == 0 and "analysis_results/link is a link" in out


def test_prune_says_what_it_would_do_and_does_it_with_yes(run: Run, root: Path, session: Path, tmp_path: Path) -> None:
    one = tmp_path / "one"
    assert run("copy", session, "--to", one)[0] == 0
    second: Path = study(root)
    words = ("prune", "--root", root, "--verified-at", one, "--older-than", "0h")
    code, out, _ = run(*words)
    assert code == 1 and "would go" in out and "nothing was: --yes" in out
    assert f"REFUSED  {second.name}: no copy at" in out and session.exists()
    code, out, err = run(*words, "--yes")
    assert code == 1 and not session.exists() and second.exists()
    assert f"removed {session}" in err and "1 of 2 sessions" in out
    code, out, _ = run(*words, "--json")
    said = json.loads(out)
    assert [(s["session"], s["action"]) for s in said["sessions"]] == [(second.name, "refuse")]


def test_prune_keeps_none_where_0_are_to_be_kept(run: Run, root: Path, session: Path, tmp_path: Path) -> None:
    assert run("copy", session, "--to", tmp_path / "one")[0] == 0
    words = ("prune", "--root", root, "--verified-at", tmp_path / "one")
    code, _, err = run(*words)
    assert code == 2 and "--keep 0: all" in err
    assert "1 of 1 sessions" in run(*words, "--keep", "0")[1]
    assert "0 of 1 sessions" in run(*words, "--keep", "1")[1]


def test_compact_has_nothing_to_do_in_a_folder(run: Run, session: Path) -> None:
    before = tree(session)
    code, out, _ = run("compact", session)
    assert code == 0 and "custody compress" in out and tree(session) == before


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own, which is no disk."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def command(*words: object) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(
        [sys.executable, "-m", "custody.cli", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "Traceback" not in ran.stderr
    return ran


def test_no_space(session: Path, disk: Path) -> None:
    (session / "analysis_results/large").write_bytes(os.urandom(300_000))
    before = tree(session)
    ran = command("copy", session, "--to", disk / "root")
    assert ran.returncode == 1 and "No space left on device" in ran.stderr
    assert "its source is as it was" in ran.stderr
    assert tree(session) == before
    assert not list(disk.rglob("session.json"))


def test_what_can_only_be_read(root: Path, session: Path, disk: Path, tmp_path: Path) -> None:
    shutil.copytree(root, disk / "root")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    there = disk / "root" / session.relative_to(root)
    ran = command("copy", there, "--to", tmp_path / "one")
    assert ran.returncode == 0 and "the source cannot be written" in ran.stdout, ran.stderr
    ran = command("move", there, "--to", tmp_path / "one")
    assert ran.returncode == 2 and "cannot be written" in ran.stderr and there.exists()
    ran = command("copy", session, "--to", disk / "another")
    assert ran.returncode == 2 and "Read-only file system" in ran.stderr
    ran = command("prune", "--root", root, "--verified-at", disk / "root", "--older-than", "0h", "--yes")
    assert ran.returncode == 0 and not session.exists(), "copies need only be read"
