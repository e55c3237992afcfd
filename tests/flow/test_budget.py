"""A budget stops a session before the call that might break it, from many tasks and processes at once."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest

import custody
from custody import layout
from custody.testing.simulator import Simulator

WANTED = 64
ASKED: dict[str, Any] = {"model": "gpt-4o", "max_tokens": 100}


RATES = """
[vendors]
"127.0.0.1" = "openai"

[[rates]]
vendor = "openai"
model = "gpt-4o*"
input_mtok = "2.5"
cache_read_mtok = "1.25"
output_mtok = "10"
"""


def said(what: object) -> Any:
    return [{"role": "user", "content": str(what)}]


@pytest.fixture
def priced(sdk_env: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """The simulator, at OpenAI's prices."""
    (tmp_path / "rates.toml").write_text(RATES)  # of their own, so that the day does not matter
    monkeypatch.setenv("CUSTODY_RATES", str(tmp_path / "rates.toml"))
    return sdk_env


def ask_all(root: Path, session: str | None = None, **budget: Any) -> tuple[custody.Session, list[Exception]]:
    """64 calls at once; the errors of those that were not sent."""

    async def run() -> tuple[custody.Session, list[Exception]]:
        async with openai.AsyncOpenAI(max_retries=3) as client:
            with custody.session("P", "E", root=root, session=session, **budget) as opened:

                async def ask(number: int) -> None:
                    with opened.scope(document=number):
                        await client.chat.completions.create(messages=said(number), **ASKED)

                done = await asyncio.gather(*map(ask, range(WANTED)), return_exceptions=True)
        return opened, [error for error in done if error is not None]  # type: ignore[misc]

    return asyncio.run(run())


def test_64_calls_against_a_budget_for_20(priced: Simulator, root: Path) -> None:
    opened, errors = ask_all(root, max_calls=20)
    assert priced.paid() == 20
    assert len(errors) == WANTED - 20
    assert {type(error) for error in errors} == {custody.BudgetExceeded}
    assert "is 20 calls: " in str(errors[0]) and "higher max_calls" in str(errors[0]), errors[0]

    _, errors = ask_all(root, opened.id, max_calls=WANTED)
    assert not errors
    assert priced.paid() == WANTED, "the rest is paid, nothing twice"
    assert set(priced.by_body().values()) == {1}


def test_dollars_are_never_overspent(priced: Simulator, root: Path) -> None:
    opened, errors = ask_all(root, budget_usd="0.01")
    spent = Decimal(custody.open(opened.path).status()["cost_usd"])
    assert 0 < spent <= Decimal("0.01")
    assert errors and {type(error) for error in errors} == {custody.BudgetExceeded}
    assert "$0.01" in str(errors[0]) and "spent" in str(errors[0])

    _, errors = ask_all(root, opened.id, budget_usd="1")
    assert not errors and set(priced.by_body().values()) == {1} and priced.paid() == WANTED


def test_tokens_are_never_overspent(priced: Simulator, root: Path) -> None:
    opened, errors = ask_all(root, budget_tokens=2000)
    assert 0 < custody.open(opened.path).status()["tokens_used"] <= 2000
    assert errors


def test_a_budget_for_a_stage_only(priced: Simulator, root: Path) -> None:
    client = openai.OpenAI(max_retries=0)
    with custody.session("P", "E", root=root) as session:
        with session.stage("first", max_calls=2):
            for number in range(3):
                if number == 2:
                    with pytest.raises(custody.BudgetExceeded, match="stage first"):
                        client.chat.completions.create(messages=said(2), **ASKED)
                else:
                    client.chat.completions.create(messages=said(number), **ASKED)
        with session.stage("second"):
            client.chat.completions.create(messages=said("x"), **ASKED)
    assert priced.paid() == 3


def test_what_has_no_price_is_refused_unless_told_otherwise(sdk_env: Simulator, root: Path) -> None:
    """The simulator is nobody whose prices are known."""
    client = openai.OpenAI(max_retries=0)
    opened = custody.session("P", "E", root=root, budget_usd=5)
    with opened as session, pytest.raises(custody.BudgetUnpriced, match="price_not_found"):
        client.chat.completions.create(messages=said(1), **ASKED)
    assert sdk_env.paid() == 0
    with custody.session("P", "E", root=root, session=session.id, budget_usd=5, budget_unpriced="allow"):
        client.chat.completions.create(messages=said(1), **ASKED)
    assert sdk_env.paid() == 1


def test_a_request_without_a_limit_reserves_the_models_longest_answer(priced: Simulator, root: Path) -> None:
    client = openai.OpenAI(max_retries=0)
    opened = custody.session("P", "E", root=root, budget_usd="0.10")
    with opened as session, pytest.raises(custody.BudgetExceeded, match="lower limit of output tokens"):
        client.chat.completions.create(model="gpt-4o", messages=said(1))
    with custody.session("P", "E", root=root, session=session.id, budget_usd="0.10", budget_output_tokens=500):
        client.chat.completions.create(model="gpt-4o", messages=said(1))
    assert priced.paid() == 1


CHILDREN = """
import sys, openai, custody
client = openai.OpenAI(max_retries=0)
with custody.session("P", "E") as session:
    for number in range(10):
        with session.scope(worker=sys.argv[1], number=number):
            try:
                client.chat.completions.create(
                    model="gpt-4o", max_tokens=9, messages=[{"role": "user", "content": sys.argv[1] + str(number)}])
            except custody.BudgetExceeded as error:
                print(error)
"""


def test_processes_spend_from_one_budget(priced: Simulator, root: Path, tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(CHILDREN)
    (tmp_path / "study.py").write_text(
        "import subprocess, sys\n"
        "all = [subprocess.Popen([sys.executable, 'worker.py', n]) for n in 'abc']\n"
        "sys.exit(any(one.wait() for one in all))\n"
    )
    command = [sys.executable, "-m", "custody.cli", "run", "--root", str(root), "--project", "P", "--experiment", "E",
               "--max-calls", "12", "--", "python", "study.py"]  # fmt: skip
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert priced.paid() == 12
    assert ran.stdout.count("is 12 calls") == 18, ran.stdout + ran.stderr


def test_a_ledger_that_cannot_be_written_stops_the_call(priced: Simulator, root: Path) -> None:
    client = openai.OpenAI(max_retries=0)
    with custody.session("P", "E", root=root, max_calls=5) as session:
        (session.path / layout.BUDGET).unlink()
        (session.path / layout.BUDGET).mkdir()
        with pytest.raises(custody.BudgetError, match="cannot be kept"):
            client.chat.completions.create(messages=said(1), **ASKED)
        (session.path / layout.BUDGET).rmdir()
    assert priced.paid() == 0


def test_the_ledger_says_what_was_spent(priced: Simulator, root: Path) -> None:
    client = openai.OpenAI(max_retries=0)
    with custody.session("P", "E", root=root, budget_usd=1) as session, session.stage("analysis"):
        client.chat.completions.create(messages=said(1), **ASKED)
    lines = [json.loads(line) for line in (session.path / layout.BUDGET).read_text().splitlines()]
    assert [line["event"] for line in lines] == ["opened", "reserved", "settled"]
    (call,) = custody.open(session.path).calls()
    for scope in ("", "analysis"):
        totals = lines[-1]["totals"][scope]
        assert totals["usd"] == call.fields["cost"]["cost_usd"] and totals["reserved_usd"] == "0"
    assert Decimal(lines[1]["totals"][""]["reserved_usd"]) > Decimal(lines[2]["totals"][""]["usd"])


@pytest.mark.parametrize(
    "wrong",
    [{"budget_usd": "much"}, {"budget_usd": -1}, {"max_calls": 1.5}, {"budget_tokens": True}, {"budget_euro": 1},
     {"budget_unpriced": "maybe"}],
)  # fmt: skip
def test_a_budget_that_is_none(wrong: dict[str, Any], root: Path) -> None:
    with pytest.raises(custody.UsageError):
        custody.session("P", "E", root=root, **wrong)
