"""What a session paid: not what it reused, and not less than what was sent and never answered."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest
from click.testing import CliRunner

import custody
from custody.cli.main import cli
from custody.cost import library
from custody.report.tally import indexed, tallied
from custody.testing.simulator import Fault, Simulator


@pytest.fixture
def sim(sdk_env: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """A vendor whose answers have prices, whatever day it is."""
    (tmp_path / "rates.toml").write_text('[vendors]\n"127.0.0.1" = "openai"\n')
    monkeypatch.setenv("CUSTODY_RATES", str(tmp_path / "rates.toml"))
    monkeypatch.setattr(library, "fresh_until", lambda: date.max)
    return sdk_env


def said(*words: str) -> str:
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def told(*words: str) -> Any:
    return json.loads(said(*words, "--json"))


def study(root: Path, calls: int, **options: Any) -> custody.Session:
    client = openai.OpenAI(max_retries=0)
    with custody.session("P", "E", root=root, **options) as session:
        for number in range(calls):
            with session.stage("early" if number < 3 else "late"), session.scope(run=number):
                client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": f"{number}"}])
    client.close()
    return session


@pytest.fixture
def reused(sim: Simulator, root: Path) -> tuple[custody.Session, custody.Session]:
    """Five calls, and a session that reuses these, pays for four more, and is run once more."""
    first = study(root, 5)
    second = study(root, 9, new=True, reuse=first.id)
    study(root, 9, session=second.id)
    assert sim.paid() == 9
    return first, second


def test_a_reused_answer_was_paid_for_elsewhere(reused: tuple[custody.Session, custody.Session]) -> None:
    first, second = reused
    before, spent = told("cost", str(first.path)), told("cost", str(second.path), "--by", "stage")
    own = [call.fields for call in custody.open(second.path).calls() if not call.reused_from]
    paid = sum(Decimal(line["cost"]["cost_usd"]) for line in own)
    assert (spent["calls"], Decimal(spent["cost_usd"]), spent["complete"]) == (4, paid, True)
    assert spent["tokens"] == sum(line["response_metadata"]["tokens_used"] for line in own)
    assert spent["reused"] == {first.id: 5} and spent["reused_cost_usd"] == before["cost_usd"]
    # Fourteen answers were not paid: five were reused, and in the last run all nine were given again.
    assert spent["replays"] == 14
    assert Decimal(spent["saved_by_replay_usd"]) == 2 * Decimal(before["cost_usd"]) + paid
    assert {part["value"]: (part["calls"], part["reused"]) for part in spent["groups"]} == {
        "late": (4, {first.id: 2}), "early": (0, {first.id: 3})
    }  # fmt: skip
    assert spent["methods"].startswith("4 calls were made to gpt-4o")
    assert f"5 more answers were reused from {first.id}, which had cost {before['cost']} there." in spent["methods"]
    assert " 9 answers were replayed from the archive" in spent["methods"]
    text = said("cost", str(second.path))
    assert f"5 answers of {first.id}, which had cost {before['cost']} there" in text

    status = custody.open(second.path).status()
    for name in ("cost", "cost_usd", "saved_by_replay_usd", "reused_cost"):
        assert status[name] == spent[name], name
    assert status["tokens_used"] == spent["tokens"]
    assert f"5 answers of {first.id}; what was paid there: {before['cost']}" in said("status", str(second.path))

    csv = said("cost", str(second.path), "--csv").splitlines()
    (row,) = [dict(zip(csv[0].split(","), line.split(","), strict=True)) for line in csv[1:]]
    assert (row["calls"], row["reused"], row["reused_cost_usd"]) == ("4", "5", before["cost_usd"])


def test_the_sums_of_the_index_are_those_of_the_segments(reused: tuple[custody.Session, custody.Session]) -> None:
    stored = custody.open(reused[1].path)
    for by in ("model", "stage", "run", "status"):
        one, two = indexed(stored, by), tallied(stored.storage, by, None)
        assert (one.tally, one.later) == (two.tally, two.later)


def test_forensics_and_tables_tell_reused_answers_apart(
    reused: tuple[custody.Session, custody.Session], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("duckdb")
    monkeypatch.setenv("CUSTODY_CACHE_DIR", str(tmp_path / "cache"))
    first, second = reused
    before, spent = told("cost", str(first.path)), told("cost", str(second.path))
    question = (
        "select sum(cost) paid, sum(reused_cost) there, count(*) filter (cost is null) unpriced, "
        "sum(tokens) filter (reused_from is null) tokens, sum(repriced_cost) anew from calls"
    )
    (row,) = told("sql", question, str(second.path))
    assert (row["paid"], row["there"]) == (spent["cost_usd"], before["cost_usd"])
    assert (row["unpriced"], row["tokens"], row["anew"]) == (0, spent["tokens"], None)

    (tmp_path / "rates.toml").write_text(
        '[vendors]\n"127.0.0.1" = "openai"\n[[rates]]\nvendor = "openai"\nmodel = "gpt-4o*"\n'
        'input_mtok = "0"\noutput_mtok = "0"\n'
    )
    said("cost", "reprice", str(second.path))
    (row,) = told("sql", question, str(second.path))
    assert (row["paid"], row["anew"]) == (spent["cost_usd"], "0"), "what was recorded stays"

    found = told("forensics", str(second.path))
    (group,) = found["models"]
    assert (group["calls"], group["attempts"], group["reused"]) == (9, 4, {first.id: 5})
    assert sum(group["usage"][name] or 0 for name in group["usage"]) == spent["tokens"]
    assert found["reused"] == {first.id: 5}
    assert sum(1 for call in found["calls"] if call["reused_from"]) == 5
    assert f"5 answers of {first.id}; tokens and attempts above are without them" in said("forensics", str(second.path))
    one = next(call["id"] for call in found["calls"] if call["reused_from"])
    assert f"{first.id}: it was asked, and paid for, there" in said("forensics", str(second.path), "--call", one)


def test_an_estimate_rests_on_what_was_paid(reused: tuple[custody.Session, custody.Session], root: Path) -> None:
    first, second = reused
    found = told("estimate", str(second.path))
    assert found["calls"] == 4 and "without 5 reused answers" in found["basis"]
    only = study(root, 5, new=True, reuse=first.id)
    spent = told("cost", str(only.path))
    assert (spent["calls"], spent["cost_usd"], spent["tokens"]) == (0, "0", 0)
    assert spent["methods"].startswith(f"No call was made. 5 answers were reused from {first.id}")
    with pytest.raises(custody.UsageError, match="all 5 answers of this session were reused"):
        said("estimate", str(only.path))


def test_a_budget_is_not_spent_by_what_was_reused(
    reused: tuple[custody.Session, custody.Session], sim: Simulator, root: Path
) -> None:
    study(root, 10, session=reused[1].id, max_calls=5)
    assert sim.paid() == 10, "four calls were paid before, and a fifth now; five more were reused"
    with pytest.raises(custody.BudgetExceeded):
        study(root, 11, session=reused[1].id, max_calls=5)


KILLED = """
import os, sys, threading
import custody, openai

client = openai.OpenAI(max_retries=0)
with custody.session("P", "E", root=sys.argv[1]) as s:
    for number in range(6):
        with s.stage("late"), s.scope(run=number):
            if number == 4:
                threading.Timer(1, os.kill, (os.getpid(), 9)).start()
            client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": f"{number}"}])
"""


@pytest.fixture
def doubtful(sim: Simulator, root: Path) -> Path:
    """Killed with its fifth call in flight."""
    sim.inject(Fault(delay=20, body='"4"'))
    ran = subprocess.run([sys.executable, "-c", KILLED, str(root)], check=False, env=os.environ, timeout=60)
    assert ran.returncode == -signal.SIGKILL
    (session,) = root.glob("projects/P/experiments/E/sessions/*")
    return session


def test_a_call_in_doubt_is_left_out_and_said_so_also_after_it_was_asked_again(
    doubtful: Path, sim: Simulator, root: Path
) -> None:
    left_out = "1 more calls were sent and have no answer on record: their cost is unknown"
    for calls in (4, 6):
        spent = told("cost", str(doubtful))
        assert (spent["calls"], spent["in_doubt"], spent["complete"]) == (calls, 1, False)
        assert spent["cost"].startswith("at least $") and left_out in spent["cost"]
        assert f"{calls} calls were made" in spent["methods"] and left_out in spent["methods"]
        by = {part["value"]: part for part in told("cost", str(doubtful), "--by", "run")["groups"]}
        assert by["4"]["in_doubt"] == 1 and by["3"]["complete"]
        assert by["4"]["cost_usd"] is None if calls == 4 else by["4"]["cost"].startswith("at least $")
        status = custody.open(doubtful).status()
        assert (status["cost"], status["in_doubt_cost_unknown"]) == (spent["cost"], 1)
        assert "1 sent without an answer on record (their cost is unknown)" in said("status", str(doubtful))
        stored = custody.open(doubtful)
        for label in ("model", "stage", "day", "status"):
            assert indexed(stored, label).tally == tallied(stored.storage, label, None).tally
        if calls == 4:
            client = openai.OpenAI(max_retries=0)
            with custody.session("P", "E", root=root, session=doubtful.name) as session:
                for number in range(6):
                    with session.stage("late"), session.scope(run=number):
                        client.chat.completions.create(
                            model="gpt-4o", messages=[{"role": "user", "content": f"{number}"}]
                        )
            client.close()
            assert sim.paid() == 7
