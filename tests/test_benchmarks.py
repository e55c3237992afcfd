"""The harness of ``make bench`` works: one short run of everything but the other recorders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def test_a_short_run_measures_every_goal(tmp_path: Path) -> None:
    out = tmp_path / "results.md"
    command = [sys.executable, "-m", "benchmarks", "--short", "--out", str(out)]
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
