"""An earlier session's answers, only when asked: same labels, request and replicate, marked, and no runs."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import openai
import pytest

import custody
from custody.report.verify import verify
from custody.storage.local import LocalStorage
from custody.testing.simulator import Simulator
from tests.flow.conftest import Cli


def ask(client: openai.OpenAI, text: str, *, stream: bool = False) -> str:
    messages = [{"role": "user", "content": text}]
    if stream:
        chunks = client.chat.completions.create(model="gpt-4o", messages=messages, stream=True)  # type: ignore[call-overload]
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    return client.chat.completions.create(model="gpt-4o", messages=messages).choices[0].message.content or ""  # type: ignore[arg-type]


def study(s: custody.Session, client: openai.OpenAI, runs: int) -> dict[tuple[str, int], str]:
    found = {}
    for item in s.plan(["a", "b"], runs=runs, progress=False):
        found[item.name, item.run] = ask(client, "same") + ask(client, "streamed", stream=True)
    return found


def test_reused_answers(sdk_env: Simulator, root: Path, cli: Cli) -> None:
    client = openai.OpenAI()
    with custody.session("P", "E", root=root) as first:
        before = study(first, client, 2)
    assert sdk_env.paid() == 8
    with custody.session("P", "E", root=root, new=True, reuse=first.id) as second:
        after = study(second, client, 3)
    assert sdk_env.paid() == 8 + 4, "only the third run is new"
    assert {key: after[key] for key in before} == before
    calls = custody.open(second.path).calls()
    reused = [call for call in calls if call.reused_from]
    assert len(reused) == 8
    assert {call.reused_from["session"] for call in reused} == {first.id}
    origins = {call.id for call in custody.open(first.path).calls()}
    assert {call.reused_from["call"] for call in reused} == origins
    assert {call.fields["session"] for call in reused} == {second.id}
    assert verify(LocalStorage(second.path, create=False)).problems == []
    status = custody.open(second.path).status()
    assert status["reused"] == {first.id: 8}
    own = [call for call in calls if not call.reused_from]
    assert status["tokens_used"] == sum(call.response_metadata["tokens_used"] or 0 for call in own)
    assert f"8 answers of {first.id}" in cli("status", str(second.path)).stdout

    # Whole by itself: neither the earlier session nor a vendor is needed any more.
    first.path.rename(root / "gone")
    sdk_env.stop()
    with custody.session("P", "E", root=root, session=second.id, strict=True) as again:
        assert study(again, client, 3) == after
    with custody.session("P", "E", root=root, new=True, reuse=second.path) as third:
        assert study(third, client, 3) == after
    assert custody.open(third.path).status()["reused"] == {first.id: 8, second.id: 4}, "the origin is where it was paid"
    client.close()


def test_nothing_is_reused_unasked_or_under_other_labels(sdk_env: Simulator, root: Path) -> None:
    client = openai.OpenAI()
    with custody.session("P", "E", root=root) as first, first.scope(run=1):
        one = ask(client, "same")
    with custody.session("P", "E", root=root, new=True) as s, s.scope(run=1):
        assert ask(client, "same") != one
    with custody.session("P", "E", root=root, new=True, reuse=first.id) as s:
        with s.scope(run=2):
            assert ask(client, "same") != one
        with s.scope(run=1):
            assert ask(client, "another") != one
            assert ask(client, "same") == one
            assert ask(client, "same") != one, "it was asked once"
    with custody.session("P", "E", root=root, new=True) as s, s.scope(run=1):
        assert ask(client, "same") != one, "the wish does not outlive its session"
    with pytest.raises(custody.SessionNotFound):
        custody.session("P", "E", root=root, new=True, reuse="session_20200101_000000")
    client.close()


def test_a_damaged_answer_is_not_reused(sdk_env: Simulator, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    client = openai.OpenAI()
    with custody.session("P", "E", root=root) as first:
        one = ask(client, "same")
    (segment,) = (first.path / "llm_archive").glob("*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(one[:8].encode(), b"tampered"[:8]))
    with caplog.at_level(logging.ERROR), custody.session("P", "E", root=root, new=True, reuse=first.id):
        assert ask(client, "same") != one
    assert "cannot be reused" in caplog.text
    client.close()


def test_custody_run(sdk_env: Simulator, root: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "study.py").write_text(
        "import openai\n"
        "print(openai.OpenAI().chat.completions.create(model='gpt-4o', messages=[{'role': 'user', 'content': 'hi'}])"
        ".choices[0].message.content)\n"
    )
    run = ("run", "--project", "P", "--experiment", "E", "--new")
    first = cli(*run, "--", "python", "study.py")
    (session,) = tmp_path.glob("projects/P/experiments/E/sessions/*")
    second = cli(*run, "--reuse", session.name, "--", "python", "study.py")
    assert second.stdout == first.stdout
    assert sdk_env.paid() == 1
    latest = max(tmp_path.glob("projects/P/experiments/E/sessions/*"))
    events = [json.loads(line)["event"] for line in (latest / "SESSION_CHRONOLOG.jsonl").read_text().splitlines()]
    assert events.count("llm_call_reused") == 1
    wrong = cli(*run, "--reuse", "nowhere", "--", "python", "study.py")
    assert (wrong.returncode, "Traceback" in wrong.stderr) == (2, False)
