"""Each SDK in processes that are forked, spawned and pooled: recorded under `custody run`, and replayed strictly."""

from __future__ import annotations

import importlib.util
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import custody
from custody.report.verify import verify
from custody.testing.simulator import Simulator

HERE = Path(__file__).parent
SDKS: dict[str, Any] = runpy.run_path(str(HERE / "sdks.py"))["SDKS"]
ASKED = {"fork": 3, "spawn": 2, "pools": 6}
ALL = "FEATURES_ENVIRONMENT" in os.environ or os.environ.get("CUSTODY_FAULTS") == "long"
EACH_WIRE = ("openai", "boto3", "aiplatform", "litellm")
"""httpx, botocore and gRPC, and one SDK above another: what a fork can break lies there. `make features` asks all."""


def custody_command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "CUSTODY_SPILL_DIR": str(folder / "spill"), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "custody.cli", *words]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=170, check=False)


def told(stdout: str) -> Any:
    """The program's last line; litellm may say something before."""
    return json.loads(stdout.splitlines()[-1])


class Ran:
    """What a program's ways said when it was recorded and when it was replayed; `calls` is what is on record."""

    def __init__(self, folder: Path, name: str) -> None:
        with Simulator() as sim:
            program = (sys.executable, str(HERE / "program.py"), name, sim.url)
            done = custody_command(folder, "run", "--project", "P", "--experiment", "E", "--", *program)
            assert done.returncode == 0, done.stderr[-3000:]
            self.recorded = told(done.stdout)
            self.paid = sim.paid()
        (path,) = folder.glob("projects/P/experiments/E/sessions/*")
        again = custody_command(folder, "resume", path.name, "--strict")
        assert again.returncode == 0, again.stderr[-3000:]
        self.replayed = told(again.stdout)
        stored = custody.open(path)
        self.calls = len(stored.find(outcome="success"))
        self.sound = verify(stored.storage).sound
        self.stderr = done.stderr + again.stderr


@pytest.fixture(scope="module")
def runs() -> dict[str, Ran]:
    """A program is run once for all of its ways."""
    return {}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", SDKS if ALL else EACH_WIRE)
@pytest.mark.parametrize("way", ASKED)
def test_processes(runs: dict[str, Ran], tmp_path_factory: pytest.TempPathFactory, name: str, way: str) -> None:
    try:
        if importlib.util.find_spec(SDKS[name].module) is None:
            raise ModuleNotFoundError
    except ModuleNotFoundError:
        pytest.skip(f"{name} is not installed")
    if name not in runs:
        runs[name] = Ran(tmp_path_factory.mktemp(name), name)
    ran = runs[name]
    said = ran.recorded[way]
    assert isinstance(said, list), (said, ran.stderr[-3000:])
    assert len(set(said)) == ASKED[way]
    assert ran.replayed[way] == said, ran.stderr[-3000:]
    assert ran.calls == ran.paid == sum(ASKED.values())
    assert ran.sound
