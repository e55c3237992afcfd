"""The storage plugin of examples/, installed: a killed study pays nothing twice, and the commands work on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from custody.testing.simulator import Simulator

EXAMPLES = Path(__file__).parents[2] / "examples"
STUDY = """
import os
import custody, openai
client = openai.OpenAI(max_retries=0)
with custody.session(project="P", experiment="E") as session:
    with session.stage("one"):
        for run in range(6):
            if os.environ.get("KILL") == str(run):
                os.kill(os.getpid(), 9)
            with session.scope(run=run):
                said = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])
                print(run, said.choices[0].message.content, flush=True)
"""

Custody = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator() as made:
        yield made


@pytest.fixture
def custody(tmp_path: Path, sim: Simulator) -> Custody:
    """``custody("verify", ...)``, where the plugin is installed."""
    info = tmp_path / "site" / "custody_sqlite-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: custody-sqlite\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[custody]\nsqlite = sqlite_storage:SqlitePlugin\n")
    (tmp_path / "study.py").write_text(STUDY)

    def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(tmp_path / "site"), str(EXAMPLES)])
        environment = {**os.environ, **sim.env(), "PYTHONPATH": path, "CUSTODY_SPILL_DIR": str(tmp_path / "spill")}
        return subprocess.run(
            [sys.executable, "-c", "from custody.cli.main import main; main()", *words],
            cwd=tmp_path, env={**environment, **env}, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    return run


def test_a_killed_study_is_continued_verified_and_copied(custody: Custody, sim: Simulator, tmp_path: Path) -> None:
    root, study = f"sqlite://{tmp_path}/data/study.db", ("--", sys.executable, "study.py")
    assert f"{root} holds no projects/" in custody("sessions", root).stderr
    assert not (tmp_path / "data").exists(), "looking made something"

    killed = custody("run", "--root", root, *study, KILL="4")
    assert (killed.returncode, sim.paid()) == (137, 4), killed.stderr
    resumed = custody("run", "--root", root, *study)
    assert (resumed.returncode, sim.paid()) == (0, 6), resumed.stderr
    assert resumed.stdout.startswith(killed.stdout), "an acknowledged answer is another one"

    (listed,) = json.loads(custody("sessions", root, "--json").stdout)
    name = listed["session"]
    assert (listed["state"], listed["answered"]) == ("finished", 6), listed
    for target in (f"sqlite://{tmp_path}/data/second.db", str(tmp_path / "folder")):
        copied = custody("copy", name, "--root", root, "--to", target)
        assert copied.returncode == 0, copied.stderr
        for where in (root, target):
            verified = custody("verify", name, "--root", where)
            assert verified.returncode == 0 and "sound (6 calls" in verified.stdout, verified.stdout + verified.stderr
    missing = custody("verify", name, "--root", f"sqlite://{tmp_path}/none.db")
    assert (missing.returncode, len(missing.stderr.splitlines())) == (2, 1)
    assert sim.paid() == 6


def test_workers_share_it(custody: Custody, sim: Simulator, tmp_path: Path) -> None:
    root = f"sqlite://{tmp_path}/study.db"
    named = ("--session", "session_20261201_090000")
    for number in (1, 2):
        ran = custody("run", "--root", root, "--worker", f"w{number}", *named, "--", sys.executable, "study.py")
        assert (ran.returncode, sim.paid()) == (0, 6), ran.stderr
