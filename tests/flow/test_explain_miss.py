"""``custody explain-miss``: the nearest archived request, and every difference."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

import custody
from custody.testing.simulator import Simulator

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
CANARY = "sk-canary-0123456789abcdefghijklmnop"


def messages(text: str) -> Any:
    return [{"role": "system", "content": "You are terse."}, {"role": "user", "content": text}]


def ask(text: str = "Say hello to the harbour.", **kwargs: Any) -> Any:
    with openai.OpenAI() as client:
        return client.chat.completions.create(**{"model": "gpt-4o", "messages": messages(text), **kwargs})


@pytest.fixture
def session(sdk_env: Simulator, tmp_path: Path) -> Path:
    """Two requests: one in the scope run=1, one without a scope."""
    with custody.session("P", "E", root=tmp_path) as recording:
        with recording.scope(run=1):
            ask()
        ask("Tell me a story.", temperature=0.5)
    return recording.path


def url(session: Path) -> str:
    request = custody.open(session).calls()[0].request
    return str(request["url"])


def asked(cli: Cli, session: Path, request: Any, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    file = session.parents[5] / "request.json"
    file.write_text(request if isinstance(request, str) else json.dumps(request))
    return cli("explain-miss", session.name, str(file), *words, env=env)


def miss(tmp_path: Path, session: Path, text: str, **kwargs: Any) -> str:
    with (
        custody.session("P", "E", root=tmp_path, session=session.name, strict=True),
        pytest.raises(custody.ReplayMiss) as missed,
    ):
        ask(text, **kwargs)
    return str(missed.value)


def test_the_message_of_a_miss_ends_with_the_command(cli: Cli, session: Path, tmp_path: Path) -> None:
    said = miss(tmp_path, session, "Say hello to the harbor.", temperature=0.9)
    command = f"custody explain-miss {session.name} --last"
    assert said.endswith(f"The whole difference: {command}")
    done = cli(*command.split()[1:])
    assert done.returncode == 1 and done.stderr == "", done.stderr
    assert "Say hello to the [-harbour-]{+harbor+}." in done.stdout
    assert "body.temperature\n    {+0.9+}" in done.stdout
    assert "differences  2" in done.stdout


def test_every_difference_is_shown(cli: Cli, session: Path, tmp_path: Path) -> None:
    miss(tmp_path, session, "Say hello to the harbor.", temperature=0.9, n=2, seed=7, user="u", top_p=0.1)
    found = json.loads(cli("explain-miss", session.name, "--last", "--json").stdout)
    assert found["verdict"] == "differs"
    assert [d["path"] for d in found["differences"]] == [
        f"body.{name}" for name in ("messages[1].content", "n", "seed", "temperature", "top_p", "user")
    ]
    assert found["differences"][0]["archived"] == "Say hello to the harbour."
    assert found["nearest"]["scope"] == {"run": 1}


def test_a_miss_by_scope_and_by_number(cli: Cli, session: Path, tmp_path: Path) -> None:
    miss(tmp_path, session, "Say hello to the harbour.")
    done = cli("explain-miss", session.name, "--last")
    assert done.returncode == 1 and "archived, but in other scopes only" in done.stdout
    assert 'in scope {"run": 1}' in done.stdout
    with custody.session("P", "E", root=tmp_path, session=session.name, strict=True) as again, again.scope(run=1):
        ask()
        with pytest.raises(custody.ReplayMiss, match="archived in this scope once, and is now asked for once more"):
            ask()
    found = json.loads(cli("explain-miss", session.name, "--last", "--json").stdout)
    assert found["verdict"] == "used_up" and len(found["same"]) == 1
    with custody.session("P", "E", root=tmp_path, session=session.name) as sending, sending.scope(run=1):
        ask()
        ask()
    done = cli("explain-miss", session.name, "--last")
    assert done.returncode == 0 and "answered from the archive" in done.stdout


def test_a_request_in_a_file(cli: Cli, session: Path) -> None:
    body = {"model": "gpt-4o", "messages": messages("Say hello to the harbour.")}
    whole = {
        "method": "POST",
        "url": url(session),
        "body": body,
        "scope": {"run": 1},
        "headers": {"Content-Type": "application/json", "Accept": "application/json", "Authorization": "Bearer x"},
    }
    assert asked(cli, session, whole).returncode == 0
    assert asked(cli, session, {**whole, "scope": {"run": 2}}).returncode == 1
    parts: list[Any] = [body, {"body": body}, {"url": "/v1/chat/completions", "body": body}, {"body": json.dumps(body)}]
    for part in parts:
        done = asked(cli, session, part)
        assert done.returncode == 0, done.stdout + done.stderr
    other = asked(cli, session, {**whole, "url": url(session).replace("/v1/", "/v2/")}, "--json")
    assert other.returncode == 1
    assert [d["path"] for d in json.loads(other.stdout)["differences"]] == ["path"]
    line = custody.open(session).calls()[1].request
    assert asked(cli, session, line).returncode == 0, "a request line of an archive"


def test_from_standard_input(session: Path, tmp_path: Path) -> None:
    body = json.dumps({"model": "gpt-4o-mini", "messages": messages("Say hello to the harbour.")})
    done = subprocess.run(
        [sys.executable, "-m", "custody.cli", "explain-miss", session.name, "-"], input=body, cwd=tmp_path,
        capture_output=True, text=True, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 1
    assert "body.model\n    gpt[-]" not in done.stdout and "body.model\n    gpt-4o{+-mini+}" in done.stdout


def test_a_hidden_header_is_compared_by_its_digest(cli: Cli, sdk_env: Simulator, tmp_path: Path) -> None:
    with custody.session("P", "E", root=tmp_path) as recording:
        ask(extra_headers={"X-Odd": "one"})
    call = custody.open(recording.path).calls()[0]
    assert "x-odd" in call.request["header_digests"]
    request = {"headers": [*call.request["headers"], ["X-Odd", "one"]]}
    assert asked(cli, recording.path, request).returncode == 0
    request["headers"][-1][1] = "two"
    done = asked(cli, recording.path, request)
    assert done.returncode == 1 and "header x-odd" in done.stdout
    assert "digest [-" in done.stdout
    (recording.path / "system_state" / "request_key.json").unlink()
    done = asked(cli, recording.path, request)
    assert done.returncode == 0 and "stored headers" in done.stdout, "the key was withheld: it cannot be compared"


def test_misuse(cli: Cli, session: Path, tmp_path: Path) -> None:
    for words, said in (
        ((), "give either a file"),
        (("--last", "request.json"), "give either a file"),
        (("--last",), "no strict run of"),
        (("missing.json",), "missing.json: No such file"),
    ):
        done = cli("explain-miss", session.name, *words)
        assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr
    for request in (
        "",
        "not JSON",
        "[]",
        '"text"',
        '{"url": 1}',
        '{"headers": 5, "body": 1}',
        '{"headers": [[1]], "url": ""}',
    ):
        done = asked(cli, session, request)
        assert done.returncode == 2 and done.stderr.startswith("custody: the request"), (request, done.stderr)
    assert cli("explain-miss", "session_20200101_000000", "--last").returncode == 2
    (session / "fault_recovery" / "strict_miss.json").write_text("{")
    done = cli("explain-miss", session.name, "--last")
    assert done.returncode == 1 and "strict_miss.json is damaged" in done.stderr
    for damaged in ('{"method": 5}', '{"body": {"text": 1}, "headers": 1}', "{}"):
        (session / "fault_recovery" / "strict_miss.json").write_text(damaged)
        done = cli("explain-miss", session.name, "--last")
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr


def test_an_archive_without_calls(cli: Cli, tmp_path: Path) -> None:
    with custody.session("P", "E", root=tmp_path) as recording:
        pass
    done = asked(cli, recording.path, {"body": {"model": "x"}})
    assert done.returncode == 1 and "holds no request" in done.stdout


def test_no_secret_is_kept_or_printed(cli: Cli, session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    miss(tmp_path, session, f"My key is {CANARY}.", extra_headers={"X-Api-Key": CANARY}, extra_query={"token": CANARY})
    for path in session.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path
    kept = json.loads((session / "fault_recovery" / "strict_miss.json").read_text())
    assert "[REDACTED]" in kept["body"]["text"]
    assert CANARY not in cli("explain-miss", session.name, "--last").stdout
    done = asked(cli, session, {"headers": {"Authorization": f"Bearer {CANARY}"}, "body": {"input": CANARY}})
    assert done.returncode == 1 and CANARY not in done.stdout and "[REDACTED]" in done.stdout


def test_hostile_text_does_not_reach_the_terminal(cli: Cli, session: Path, tmp_path: Path) -> None:
    evil = "\x1b[2J\x1b]0;owned\x07 \u202ereversed \x9b31m\r\nverdict      archived [red]x[/red]"
    miss(tmp_path, session, evil, extra_body={evil: evil})
    done = cli("explain-miss", session.name, "--last")
    assert done.returncode == 1
    assert not set("\x1b\x07\x9b\u202e\r") & set(done.stdout)
    assert [line for line in done.stdout.splitlines() if line.startswith("verdict")] == [
        "verdict      not in the archive"
    ]


def test_where_nothing_can_be_written_the_message_has_no_hint(session: Path, tmp_path: Path) -> None:
    folder = session / "fault_recovery"
    said = []
    for closed in (False, True):
        with (
            custody.session("P", "E", root=tmp_path, session=session.name, strict=True),
            pytest.raises(custody.ReplayMiss) as missed,
        ):
            if closed:
                shutil.rmtree(folder)
                folder.write_text("no folder")
            ask("Something else.")
        said.append(str(missed.value))
    assert "explain-miss" in said[0] and "explain-miss" not in said[1] and "it differs in" in said[1]


def test_the_session_still_verifies(cli: Cli, session: Path, tmp_path: Path) -> None:
    miss(tmp_path, session, "Something else.")
    assert cli("verify", session.name).returncode == 0
    shutil.rmtree(session / "fault_recovery")
    assert cli("verify", session.name).returncode == 0
