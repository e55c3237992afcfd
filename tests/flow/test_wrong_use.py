"""What a person may get wrong: one clear line, the documented exit code, nothing lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import custody
from custody.testing.simulator import Simulator

Cli = Callable[..., "subprocess.CompletedProcess[str]"]

STUDY = """
import custody, openai, time, os
client = openai.OpenAI()
with custody.session(project="P", experiment="E") as session:
    for run in range(int(os.environ.get("RUNS", "3"))):
        with session.scope(run=run):
            client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])
    print("asked", flush=True)
    time.sleep(float(os.environ.get("LINGER", "0")))
"""


@pytest.fixture
def study(tmp_path: Path, sdk_env: Simulator, cli: Cli) -> Path:
    """A finished session; gives its folder."""
    (tmp_path / "study.py").write_text(STUDY)
    done = cli("run", "--project", "P", "--experiment", "E", "--", "python", "study.py")
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("projects/P/experiments/E/sessions/*")
    return path


def one_line(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    said = done.stderr.strip()
    assert said.startswith("custody: ") and "\n" not in said, said
    assert "Traceback" not in said
    for word in words:
        assert word in said, said


@pytest.mark.parametrize("command", ["status", "calls", "show", "verify", "resume"])
def test_no_such_session(cli: Cli, tmp_path: Path, command: str) -> None:
    one_line(cli(command, "session_20200101_000000"), 2, "no session 'session_20200101_000000'", "--root")
    (tmp_path / "file").write_text("x")
    one_line(cli(command, "file"), 2, "file is a file")
    one_line(cli(command, "."), 2, "no session")


def test_no_such_command_or_option(cli: Cli, tmp_path: Path) -> None:
    one_line(cli("run", "--", "no-such-program"), 2, "no-such-program: no such command; nothing was started")
    assert cli("run").returncode == 2
    assert cli("run", "--no-such-option", "--", "python").returncode == 2
    assert cli("frobnicate").returncode == 2
    assert not (tmp_path / "projects").exists()


def test_names_that_cannot_be_folders(cli: Cli, tmp_path: Path) -> None:
    for name in ("../up", "a/b", ".hidden", "con", "", "x" * 300):
        one_line(cli("run", "--project", name, "--", "python", "-V"), 2, "project name")
    assert not (tmp_path / "projects").exists()
    good = cli("run", "--project", "Müller (2026)", "--experiment", "実験 1", "--", "python", "-V")
    assert good.returncode == 0, good.stderr


def test_a_file_where_a_folder_should_be(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "projects").write_text("not a folder")
    one_line(cli("run", "--", "python", "-V"), 2, "projects: a file is where a folder should be")
    assert (tmp_path / "projects").read_text() == "not a folder"


def test_an_unwritable_root(cli: Cli, tmp_path: Path) -> None:
    where = tmp_path / "locked"
    where.mkdir()
    if os.geteuid() == 0:  # root writes everywhere but here
        where = Path("/proc/1")
        if not where.is_dir():
            pytest.skip("runs as root, and this system has no /proc to be refused by")
    else:
        where.chmod(0o500)
    one_line(cli("run", "--root", str(where), "--", "python", "-V"), 2, str(where), "cannot be made here")


def test_a_finished_session_is_not_reopened_by_accident(cli: Cli, study: Path, sdk_env: Simulator) -> None:
    run = ("run", "--project", "P", "--experiment", "E")
    one_line(cli(*run, "--", "python", "study.py"), 2, "is finished", f"custody resume {study.name}", "--new")
    assert sdk_env.paid() == 3
    plain = subprocess.run([sys.executable, "study.py"], cwd=study.parents[5], capture_output=True, text=True)
    assert plain.returncode == 1 and "SessionFinished" in plain.stderr
    again = cli("resume", study.name)
    assert again.returncode == 0 and "3 replayed, 0 sent" in again.stderr
    assert sdk_env.paid() == 3
    other = cli(*run, "--new", "--", "python", "study.py")
    assert other.returncode == 0 and sdk_env.paid() == 6
    assert len(list(study.parent.iterdir())) == 2
    one_line(cli(*run, "--new", "--session", study.name, "--", "python", "-V"), 2, "give one of them")


def test_a_copy_is_resumed_where_its_program_is(cli: Cli, study: Path, sdk_env: Simulator) -> None:
    """It lies below another root, where there is none."""
    assert cli("copy", study.name, "--to", "elsewhere").returncode == 0
    again = cli("resume", study.name, "--root", "elsewhere")
    assert again.returncode == 0 and "3 replayed, 0 sent" in again.stderr, again.stderr
    assert sdk_env.paid() == 3


def test_a_finished_session_that_asks_for_more_sends_only_that(cli: Cli, study: Path, sdk_env: Simulator) -> None:
    done = cli("resume", study.name, env={"RUNS": "5"})
    assert done.returncode == 0 and "3 replayed, 2 sent" in done.stderr
    assert sdk_env.paid() == 5


def test_names_that_disagree(cli: Cli, tmp_path: Path, sdk_env: Simulator) -> None:
    (tmp_path / "study.py").write_text(STUDY)
    done = cli("run", "--project", "Q", "--experiment", "E", "--", "python", "study.py")
    assert done.returncode == 1
    assert "NamesDisagree: the script asks for project 'P' (not 'Q')" in done.stderr
    assert "custody run --project 'P' --experiment 'E' -- ..." in done.stderr
    assert sdk_env.paid() == 0


def test_another_process_has_it(cli: Cli, tmp_path: Path, sdk_env: Simulator) -> None:
    (tmp_path / "study.py").write_text(STUDY)
    env = {**os.environ, "LINGER": "60"}
    with subprocess.Popen(
        [sys.executable, "study.py"], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True
    ) as living:
        assert living.stdout is not None
        assert living.stdout.readline() == "asked\n"
        (path,) = tmp_path.glob("projects/P/experiments/E/sessions/*")
        run = ("run", "--project", "P", "--experiment", "E", "--", "python", "study.py")
        one_line(cli(*run), 2, f"{path.name} is alive in process {living.pid}", "--new")
        one_line(cli("resume", path.name), 2, "is alive")
        assert '"state": "running"' in cli("status", path.name, "--json").stdout
        verified = cli("verify", path.name)
        assert verified.returncode == 0 and "the session is alive" in verified.stdout
        living.kill()
    assert '"state": "interrupted"' in cli("status", path.name, "--json").stdout
    done = cli(*run)
    assert done.returncode == 0 and "3 replayed, 0 sent" in done.stderr


def test_an_orphaned_program_keeps_its_session(cli: Cli, tmp_path: Path, sdk_env: Simulator) -> None:
    """The command dies, its program lives on: a second run must not start beside it."""
    (tmp_path / "study.py").write_text(STUDY)
    run = ("run", "--project", "P", "--experiment", "E", "--", "python", "study.py")
    command = subprocess.Popen(
        [sys.executable, "-m", "custody.cli", *run], cwd=tmp_path, env={**os.environ, "LINGER": "3"},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert command.stdout is not None
    assert command.stdout.readline() == "asked\n"
    command.kill()
    command.wait()
    one_line(cli(*run), 2, "is alive")
    command.stdout.read()  # until the orphan ends
    command.stdout.close()
    assert cli(*run).returncode == 0
    assert sdk_env.paid() == 3


def test_a_corrupt_segment(cli: Cli, study: Path, sdk_env: Simulator) -> None:
    (segment,) = (study / "llm_archive").glob("*.jsonl")
    data = segment.read_bytes()
    at = data.index(b'{"kind":"response"') + 400
    segment.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    verified = cli("verify", study.name)
    assert verified.returncode == 1
    assert f"PROBLEM  llm_archive/{segment.name}" in verified.stdout and "NOT SOUND" in verified.stdout
    assert cli("status", study.name).returncode == 0
    done = cli("resume", study.name)
    assert done.returncode == 0, done.stderr
    assert "2 replayed, 1 sent" in done.stderr, "one damaged answer costs one call, not the session"
    assert "1 damaged lines: run custody verify" in done.stderr
    assert segment.read_bytes()[at] == data[at] ^ 1, "the damaged file is evidence and stays as it is"


def test_damage_of_every_other_file(cli: Cli, study: Path) -> None:
    for name, code, word in (
        ("system_state/session.json", 1, "is damaged"),
        ("system_state/request_key.json", 1, "is damaged"),
    ):
        original = (study / name).read_bytes()
        (study / name).write_bytes(b"{")
        one_line(cli("resume", study.name), code, word)
        assert cli("verify", study.name).returncode == 1
        (study / name).write_bytes(original)
    manifest = study / "system_state/session.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"layout": 3', b'"layout": 99'))
    one_line(cli("status", study.name), 1, "has layout 99", "update custody")


def test_foreign_files_and_lost_segments(cli: Cli, study: Path) -> None:
    (segment,) = (study / "llm_archive").glob("*.jsonl")
    (study / "llm_archive" / "notes.txt").write_text("what is this")
    verified = cli("verify", study.name)
    assert verified.returncode == 1 and "llm_archive/notes.txt does not belong" in verified.stdout
    (study / "llm_archive" / "notes.txt").unlink()
    segment.unlink()
    verified = cli("verify", study.name)
    assert verified.returncode == 1 and "is not in the archive" in verified.stdout


def test_a_removed_or_swapped_chronolog_line(cli: Cli, study: Path) -> None:
    path = study / "SESSION_CHRONOLOG.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for broken in (lines[:2] + lines[3:], [lines[1], lines[0], *lines[2:]]):
        path.write_bytes(b"".join(broken))
        verified = cli("verify", study.name)
        assert verified.returncode == 1 and "SESSION_CHRONOLOG.jsonl: line" in verified.stdout
    path.write_bytes(b"".join(lines))
    assert cli("verify", study.name).returncode == 0


def test_a_moved_session_opens_and_verifies(cli: Cli, study: Path, tmp_path: Path, sdk_env: Simulator) -> None:
    moved = tmp_path / "elsewhere (copy)"
    shutil.copytree(tmp_path / "projects", moved / "projects")
    (moved / "study.py").write_text(STUDY)
    path = next(moved.glob("projects/P/experiments/E/sessions/*"))
    assert cli("verify", str(path)).returncode == 0
    shutil.rmtree(tmp_path / "projects")
    done = cli("resume", str(path), "--strict")
    assert done.returncode == 0 and "3 replayed, 0 sent" in done.stderr, done.stderr
    assert sdk_env.paid() == 3


def test_nothing_but_the_result_on_stdout(cli: Cli, study: Path) -> None:
    import json

    for words in (("status", study.name), ("calls", study.name), ("show", study.name), ("verify", study.name),
                  ("plugins",), ("doctor",)):  # fmt: skip
        done = cli(*words, "--json")
        json.loads(done.stdout)
        assert done.returncode == 0, words
    call = json.loads(cli("calls", study.name, "--json").stdout)[0]["id"]
    shown = json.loads(cli("show", study.name, call, "--json").stdout)
    assert shown["request"]["body"]["text"].startswith("{")
    one_line(cli("show", study.name, "nonsense"), 2, "no calls of", "custody calls")
    assert "Hello" in cli("show", study.name, call).stdout


def test_hostile_text_does_not_reach_the_terminal(tmp_path: Path, cli: Cli, sdk_env: Simulator) -> None:
    import openai

    evil = "\x1b[2J\x1b]0;owned\x07 \u202ereversed \x9b31m"
    client = openai.OpenAI()
    with custody.session("P", "E", root=tmp_path) as session, session.scope(corpus_file=evil):
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": evil}])
    client.close()
    call = custody.open(session.path).calls()[0].id
    for words in (("calls", session.id), ("show", session.id, call), ("status", session.id)):
        done = cli(*words)
        assert done.returncode == 0
        assert not set("\x1b\x07\x9b\u202e") & set(done.stdout)


def test_a_clock_that_jumps_back_loses_nothing(cli: Cli, study: Path, sdk_env: Simulator) -> None:
    """Order comes from sequence numbers and files, not from the clock."""
    (segment,) = (study / "llm_archive").glob("*.jsonl")
    late = segment.with_name("29991231T235959" + segment.name[15:])
    segment.rename(late)
    time.sleep(0.01)
    done = cli("resume", study.name)
    assert done.returncode == 0 and "3 replayed, 0 sent" in done.stderr


def test_a_command_without_names_takes_those_of_its_script(cli: Cli, tmp_path: Path, sdk_env: Simulator) -> None:
    (tmp_path / "study.py").write_text(STUDY)
    done = cli("run", "--", "python", "study.py")
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("projects/P/experiments/E/sessions/*"))) == 1
    assert sdk_env.paid() == 3
