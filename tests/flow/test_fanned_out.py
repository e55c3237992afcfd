"""examples/dask_study.py and ray_study.py: capture in every worker of a cluster, one of which is killed."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import custody
from custody.report.verify import verify
from custody.testing.simulator import Simulator

Cli = Callable[..., "subprocess.CompletedProcess[str]"]

EXAMPLES = Path(__file__).parents[2] / "examples"
CALLS = 8 * 6 * 2


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("engine", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_worker_is_killed_and_nothing_is_paid_twice(
    cli: Cli, tmp_path: Path, sdk_env: Simulator, engine: str, package: str
) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install 'custody[{engine}]'")
    sdk_env.latency = 0.03
    example = str(EXAMPLES / f"{engine}_study.py")
    run = ("run", "--project", "examples", "--experiment", engine, "--", "python", example)
    done = cli(*run, env={"KILL_A_WORKER": "1"})
    assert done.returncode == 0, done.stderr
    answers = _answers(done.stdout)
    assert len(answers) == 48, done.stdout
    (path,) = tmp_path.glob(f"projects/examples/experiments/{engine}/sessions/*")
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
    assert _answers(again.stdout) == answers and sdk_env.paid() == paid


def _answers(said: str) -> list[str]:
    """Without what the engine itself says between them."""
    return [line for line in said.splitlines() if line.startswith("document ")]
