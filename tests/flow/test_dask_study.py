"""examples/dask_study.py: capture in every worker of a Dask cluster, one of which is killed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import custody
from custody.report.verify import verify
from custody.testing.simulator import Simulator

pytest.importorskip("distributed")

Cli = Callable[..., "subprocess.CompletedProcess[str]"]

EXAMPLE = Path(__file__).parents[2] / "examples" / "dask_study.py"
CALLS = 8 * 6 * 2


@pytest.mark.timeout(400)
def test_a_worker_is_killed_and_nothing_is_paid_twice(cli: Cli, tmp_path: Path, sdk_env: Simulator) -> None:
    sdk_env.latency = 0.03
    run = ("run", "--project", "examples", "--experiment", "dask", "--", "python", str(EXAMPLE))
    done = cli(*run, env={"KILL_A_WORKER": "1"})
    assert done.returncode == 0, done.stderr
    answers = done.stdout.splitlines()[:-1]
    assert len(answers) == 48, done.stdout
    (path,) = tmp_path.glob("projects/examples/experiments/dask/sessions/*")
    stored = custody.open(path)
    calls = stored.find(operation="chat", outcome="success")
    identities = {(call.scope["document"], call.scope["run"], call.fields["request_key"]) for call in calls}
    assert len(calls) == len(identities) == CALLS
    writers = {call.id.rpartition("-")[0] for call in calls}
    assert 4 <= len(writers) <= 5, "each worker, and perhaps the one in place of the dead one, writes its own segment"
    doubts = stored.status()["in_doubt"]
    assert CALLS <= sdk_env.paid() <= CALLS + len(doubts), "only what was in flight in the dead worker was sent again"
    assert len(doubts) <= 1 and all(doubt["answered_by"] for doubt in doubts)
    assert verify(stored.storage, deep=True).sound
    archived = {call.response.json["choices"][0]["message"]["content"] for call in calls if call.response}
    assert {line.partition(": ")[2] for line in answers} <= archived
    paid = sdk_env.paid()
    again = cli("resume", path.name, "--strict")
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[:-1] == answers and sdk_env.paid() == paid
