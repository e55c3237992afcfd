"""SIGKILL after each stage, in each stage, between a call and its checkpoint: at any system call that changes a file.

Resumed each time: no answered call is paid again, the final results are what the program has seen, and strict
replay makes them again to the byte.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import custody
from custody.report.verify import verify
from custody.testing.simulator import Simulator

PROGRAM = Path(__file__).with_name("stages_program.py")
LONG = os.environ.get("CUSTODY_FAULTS") == "long"
POINTS = 50 if LONG else 3
CALLS, WORKERS = 6 + 6 + 2, 3

pytestmark = pytest.mark.timeout(1200)


def start(folder: Path, vendor: Simulator, **settings: str) -> int:
    environment = {**os.environ, **vendor.env(), "ROOT": str(folder), "ACKS": str(folder / "acks"), **settings}
    ran = subprocess.run([sys.executable, str(PROGRAM)], env=environment, capture_output=True, timeout=170, check=False)
    if ran.returncode not in (0, -signal.SIGKILL):
        print(ran.stderr.decode())
    return ran.returncode


def results(folder: Path) -> dict[str, bytes]:
    (session,) = (
        path.parents[1] for path in folder.glob("projects/P/experiments/E/sessions/*/system_state/session.json")
    )
    found = session / "analysis_results"
    return {path.relative_to(found).as_posix(): path.read_bytes() for path in found.rglob("*") if path.is_file()}


def test_killed_at_any_point(tmp_path: Path) -> None:
    with Simulator() as vendor:
        whole = tmp_path / "whole"
        whole.mkdir()
        assert start(whole, vendor, COUNT=str(whole / "count")) == 0
        assert vendor.paid() == CALLS
        points = int((whole / "count").read_text())
        assert points > 150, "there are hardly any points to be killed at"
        rng = random.Random(20261128)
        for number, point in enumerate(sorted(rng.sample(range(10, points - 4), POINTS))):
            killed_at(tmp_path / f"{number:02d} at {point}", vendor, point, points)


def killed_at(folder: Path, vendor: Simulator, point: int, points: int) -> None:
    folder.mkdir()
    paid = vendor.paid()
    first = start(folder, vendor, KILL_AT=str(point))
    assert first == -signal.SIGKILL, f"it was not killed at {point} of {points}"
    if not list(folder.glob("projects/P/experiments/E/sessions/*/system_state/session.json")):
        assert vendor.paid() == paid, "paid before there was a session"
    again = start(folder, vendor)

    sessions = [
        p for p in folder.glob("projects/P/experiments/E/sessions/*") if (p / "system_state/session.json").exists()
    ]
    assert len(sessions) == 1
    stored = custody.open(sessions[0])
    assert stored.status()["state"] == "finished"
    if again != 0:  # killed behind its recorded end: finished is finished, and everything is there
        assert point > points - 15
    calls = stored.calls()
    answers = Counter((c.fields["scope_key"], c.fields["request_key"], c.fields["replicate"]) for c in calls)
    assert len(answers) == CALLS
    assert set(answers.values()) == {1}, "a call that was answered was sent again"
    in_doubt = stored.status()["in_doubt"]
    assert vendor.paid() - paid <= CALLS + len(in_doubt)
    assert len(in_doubt) <= WORKERS
    assert verify(stored.storage).problems == []

    texts: dict[str, set[str]] = {}
    for line in (folder / "acks").read_text().splitlines():
        who, text = json.loads(line)
        texts.setdefault(who, set()).add(text)
    assert {len(found) for found in texts.values()} == {1}, "an answer that the program saw was another one later"
    assert len({next(iter(found)) for found in texts.values()}) == CALLS, "one answer was used for two calls"

    made = results(folder)
    report = json.loads(made["final_deliverables/report.json"])
    used = (
        [row["text"] for row in report["rows"]] + [row["second"] for row in report["extracted"]] + report["conclusions"]
    )
    assert set(used) == {next(iter(found)) for found in texts.values()}
    for name in ("steps", "."):  # without any checkpoint the archive alone gives the same bytes
        for path in (sessions[0] / "system_state" / name).glob("*.json" if name == "steps" else "stage_*.json"):
            path.unlink()
    before = vendor.paid()
    assert replay(folder, vendor, sessions[0]) == 0
    assert results(folder) == made
    assert vendor.paid() == before


def replay(folder: Path, vendor: Simulator, session: Path) -> int:
    command = [sys.executable, "-m", "custody.cli", "run", "--root", str(folder), "--project", "P", "--experiment", "E",
               "--session", session.name, "--strict", "--", "python", str(PROGRAM)]  # fmt: skip
    environment = {**os.environ, **vendor.env(), "ROOT": str(folder), "ACKS": str(folder / "again")}
    ran = subprocess.run(command, env=environment, capture_output=True, timeout=170, check=False)
    print(ran.stderr.decode())
    return ran.returncode
