"""An archive that fails under a running program: the answer is kept, the record waits, nothing more is paid."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest

import custody
from custody.report.verify import verify
from custody.testing.simulator import Simulator

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def ask(client: openai.OpenAI) -> str:
    made = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])
    return made.choices[0].message.content or ""


@pytest.mark.parametrize("lost", ["folder", "archive", "segment"])
def test_a_session_whose_files_vanish(sdk_env: Simulator, root: Path, cli: Cli, lost: str) -> None:
    """Removed beneath the program, put back from a copy afterwards: nothing is lost, nothing is paid twice."""
    client = openai.OpenAI(max_retries=0)
    session = custody.session("P", "E", root=root)
    path, copy = session.path, root / "copy"
    with session.scope(run=0):
        first = ask(client)
    shutil.copytree(path, copy)
    gone = {"folder": path, "archive": path / "llm_archive", "segment": next((path / "llm_archive").iterdir())}[lost]
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    answers = {0: first}
    if lost == "segment":  # only its writer notices
        with session.scope(run=1):
            answers[1] = ask(client)
    else:
        with session.scope(run=1), pytest.raises(custody.StorageError, match="nothing was sent"):
            ask(client)
        assert path.exists() == (lost == "archive"), "a folder without a manifest was begun anew"
    assert sdk_env.paid() == len(answers)
    session.close()
    if lost == "folder":
        shutil.move(copy, path)
        assert "interrupted" in cli("status", str(path)).stdout
    else:
        shutil.copytree(copy / "llm_archive", path / "llm_archive", dirs_exist_ok=True)
    with custody.session("P", "E", root=root, session=session.id) as session:
        for run, said in answers.items():
            with session.scope(run=run):
                assert ask(client) == said
    assert sdk_env.paid() == len(answers)
    stored = custody.open(path)
    assert verify(stored.storage).sound, verify(stored.storage).problems


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs root on Linux, to mount a small file system")
    where = tmp_path / "disk"
    where.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(where)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount here: {mounted.stderr.decode().strip()}")
    yield where
    subprocess.run(["umount", str(where)], check=True)


def test_a_home_on_the_same_full_disk(tmp_path: Path, small_disk: Path, sdk_env: Simulator) -> None:
    """The spill goes where there is room; session, home and state are on one disk, as they mostly are."""
    script = tmp_path / "study.py"
    script.write_text(
        "import os, sys, custody, openai\n"
        "client = openai.OpenAI(max_retries=0)\n"
        "with custody.session('P', 'E', root=os.environ['HOME']) as session:\n"
        "    for run in range(4):\n"
        "        if run == 2 and os.environ.get('FILL'):\n"
        "            with open(os.environ['FILL'], 'wb', buffering=0) as file:\n"
        "                try:\n"
        "                    while True: file.write(b'x' * 512)\n"
        "                except OSError: pass\n"
        "        with session.scope(run=run):\n"
        "            made = client.chat.completions.create(\n"
        "                model='gpt-4o', messages=[{'role': 'user', 'content': 'Hello ' * 2000}])\n"
        "        print(made.choices[0].message.content, flush=True)\n"
    )
    free = tmp_path / "tmp"
    free.mkdir()
    environment = {k: v for k, v in os.environ.items() if k not in ("CUSTODY_SPILL_DIR", "XDG_STATE_HOME")}
    environment |= {"HOME": str(small_disk), "TMPDIR": str(free)}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(script)]
        return subprocess.run(command, env={**environment, **more}, capture_output=True, text=True, timeout=100)

    filled = run(FILL=str(small_disk / "ballast"))
    assert "ArchiveUnavailable" in filled.stderr
    answers = filled.stdout.splitlines()
    assert len(answers) == 3 == sdk_env.paid(), (
        "the third call fills the disk, and its answer is kept; no fourth is sent"
    )
    assert "records are kept in" in filled.stderr and len(list(free.rglob("*.jsonl"))) == 1
    (path,) = small_disk.glob("projects/P/experiments/E/sessions/*")
    for words, said in (("status", str(path)), "the next start takes them in"), (("doctor",), "waiting records"):
        command = [sys.executable, "-m", "custody.cli", *words]
        told = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=100)
        assert said in told.stdout, told.stdout + told.stderr
    (small_disk / "ballast").unlink()
    done = run()
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[: len(answers)] == answers
    assert sdk_env.paid() == 4
    assert not list(free.rglob("*.jsonl"))
    stored = custody.open(path)
    assert verify(stored.storage).sound, verify(stored.storage).problems
    assert stored.status()["state"] == "finished"
