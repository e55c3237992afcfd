"""``custody cost`` and ``estimate`` on a session that was really made."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest
from click.testing import CliRunner

import custody
from custody import layout
from custody.cli.main import cli
from custody.cost import library
from custody.errors import UsageError
from custody.report.tally import indexed, tallied
from custody.testing.simulator import Simulator

VENDOR = '[vendors]\n"127.0.0.1" = "openai"\n'


@pytest.fixture
def made(sdk_env: Simulator, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four calls, replayed once."""
    (tmp_path / "rates.toml").write_text(VENDOR)
    monkeypatch.setenv("CUSTODY_RATES", str(tmp_path / "rates.toml"))
    monkeypatch.setattr(library, "fresh_until", lambda: date.max)  # whatever day it is
    client, name = openai.OpenAI(), None
    for _ in range(2):
        with custody.session("P", "E", root=root, session=name) as session, session.stage("analysis"):
            for number in range(4):
                with session.scope(corpus_file=f"s{number % 2}.txt", run=number):
                    client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": str(number)}])
        name = session.id
    return session.path


def run(*words: str) -> str:
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_cost(made: Path, tmp_path: Path) -> None:
    spent = json.loads(run("cost", str(made), "--by", "corpus_file", "--json"))
    lines = [call.fields for call in custody.open(made).calls()]
    assert all(line["cost"]["status"] == "priced" for line in lines)
    assert spent["cost_usd"] == spent["saved_by_replay_usd"] and spent["replays"] == 4 and spent["complete"]
    assert {group["value"]: group["calls"] for group in spent["groups"]} == {"s0.txt": 2, "s1.txt": 2}
    text = run("cost", str(made), "--by", "stage", "--plot", str(tmp_path / "cost.svg"))
    assert "analysis" in text and "4 answers given again" in text and "methods" in text
    assert (tmp_path / "cost.svg").read_text().startswith("<svg")
    said = f"custody: wrote the cost by model, as bars in SVG, to {tmp_path / 'cost.svg'}"
    assert said in _said("cost", str(made), "--plot", str(tmp_path / "cost.svg"))
    (row,) = csv.DictReader(io.StringIO(run("cost", str(made), "--csv")))
    assert (row["cost_usd"], row["calls"]) == (spent["cost_usd"], "4")
    assert spent["cost"] in run("status", str(made))
    with pytest.raises(UsageError, match=r"no call of .* has a label 'nope'"):
        run("cost", str(made), "--by", "nope")


def test_what_damage_costs_is_not_left_out_without_a_word(made: Path) -> None:
    segment = max((made / "llm_archive").glob("*.jsonl"), key=lambda path: path.stat().st_size)
    data = segment.read_bytes()
    segment.with_suffix(".idx").unlink(missing_ok=True)
    segment.write_bytes(data.replace(b'"replicate":1', b'"replicate":2', 1))
    for command in ("cost", "forensics"):
        done = CliRunner().invoke(cli, [command, str(made), "--json"])
        assert done.exit_code == 0
        assert "1 damaged places were passed over" in done.stderr


def test_repricing_appends_and_changes_no_stored_figure(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in made.rglob("*.jsonl")}
    assert "0 of 4" in _said("cost", "reprice", str(made), "--rates", str(tmp_path / "rates.toml"))

    installed = library.table()
    other = replace(installed, version="9.9.9", sha256="f" * 64)
    monkeypatch.setattr(library, "table", lambda: other)
    halved = VENDOR + '[[rates]]\nvendor = "openai"\nmodel = "gpt-4o*"\ninput_mtok = "1.25"\noutput_mtok = "5"\n'
    (tmp_path / "other.toml").write_text(halved)
    found = json.loads(run("cost", "reprice", str(made), "--rates", str(tmp_path / "other.toml"), "--json"))
    assert [one["changed"] for one in found] == [True] * 4
    assert all(float(one["new"]["cost_usd"]) * 2 == float(one["old"]["cost_usd"]) for one in found)
    shown = run("cost", "reprice", str(made), "--rates", str(tmp_path / "other.toml"), "--dry-run")
    assert f"${found[0]['old']['cost_usd']}" in shown and f"${found[0]['new']['cost_usd']}" in shown

    lines = [json.loads(line) for line in (made / layout.REPRICED).read_text().splitlines()]
    assert [line["run"] for line in lines] == [1] * 4 + [2] * 4
    for path, content in before.items():
        assert path.read_bytes() == content, "nothing that was stored is changed"


def test_custodys_rates_hold_for_repricing_and_for_estimates(made: Path, tmp_path: Path) -> None:
    found = json.loads(run("cost", "reprice", str(made), "--dry-run", "--json"))
    assert [one["changed"] for one in found] == [False] * 4, "CUSTODY_RATES says whose prices hold"
    (tmp_path / "rates.toml").write_text(
        VENDOR + '[[rates]]\nvendor = "openai"\nmodel = "mine"\ninput_mtok = "2"\noutput_mtok = "1"\n'
    )
    words = ["--vendor", "openai", "--model", "mine", "--calls", "1", "--input-tokens", "1000000"]
    assert json.loads(run("estimate", *words, "--output-tokens", "0", "--json"))["expected_usd"] == "2"
    (tmp_path / "other.toml").write_text((tmp_path / "rates.toml").read_text().replace('"2"', '"3"'))
    words += ["--rates", str(tmp_path / "other.toml")]
    assert json.loads(run("estimate", *words, "--output-tokens", "0", "--json"))["expected_usd"] == "3"


def test_what_was_priced_later_is_shown_beside_what_was_recorded(
    sdk_env: Simulator, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "fresh_until", lambda: date.max)
    with custody.session("P", "E", root=root) as session, session.stage("analysis"):
        for number in range(2):
            openai.OpenAI().chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": str(number)}])
    path = str(session.path)
    before = json.loads(run("cost", path, "--json"))
    assert before["cost_usd"] is None and before["repriced_cost"] is None, "no prices of this vendor are known"
    with pytest.raises(UsageError, match="was never priced anew: custody cost reprice session_"):
        run("cost", path, "--repriced")
    with pytest.raises(UsageError, match="was never priced anew"):
        run("estimate", path, "--repriced")

    (tmp_path / "rates.toml").write_text(VENDOR)
    found = json.loads(run("cost", "reprice", path, "--rates", str(tmp_path / "rates.toml"), "--json"))
    later = sum(Decimal(one["new"]["cost_usd"]) for one in found)
    with (session.path / layout.REPRICED).open("ab") as file:
        file.write(b'{"run":2,"torn')

    told = json.loads(run("cost", path, "--json"))
    assert told["figures"] == "recorded" and told["cost"] == before["cost"] and told["methods"] == before["methods"]
    anew = told["repriced_cost"]
    assert (anew["run"], anew["calls"], Decimal(anew["cost_usd"]), anew["complete"]) == (1, 2, later, True)
    (group,) = told["groups"]
    assert (group["recorded_cost_usd"], Decimal(group["repriced_cost_usd"])) == (None, later)
    text = run("cost", path)
    assert "unknown (2 of 2 calls unpriced: price_not_found)" in text
    assert f"{anew['cost']}; 2 of 2 calls priced anew on {anew['time'][:10]} (run 1); 2 calls more have a price" in text
    assert f"{anew['cost']}, by custody cost reprice on {anew['time'][:10]} (run 1)" in run("status", path)

    told = json.loads(run("cost", path, "--repriced", "--json"))
    assert (told["figures"], Decimal(told["cost_usd"]), told["repriced"]) == ("repriced", later, 2)
    assert told["recorded"] == {name: before[name] for name in ("cost_usd", "complete", "cost")}
    assert f", as priced anew on {anew['time'][:10]}." in told["methods"]
    (row,) = csv.DictReader(io.StringIO(run("cost", path, "--repriced", "--csv")))
    assert (Decimal(row["cost_usd"]), row["recorded_cost_usd"]) == (later, "")
    text = run("cost", path, "--repriced", "--plot", str(tmp_path / "bars.svg"))
    with pytest.raises(UsageError, match="none of the session's calls has a price"):
        run("estimate", path)
    assert Decimal(json.loads(run("estimate", path, "--repriced", "--json"))["expected_usd"]) == later
    assert "cost, as recorded" in text and "repriced cost by model" in (tmp_path / "bars.svg").read_text()
    stored = custody.open(path)
    assert vars(indexed(stored, "stage"))["later"] == vars(tallied(stored.storage, "stage", None))["later"]

    # What is called after a repricing has the recorded figure only.
    with custody.session("P", "E", root=root, session=session.id):
        openai.OpenAI().chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "more"}])
    assert "2 of 3 calls priced anew" in run("cost", path)
    assert json.loads(run("cost", path, "--repriced", "--json"))["cost"].startswith("at least $")


def _said(*words: str) -> str:
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_estimate(made: Path) -> None:
    found: dict[str, Any] = json.loads(run("estimate", str(made), "--calls", "400", "--json"))
    assert float(found["low_usd"]) <= float(found["expected_usd"]) <= float(found["high_usd"])
    assert float(found["saved_by_replay_usd"]) > 0
    words = ["--vendor", "openai", "--model", "gpt-4o", "--calls", "10", "--input-tokens", "1000"]
    assert json.loads(run("estimate", *words, "--output-tokens", "0:100:1000", "--json"))["high_usd"] == "0.125"
    with pytest.raises(UsageError, match="do not rise"):
        run("estimate", *words, "--output-tokens", "5:4:3")
    with pytest.raises(UsageError, match="give a SESSION"):
        run("estimate", "--model", "gpt-4o")


def test_the_help_has_the_options_of_the_command_that_is_used() -> None:
    for words in (("cost", "--help"), ("cost", "-h"), ("cost", "SESSION", "--help")):
        text = run(*words)
        assert all(option in text for option in ("--by", "--csv", "--plot", "--repriced", "--engine", "--root"))
    assert "Options of custody cost SESSION" in run("cost", "--help") and "reprice" in run("cost", "--help")
