"""The harness of ``make bench`` works: one short run of everything but the other recorders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


def test_a_short_run_measures_every_goal(tmp_path: Path) -> None:
    out = tmp_path / "results.md"
    parts = "overhead,peers,replay,scale,space"
    command = [sys.executable, "-m", "benchmarks", "--short", "--only", parts, "--out", str(out)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    page = out.read_text()
    table = page.partition("## Goals")[2].partition("##")[0]
    for goal in ("CPU added", "beyond one fdatasync", "16 in flight", "first streamed chunk", "replay, sync",
                 "resume of", "verify, all CRCs", "disk, closed segments"):  # fmt: skip
        assert goal in page, goal
    assert "CPU added per small call" in table
    assert "| custody |" in page
    assert "NOT SOUND" not in page
    assert str(REPOSITORY) not in page
    assert not list((REPOSITORY / ".bench").glob("run-*"))


def test_a_short_run_asks_and_verifies_on_dask(tmp_path: Path) -> None:
    for needed in ("duckdb", "pyarrow", "distributed"):
        pytest.importorskip(needed)
    out = tmp_path / "results.md"
    command = [sys.executable, "-m", "benchmarks", "--short", "--only", "questions", "--out", str(out)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    page = out.read_text()
    assert "(reports the same)" in page.replace("\n", " ") and "custody sql | under 5 s |" in page
