"""``custody forensics`` on sessions that the SDKs made, on damaged ones, and on hostile text."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

import custody
from custody.journal import lines
from custody.testing.simulator import Fault, Simulator

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
HELLO: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def session(sdk_env: Simulator, tmp_path: Path) -> Path:
    """Four calls: whole, streamed, tried twice, an embedding."""
    client = openai.OpenAI()
    with custody.session("P", "E", root=tmp_path) as recording:
        with recording.scope(run=1):
            client.chat.completions.create(model="gpt-4o", messages=HELLO, temperature=0.25)
        for _ in client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True):
            pass
        sdk_env.inject(Fault(status=429, retry_after=0))
        client.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
        client.embeddings.create(model="text-embedding-3-small", input="Hello")
    client.close()
    return recording.path


def test_the_table(cli: Cli, session: Path) -> None:
    done = cli("forensics", session.name, env={"COLUMNS": "500"})  # pytest-xdist sets 80
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for word in (
        "gpt-4o-2024-08-06",
        "httpx",
        "simulator-org",
        "temperature=0.25",
        "429 200",
        "retried",
        "alias_model",
    ):
        assert word in done.stdout, word
    assert "not_stated" in done.stdout and "unknown values" in done.stdout


def test_the_json_form_says_what_the_calls_say(cli: Cli, session: Path) -> None:
    found = json.loads(cli("forensics", session.name, "--json").stdout)
    stored = custody.open(session).calls()
    assert found["total"] == len(found["calls"]) == len(stored) == 4
    assert sum(group["calls"] for group in found["models"]) == 4
    for row, call in zip(found["calls"], stored, strict=True):
        assert row["id"] == call.id and row["attempts"] == call.fields["attempts"]
        for name, value in {**call.model_forensics, **call.response_metadata}.items():
            if name not in ("tokens_used", "cost_usd"):
                assert row["values"][name]["value"] == value
                assert row["values"][name]["evidence"]
    assert found["calls"][0]["parameters"]["temperature"]["value"] == 0.25
    assert found["calls"][0]["usage_raw"]["prompt_tokens"] > 0
    assert found["calls"][1]["usage"]["input"] == {"value": None, "evidence": "unknown:not_stated"}
    assert found["calls"][2]["flags"]["retried"] == "429 200"


def test_one_call(cli: Cli, session: Path) -> None:
    done = cli("forensics", session.name, "--call", "000001")
    assert done.returncode == 0, done.stderr
    assert "gpt-4o-2024-08-06  [response_body:model]" in done.stdout
    assert "deployment_region" in done.stdout and "unknown  [not_stated]" in done.stdout
    row = json.loads(cli("forensics", session.name, "--call", "000001", "--json").stdout)
    assert row["values"]["actual_model"] == {"value": "gpt-4o-2024-08-06", "evidence": "response_body:model"}
    missing = cli("forensics", session.name, "--call", "nonsense")
    assert missing.returncode == 2 and missing.stderr.startswith("custody: no calls of") and missing.stdout == ""


def test_a_wrong_session(cli: Cli, tmp_path: Path) -> None:
    for wrong in ("session_20200101_000000", "nowhere", "."):
        done = cli("forensics", wrong)
        assert done.returncode == 2 and done.stdout == ""
        assert done.stderr.startswith("custody: ") and "no session" in done.stderr and done.stderr.count("\n") == 1


def test_an_empty_session(cli: Cli, tmp_path: Path) -> None:
    with custody.session("P", "E", root=tmp_path) as recording:
        pass
    done = cli("forensics", recording.id)
    assert done.returncode == 0 and "0 calls" in done.stdout
    assert json.loads(cli("forensics", recording.id, "--json").stdout)["calls"] == []
    assert '"flagged": 0' in cli("status", recording.id, "--json").stdout


def test_status_hints_at_it(cli: Cli, session: Path) -> None:
    assert f"4 calls flagged: see custody forensics {session.name}" in cli("status", session.name).stdout


def test_damage_costs_a_call_and_no_more(cli: Cli, session: Path) -> None:
    (segment,) = (session / "llm_archive").glob("*.jsonl")
    data = segment.read_bytes()
    at = data.index(b'{"kind":"call"') + 300
    segment.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 : -40])
    done = cli("forensics", session.name, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["total"] == 2, "the first is damaged, the last torn"


def _resealed(session: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Call lines as somebody leaves them who edits by hand and knows how to make the checksum."""
    (segment,) = (session / "llm_archive").glob("*.jsonl")
    written = []
    for line in segment.read_bytes().splitlines(keepends=True):
        fields = json.loads(line)
        if fields["kind"] == "call":
            kind, seq, _ = fields.pop("kind"), fields.pop("seq"), fields.pop("crc32")
            change(fields)
            line = lines.seal(lines.unsealed(kind, seq, fields))
        written.append(line)
    segment.write_bytes(b"".join(written))


def test_lines_damaged_by_hand_give_unknowns(cli: Cli, session: Path) -> None:
    def damage(fields: dict[str, Any]) -> None:
        for name in ("evidence", "usage", "parameters", "sdk", "transport", "scope"):
            fields.pop(name)
        fields["response_metadata"] = "none"
        fields["model_forensics"] = {"actual_model": ["gpt-4o"], "requested_model": "gpt-4o"}

    _resealed(session, damage)
    for words in ((), ("--json",), ("--call", "000001")):
        done = cli("forensics", session.name, *words)
        assert done.returncode == 0, done.stderr
        assert "no_reader" in done.stdout


def test_hostile_text_does_not_reach_the_terminal(cli: Cli, session: Path) -> None:
    evil = "\x1b[2J\x1b]0;owned\x07\u202ereversed\x9b31m\r\n[red]markup[/red]\u2028"

    def infect(fields: dict[str, Any]) -> None:
        fields["model_forensics"].update(actual_model=evil, vendor=evil)
        fields["response_metadata"].update(system_fingerprint=evil, finish_reason=evil)
        fields["scope"] = {evil: evil}
        fields["attempts"][0].update(error=evil, ending=evil)
        fields["parameters"] = {evil: evil}
        fields["usage"] = {"input": evil, "raw": {evil: 1}}
        fields["outcome"] = evil

    _resealed(session, infect)
    for words in ((), ("--json",), ("--call", "000001"), ("--call", "000001", "--json")):
        done = cli("forensics", session.name, *words, env={"COLUMNS": "300"})
        assert done.returncode == 0, done.stderr
        assert not set("\x1b\x07\x9b\u202e\r\u2028") & set(done.stdout + done.stderr)
        assert "[red]markup[/red]" in done.stdout


@pytest.mark.parametrize("columns", ["20", "80", "200"])
def test_any_terminal(cli: Cli, session: Path, columns: str) -> None:
    done = cli("forensics", session.name, env={"COLUMNS": columns})
    assert done.returncode == 0, done.stderr
    table = done.stdout.split("\n\n")[2].splitlines()
    assert len(table) == 2 + 4
    assert max(map(len, table)) <= max(int(columns), 4 * 6 + 3 * 2)
    assert "not shown, for want of" in done.stderr
