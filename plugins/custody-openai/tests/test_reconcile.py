"""Calls in doubt whose answers OpenAI still has: taken in, not paid again. Killed processes, the real SDK."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

import custody
from custody.integrity import chronolog
from custody.report.tally import tallied
from custody.report.verify import verify
from custody.testing.simulator import Fault, Simulator

pytestmark = pytest.mark.timeout(180)

STUDY = """
import asyncio, os, sys, threading
import custody, openai
gpt = openai.OpenAI(max_retries=0)
PARTS = [{"type": "text", "text": "Hello"}]
QUESTION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PARTS}]

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def chat(run, **more):
    with session.scope(run=run):
        made = gpt.chat.completions.create(model="gpt-4o", messages=QUESTION, temperature=0.5, **more)
    say("chat", run, made.choices[0].message.content)

def waiting(run):  # the asynchronous client
    async def ask():
        client = openai.AsyncOpenAI(max_retries=0)
        with session.scope(run=run):
            made = await client.chat.completions.create(
                model="gpt-4o", messages=QUESTION, store=True, metadata={"kind": "async"})
        say("async", run, made.choices[0].message.content)
    asyncio.run(ask())

def background(run):
    with session.scope(run=run):
        stream = gpt.responses.create(model="gpt-4o", input="Hello", background=True, stream=True)
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
    say("background", run, text)

def batch(run):
    with session.scope(run=run):
        made = gpt.batches.create(
            input_file_id=os.environ["FILE"], endpoint="/v1/chat/completions", completion_window="24h")
    say("batch", run, made.id)

with custody.session("P", "E", on_in_doubt="reconcile") as session:
    chat("before", store=True)
    sys.stdin.readline()
    stored = {"store": True}
    work = [(chat, 1, stored), (chat, 2, stored), (chat, "unstored", {"store": False}), (waiting, 3, {}),
            (background, 4, {}), (batch, 5, {})]
    threads = [threading.Thread(target=do, args=(run,), kwargs=more) for do, run, more in work]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
"""


@pytest.fixture
def killed(tmp_path: Path, sdk_env: Simulator, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A session killed with six calls in flight, which the vendor answered all the same."""
    line = {"custom_id": "1", "url": "/v1/chat/completions", "method": "POST", "body": {"model": "gpt-4o", "messages": [
        {"role": "user", "content": "Hello"}]}}  # fmt: skip
    monkeypatch.setenv("FILE", openai.OpenAI().files.create(file=json.dumps(line).encode(), purpose="batch").id)
    sdk_env.reset()
    (tmp_path / "study.py").write_text(STUDY)
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "study.py"], cwd=tmp_path, **pipes)
    _until(lambda: sdk_env.answered() == 1, process)
    sdk_env.inject(Fault(hold_after=3, path="/v1/responses"))
    sdk_env.inject(Fault(delay=5, path="/v1/chat"), times=4)
    sdk_env.inject(Fault(delay=5, path="/v1/batches"))
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.flush()
    _until(lambda: sdk_env.paid() == 7, process)
    (path,) = tmp_path.glob("projects/P/experiments/E/sessions/*")
    _until(lambda: b"response.created" in b"".join(p.read_bytes() for p in path.glob("llm_archive/*")), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    sdk_env.release(10**6)
    time.sleep(8)  # the vendor answers, and nobody is there; 2 s of its clock are nobody's
    return path


def _until(done: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while not done():
        assert time.monotonic() < until and process.poll() is None, process.communicate()
        time.sleep(0.01)


def _resume(folder: Path, *options: str) -> tuple[list[list[str]], str]:
    (session,) = folder.glob("projects/P/experiments/E/sessions/*")
    command = [sys.executable, "-m", "custody.cli", "resume", session.name, *options]
    done = subprocess.run(command, cwd=folder, input="\n", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return sorted(line.split(" ", 2) for line in done.stdout.splitlines()), done.stderr


def _events(path: Path, name: str) -> list[dict[str, Any]]:
    return [e for e in chronolog.read((path / "SESSION_CHRONOLOG.jsonl").read_bytes()) if e["event"] == name]


def test_what_the_vendor_has_is_taken_in(tmp_path: Path, sdk_env: Simulator, killed: Path) -> None:
    doubts = custody.open(killed).status()["in_doubt"]
    assert len(doubts) == 6
    out, err = _resume(tmp_path)
    assert sdk_env.paid() == 8, "only the one that was not stored is sent again"
    assert "5 in doubt taken in from the vendor" in err
    texts = {(kind, run): text for kind, run, text in out}
    assert len(texts) == 7 and len(set(texts.values())) == 7, "an answer was used twice"
    stored = custody.open(killed)
    assert verify(stored.storage).sound
    taken = {call.scope["run"]: call for call in stored.calls() if call.fields["source"] == "reconciled"}
    assert set(taken) == {1, 2, 3, 4, 5}
    how = {run: call.fields["annotations"]["reconciled"]["how"] for run, call in taken.items()}
    assert how == {1: "stored completion", 2: "stored completion", 3: "stored completion",
                   4: "background response", 5: "batch"}  # fmt: skip
    lost = {doubt["scope"]["run"]: doubt["call_id"] for doubt in doubts}
    assert all(call.fields["annotations"]["reconciled"]["in_doubt"] == [lost[run]] for run, call in taken.items())
    assert all(call.success and call.response_metadata["tokens_used"] for run, call in taken.items() if run != 5)
    (retried,) = _events(killed, "in_doubt_retried")
    assert "store=true" in retried["reason"]
    assert {event["how"] for event in _events(killed, "in_doubt_reconciled")} == set(how.values())
    status = stored.status()
    assert all(doubt["answered_by"] for doubt in status["in_doubt"])
    assert status["in_doubt_cost_unknown"] == 1, "what was taken in is paid once; what was sent again, perhaps twice"
    whole = tallied(stored.storage, "run", None).tally.whole
    assert (whole.calls, whole.in_doubt) == (7, 1)
    again, _ = _resume(tmp_path, "--strict")
    assert again == out and sdk_env.paid() == 8, "what was taken in replays like any other answer"


def test_what_cannot_be_told_apart_is_sent_again(tmp_path: Path, sdk_env: Simulator, killed: Path) -> None:
    """A stranger's completion of the same question and time is nobody's answer here."""
    store = sdk_env.source.store
    mine = [document for document in store.all("completions") if not document["metadata"]]
    sent = min(document["created"] for document in mine[1:])
    store.put("completions", {**mine[1], "id": "chatcmpl-stranger", "created": sent})
    store.put("messages of", {**store.get("messages of", mine[1]["id"]).document, "id": "chatcmpl-stranger"})  # type: ignore[union-attr]
    _resume(tmp_path)
    assert sdk_env.paid() == 10, "both stored chats, and the one that was not"
    reasons = [event["reason"] for event in _events(killed, "in_doubt_retried")]
    assert sum("3 of that time ask the same, and 2" in reason for reason in reasons) >= 1
    answers = [call.response.json["id"] for call in custody.open(killed).find(operation="chat") if call.response]
    assert "chatcmpl-stranger" not in answers
