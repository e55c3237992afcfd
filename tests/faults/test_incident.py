"""The afternoon that must not happen again: 46 of 48 analyses done, and a parsing bug in stage two.

examples/four_stages.py against the simulator; prompts and answers of the size that such experiments have.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import custody
from custody.report.verify import verify
from custody.testing.simulator import Fault, Simulator

EXAMPLE = Path(__file__).parents[2] / "examples" / "four_stages.py"
DOCUMENTS, RUNS, FAILED = 8, 6, 2


def test_the_incident(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    for n in range(1, DOCUMENTS + 1):
        text = f"Speech {n}. " + "They were told to wait, and they waited. " * 170  # 7 k characters
        (tmp_path / "corpus" / f"speech_{n:02d}.txt").write_text(text)
    shutil.copy(EXAMPLE, tmp_path / "study.py")
    with Simulator() as vendor:
        vendor.inject(Fault(status=500, body="Speech 8."), times=FAILED)

        def start(**settings: str) -> subprocess.CompletedProcess[str]:
            environment = {**os.environ, **vendor.env(), **settings}
            return subprocess.run(
                [sys.executable, "study.py"], cwd=tmp_path, env=environment, capture_output=True, text=True,
                check=False, timeout=170,
            )  # fmt: skip

        first = start(BUG="1")
        assert first.returncode == 1
        assert "'str' object has no attribute 'get'" in first.stderr
        assert vendor.paid() == DOCUMENTS * RUNS
        (session,) = tmp_path.glob("projects/MVA/experiments/experiment_2/sessions/*")
        analyses = sorted((session / "analysis_results" / "individual_analyses").iterdir())
        assert len(analyses) == DOCUMENTS * RUNS - FAILED, "each analysis is a file that people can read"
        before = {path: path.read_bytes() for path in analyses}
        (plan,) = custody.open(session).status()["plans"]
        assert (plan["done"], plan["failed"], plan["calls"]) == (46, 2, 2)

        began = time.time()
        second = start()
        assert second.returncode == 0, second.stderr
        new = [seen.time for seen in vendor.requests][DOCUMENTS * RUNS :]
        print(f"{new[0] - began:.1f} s from the second start to its first new call")
        assert new[0] - began < 30
        assert len(new) == FAILED + 1, "the two that had failed, and the synthesis that had never been reached"

        third = start()
        assert third.returncode == 2 or "SessionFinished" in third.stderr, "finished is finished"
        assert vendor.paid() == DOCUMENTS * RUNS + FAILED + 1
    assert {path: path.read_bytes() for path in before} == before
    assert len(list((session / "analysis_results" / "individual_analyses").iterdir())) == DOCUMENTS * RUNS
    with (session / "analysis_results" / "aggregated_data" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == DOCUMENTS * RUNS
    assert (session / "analysis_results" / "final_deliverables" / "report.md").read_text().startswith("# Populism in 8")
    assert verify(custody.open(session).storage).problems == []
    answers = [call.response.raw for call in custody.open(session).calls() if call.fields["answers"] and call.response]
    assert len(set(answers)) == len(answers) == DOCUMENTS * RUNS + 1
