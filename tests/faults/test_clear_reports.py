"""Whatever lies in a session's folder, every command answers in words: an exit code as documented, no traceback."""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from campaign import LONG, damage
from campaign.attack import Study
from campaign.tally import Tallies, Tally

from custody import errors
from custody.cli.main import main
from custody.journal import lines
from custody.testing.simulator import Simulator

COMMANDS = ("status", "calls", "show", "verify", "forensics", "explain-miss")
EXITS = {0, 1, 2}


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interrupted session: four calls, and a fifth that is in doubt."""
    with Simulator() as sim:
        study = Study(tmp_path_factory.mktemp("clear"), sim, Tally("clear"))
        with study.run(study.job(40, rotate_bytes=16 * 1024)) as run:
            run.listen(6)
            run.kill()
            run.wait()
    assert study.path is not None
    return study.path


def said(*words: str) -> tuple[int, str]:
    """Run a command in this process; gives its exit code and what it wrote to stderr, a traceback if it had one."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(list(words))
        except SystemExit as end:
            return int(end.code or 0), err.getvalue()
        except BaseException:
            return -1, traceback.format_exc()
    return 0, err.getvalue()


def clear(counted: Tally, what: str, path: Path, commands: tuple[str, ...] = COMMANDS) -> dict[str, tuple[int, str]]:
    """Every command says it in words."""
    answers = {}
    for command in commands:
        counted.states += 1
        code, text = answers[command] = said(command, str(path), *(["--last"] if command == "explain-miss" else []))
        if code not in EXITS or "Traceback" in text:
            counted.wrong(f"{what}: custody {command} exits with {code}: {text.strip()[-300:]}")
        elif code and text and not text.startswith("custody: "):
            counted.wrong(f"{what}: custody {command} says {text.strip()[:200]!r}")
    return answers


def _newer_layout(path: Path) -> None:
    _replace(path / "system_state/session.json", b'"layout": 3', b'"layout": 99')


def _newer_format(path: Path) -> None:
    (path / "llm_archive/20991231T000000-00000000-000001.jsonl").write_bytes(
        lines.seal(lines.unsealed("segment", 0, {"format": 99, "session": "s", "writer": "w", "number": 1, "new": [1]}))
    )


def _replace(file: Path, old: bytes, new: bytes) -> None:
    data = file.read_bytes()
    assert old in data
    file.write_bytes(data.replace(old, new))


def _into_a_folder(name: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        (path / name).unlink()
        (path / name).mkdir()

    return change


def _with(name: str, data: bytes | None) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        if data is None:
            (path / name).unlink()
        else:
            (path / name).write_bytes(data)

    return change


def _without_folder(name: str) -> Callable[[Path], None]:
    return lambda path: shutil.rmtree(path / name)


def _a_link_to_itself(path: Path) -> None:
    (path / "llm_archive/20200101T000000-00000000-000001.jsonl").symlink_to("20200101T000000-00000000-000001.jsonl")


def _an_archive_that_is_a_file(path: Path) -> None:
    shutil.rmtree(path / "llm_archive")
    (path / "llm_archive").write_bytes(b"not a folder")


def _a_pipe_among_the_segments(path: Path) -> None:
    os.mkfifo(path / "llm_archive/20200101T000000-00000000-000001.jsonl")


CHRONOLOG, MANIFEST, KEY = "SESSION_CHRONOLOG.jsonl", "system_state/session.json", "system_state/request_key.json"
CHECKPOINT = "fault_recovery/resume_checkpoint.json"
SEGMENT = "llm_archive/20200101T000000-00000000-000001.jsonl"
DEEP = b"[" * 100_000

CHANGES: dict[str, Callable[[Path], None]] = {
    "a newer layout": _newer_layout,
    "a newer format": _newer_format,
    "a link to itself": _a_link_to_itself,
    "an archive that is a file": _an_archive_that_is_a_file,
    "no archive": _without_folder("llm_archive"),
    "no state": _without_folder("system_state"),
    "an empty segment": _with(SEGMENT, b""),
    "a binary segment": _with(SEGMENT, bytes(range(256)) * 64),
    "a deep segment": _with(SEGMENT, DEEP),
    "a segment that only looks like one": _with(SEGMENT, lines.seal(b'{"kind":"segment","seq":0,and no JSON')),
    "a folder among the segments": lambda path: (path / SEGMENT).mkdir(),
    "a foreign file": _with("llm_archive/notes.txt", b"\xff\xfe\x00"),
    "no chronolog": _with(CHRONOLOG, None),
    "a binary chronolog": _with(CHRONOLOG, bytes(range(256)) * 8),
    "a deep chronolog": _with(CHRONOLOG, DEEP + b"\n"),
    "a chronolog of other things": _with(CHRONOLOG, b'[]\n1\nnull\n"x"\n{}\n{"event":1}\n{"event":"session_end"}\n'),
    "a chronolog that is a folder": _into_a_folder(CHRONOLOG),
    "an empty manifest": _with(MANIFEST, b""),
    "a manifest of other things": _with(MANIFEST, b'{"layout": "three", "session": 7}'),
    "a manifest that is a list": _with(MANIFEST, b"[]"),
    "a deep manifest": _with(MANIFEST, DEEP),
    "a binary manifest": _with(MANIFEST, b"\xff\xfe\x00\x01"),
    "a manifest that is a folder": _into_a_folder(MANIFEST),
    "no key": _with(KEY, None),
    "half a key": _with(KEY, b'{"key": "abc'),
    "a key of other things": _with(KEY, b'{"key": 7}'),
    "a key that is a folder": _into_a_folder(KEY),
}
if hasattr(os, "mkfifo"):
    CHANGES["a pipe among the segments"] = _a_pipe_among_the_segments


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.timeout(60)
def test_every_command_says_what_is_wrong(tmp_path: Path, session: Path, tally: Tallies, what: str) -> None:
    counted = tally("6 clear reports")
    copy = tmp_path / session.name
    shutil.copytree(session, copy, symlinks=True)
    CHANGES[what](copy)
    answers = clear(counted, what, copy)
    if "newer" in what:
        for command, (code, text) in answers.items():
            # verify writes its findings to stdout
            assert code == 1 and (command == "verify" or "update custody" in text), f"{command}: {code} {text}"
    assert counted.sound, counted.failures


OWN_ERRORS = {name for name, kind in vars(errors).items() if isinstance(kind, type)}


@pytest.mark.parametrize("what", CHANGES if LONG else sorted(CHANGES)[1::5])
@pytest.mark.timeout(120)
def test_a_start_says_what_is_wrong(
    tmp_path: Path, session: Path, vendor: Simulator, tally: Tallies, what: str
) -> None:
    """It goes on, or ends before anything is paid, with an error of custody's own or the system's that names a file."""
    counted = tally("6 clear reports")
    study = Study(tmp_path, vendor, counted)
    shutil.copytree(session.parents[5], study.root, symlinks=True)
    CHANGES[what](study.root / session.relative_to(session.parents[5]))
    with study.run(study.job(8, rotate_bytes=16 * 1024)) as run:
        code = run.wait()
        failed = run.of("failed")
    counted.states += 1
    name, _, why = failed[0][2].partition(": ") if failed else ("", "", "")
    if code and name not in OWN_ERRORS and not (name.endswith("Error") and "[Errno" in why and session.name in why):
        counted.wrong(f"{what}: the program gets {failed} {study.last_words()}")
    if code and vendor.paid():
        counted.repaid(f"{what}: {vendor.paid()} requests, and then {failed}")
    assert counted.sound, counted.failures


def test_any_damage_anywhere(tmp_path: Path, session: Path, tally: Tallies) -> None:
    counted, rng = tally("6 clear reports"), random.Random(6)
    copy = tmp_path / session.name
    shutil.copytree(session, copy)
    for file in sorted(p for p in copy.rglob("*") if p.is_file() and p.stat().st_size):
        data, name = file.read_bytes(), file.relative_to(copy)
        at = [rng.randrange(len(data)) for _ in range(40 if LONG else 2)]
        for case in (*damage.truncations(data, [0, *at]), *damage.flips(data, at, rng), *damage.zeroed(data, rng, 3)):
            file.write_bytes(case.data)
            clear(counted, f"{name}, {case.what}", copy, COMMANDS if LONG else ("status", "verify"))
        file.write_bytes(data)
    assert counted.sound, counted.failures


STUDY = """
import custody, openai, os, sys
client = openai.OpenAI()
with custody.session(project="P", experiment="E") as session:
    for run in range(int(sys.argv[1])):
        with session.scope(run=run):
            made = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])
        print(made.choices[0].message.content, flush=True)
    os._exit(9)
"""


def _faketime() -> str:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    return str(found[0]) if found else ""


@pytest.mark.skipif(not _faketime(), reason="libfaketime is not installed (apt-get install faketime)")
@pytest.mark.timeout(180)
def test_a_clock_that_jumps(tmp_path: Path, sdk_env: Simulator, tally: Tallies) -> None:
    """Back a day, ten years on, back again: answers stay, order stays, nothing is paid again."""
    counted = tally("6 clear reports")
    (tmp_path / "study.py").write_text(STUDY)
    answers: list[str] = []
    jumps = ("+0d", "-1d", "+3650d", "-400d", "+0d") if LONG else ("+0d", "-1d", "+3650d")
    for number, jump in enumerate(jumps, 1):
        env = {**os.environ, "LD_PRELOAD": _faketime(), "FAKETIME": jump, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        done = subprocess.run(
            [sys.executable, "study.py", str(2 * number)], cwd=tmp_path, env=env, capture_output=True, text=True
        )
        assert done.returncode == 9, done.stderr
        counted.states += 1
        counted.acknowledged += len(answers)
        now = done.stdout.splitlines()
        if now[: len(answers)] != answers:
            counted.wrong(f"after {jump}: other answers")
        answers = now
        if sdk_env.paid() != len(answers):
            counted.repaid(f"after {jump}: {sdk_env.paid()} requests for {len(answers)} answers")
    (path,) = tmp_path.glob("projects/P/experiments/E/sessions/*")
    assert said("verify", str(path))[0] == 0
    clear(counted, "the clock", path)
    assert counted.sound, counted.failures
