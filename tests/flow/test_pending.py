"""What is done, pending, in doubt and failed, and what finishing takes; and every session there is, with reasons."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest

import custody
from custody.report import pending
from custody.testing.simulator import Fault, Simulator
from tests.flow.conftest import Cli

PROGRAM = """
import os, signal, sys
import custody, openai

client = openai.OpenAI(max_retries=0)
with custody.session("P", "E", root=sys.argv[1]) as s:
    with s.stage("analysis"):
        for item in s.plan(["a", "b", "c"], runs=2, progress=False):
            if (item.name, item.run) == ("c", 1):
                try:
                    client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "fails"}])
                except openai.InternalServerError:
                    os.kill(os.getpid(), signal.SIGKILL)
            for n in range(2):
                client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": f"{n}"}])
"""


def plans(session: Path) -> list[dict[str, Any]]:
    found = custody.open(session).status()["plans"]
    assert isinstance(found, list)
    return found


def test_after_a_crash(sdk_env: Simulator, root: Path, cli: Cli) -> None:
    sdk_env.inject(Fault(status=500, body="fails"), times=1)
    ran = subprocess.run([sys.executable, "-c", PROGRAM, str(root)], check=False, env=os.environ, timeout=60)
    assert ran.returncode == -signal.SIGKILL
    (session,) = root.glob("projects/P/experiments/E/sessions/*")
    (plan,) = plans(session)
    assert (plan["items"], plan["done"], plan["pending"], plan["failed"]) == (6, 4, 2, 1)
    assert plan["holes"] == [{"corpus_file": "c", "run": 1}, {"corpus_file": "c", "run": 2}]
    assert (plan["calls"], plan["estimated_from"], plan["cost_usd"]) == (4, 4, None)
    tokens = [call.response_metadata["tokens_used"] for call in custody.open(session).find(outcome="success")]
    assert plan["tokens"] == round(4 * sum(tokens) / 8)
    said = cli("status", str(session)).stdout
    assert "item in stage analysis: 4 of 6 items done, 2 pending (1 failed); finishing takes about 4 calls" in said
    assert "unknown cost" in said

    queue = json.loads((session / "fault_recovery" / "pending_work_queue.json").read_text())
    assert queue["plans"][0]["documents"] == ["a", "b", "c"]
    (session / "fault_recovery" / "pending_work_queue.json").write_text("{torn")
    assert plans(session) == []


IN_FLIGHT = """
import os, sys, threading
import custody, openai

client = openai.OpenAI(max_retries=0)
with custody.session("P", "E", root=sys.argv[1]) as s:
    for item in s.plan(["a", "b"], progress=False):
        if item.name == "b":
            threading.Timer(0.5, os.kill, (os.getpid(), 9)).start()
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": item.name}])
"""


def test_in_doubt(sdk_env: Simulator, root: Path) -> None:
    sdk_env.inject(Fault(delay=20, body='"b"'))
    ran = subprocess.run([sys.executable, "-c", IN_FLIGHT, str(root)], check=False, env=os.environ, timeout=60)
    assert ran.returncode == -signal.SIGKILL
    (session,) = root.glob("projects/P/experiments/E/sessions/*")
    (plan,) = plans(session)
    assert (plan["done"], plan["pending"], plan["in_doubt"], plan["calls"]) == (1, 1, 1, 1)
    assert "1 pending (1 in doubt)" in pending.sentence(
        pending.Pending(**{name: value for name, value in plan.items() if name != "pending"})
    )


def test_finished(sdk_env: Simulator, root: Path) -> None:
    client = openai.OpenAI(max_retries=0)

    def study(s: custody.Session, runs: int) -> None:
        for item in s.plan(["a"], runs=runs, progress=False):
            client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": item.text}])

    with custody.session("P", "E", root=root) as s:
        study(s, 1)
        for _item in s.plan(["a"], runs=3, progress=False):
            break
    (plan,) = plans(s.path)
    assert (plan["done"], plan["pending"], plan["calls"]) == (1, 2, 2)
    with custody.session("P", "E", root=root, session=s.id) as s:
        study(s, 3)
    assert plans(s.path)[0]["pending"] == 0
    assert plans(s.path)[0]["calls"] == 0
    assert "3 of 3 items done" in pending.sentence(pending.Pending("item", {}, 3, 3, calls=0))
    client.close()


@pytest.mark.parametrize("cost", ["0.5", None])
def test_an_estimate_has_a_cost_only_where_all_is_priced(cost: str | None) -> None:
    found = pending.Pending("item", {})
    had = pending.Asked(answered=2, tokens=30, cost=pending.Decimal(cost or 0), unpriced=0 if cost else 1)
    pending._estimate(found, [had, had], [pending.Asked(answered=1), pending.Asked()])
    assert (found.calls, found.tokens) == (3, 45)
    assert found.cost_usd == ("0.7500" if cost else None)
    unknown = pending.Pending("item", {}, items=2, done=0)
    pending._estimate(unknown, [], [pending.Asked()])
    assert unknown.calls is None
    assert "unknown number of calls" in pending.sentence(unknown)


def test_every_session_with_its_reason(sdk_env: Simulator, root: Path, cli: Cli) -> None:
    client = openai.OpenAI(max_retries=0)
    with custody.session("P", "E", root=root) as finished:
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(LookupError), custody.session("P", "E", root=root, new=True) as failed:
        raise LookupError
    code = "import custody, os, sys; custody.session('P', 'E', root=sys.argv[1], new=True); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code, str(root)], check=False, timeout=60)
    made = failed.path.with_name("session_20200101_000000")
    (made / "system_state").mkdir(parents=True)
    damaged = failed.path.with_name("session_20200101_000001")
    (damaged / "system_state").mkdir(parents=True)
    (damaged / "system_state" / "session.json").write_text("{")
    found = {one["session"]: one for one in json.loads(cli("sessions", str(root), "--json").stdout)}
    assert len(found) == 5
    assert (found[finished.id]["state"], found[finished.id]["answered"]) == ("finished", 1)
    assert (found[failed.id]["state"], found[failed.id]["reason"]) == ("failed", "the program raised LookupError")
    assert found[made.name]["state"] == "abandoned"
    assert found[damaged.name]["state"] == "damaged"
    (killed,) = found.keys() - {finished.id, failed.id, made.name, damaged.name}
    assert found[killed]["state"] == "interrupted"
    assert "no end is recorded" in found[killed]["reason"]
    assert json.loads(cli("sessions", "--root", str(root), "--json").stdout) == list(found.values())
    twice = cli("sessions", str(root), "--root", "elsewhere")
    assert twice.returncode == 2 and "give one root" in twice.stderr
    table = cli("sessions", str(root))
    assert table.returncode == 0
    assert "the program raised LookupError" in table.stdout
    assert cli("sessions", str(root / "projects")).returncode == 2
    client.close()
