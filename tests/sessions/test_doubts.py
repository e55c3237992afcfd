"""Calls in doubt: what each policy does with them, in processes that were killed with calls in flight."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import custody
from custody.integrity import chronolog
from custody.testing.simulator import Simulator

pytestmark = pytest.mark.timeout(120)

STUDY = """
import os, threading
import custody, openai
gpt = openai.OpenAI(max_retries=0)
policy = os.environ.get("POLICY")
def say(*words):  # one write a line: two threads that print at once mix their words
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
session = custody.session("P", "E", **({"on_in_doubt": policy} if policy else {}))
def ask(run):
    with session.scope(run=run):
        try:
            made = gpt.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])
            say(run, made.choices[0].message.content)
        except custody.CallInDoubt as error:
            say(run, "IN DOUBT", *error.calls)
with session:
    ask(0)
    threads = [threading.Thread(target=ask, args=(run,)) for run in (1, 2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    ask(3)
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def killed(tmp_path: Path, sdk_env: Simulator) -> Path:
    """A session that was killed with runs 1 and 2 in flight."""
    (tmp_path / "study.py").write_text(STUDY)
    process = _start(tmp_path)
    until = time.monotonic() + 60
    while sdk_env.paid() < 1 and time.monotonic() < until:
        time.sleep(0.005)
    sdk_env.latency = 30
    while sdk_env.paid() < 3 and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert sdk_env.paid() == 3
    sdk_env.latency = 0
    (path,) = tmp_path.glob("projects/P/experiments/E/sessions/*")
    (doubts := custody.open(path).status()["in_doubt"])
    assert [doubt["scope"]["run"] for doubt in sorted(doubts, key=lambda d: d["scope"]["run"])] == [1, 2]
    assert all(d["estimated_cost_usd"] is None and d["cost_evidence"].startswith("unknown:") for d in doubts)
    return path


def _start(folder: Path, *run: str, stdin: Any = subprocess.DEVNULL, stderr: Any = None, **env: str) -> Any:
    command = [sys.executable, "study.py"]
    if run:
        command = [sys.executable, "-m", "custody.cli", *run]
    return subprocess.Popen(
        command, cwd=folder, env={**os.environ, **env}, stdin=stdin, stdout=subprocess.PIPE,
        stderr=stderr or subprocess.PIPE, text=True,
    )  # fmt: skip


def _done(process: subprocess.Popen[str]) -> tuple[int, list[str], str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, sorted(out.splitlines()), err or ""


def _events(path: Path, name: str) -> list[dict[str, Any]]:
    return [e for e in chronolog.read((path / "SESSION_CHRONOLOG.jsonl").read_bytes()) if e["event"] == name]


def test_retry_is_the_default_and_is_counted(tmp_path: Path, sdk_env: Simulator, killed: Path) -> None:
    status, out, err = _done(_start(tmp_path, "resume", killed.name))
    assert status == 0, err
    assert len(out) == 4 and sdk_env.paid() == 6, "one answer was there, two were in doubt, one is new"
    assert "2 in doubt (sent before the stop" in err and "2 of them in place of calls in doubt" in err
    asked = {call for event in _events(killed, "in_doubt_retried") for call in event["in_doubt"]}
    doubts = custody.open(killed).status()["in_doubt"]
    assert asked == {doubt["call_id"] for doubt in doubts}
    assert all(doubt["answered_by"] for doubt in doubts)
    report = json.loads((killed / "fault_recovery" / "resume_checkpoint.json").read_text())
    assert (len(report["in_doubt"]), report["on_in_doubt"]) == (2, "retry")


@pytest.mark.parametrize("how", ["option", "variable"])
def test_skip_sends_none_of_them(tmp_path: Path, sdk_env: Simulator, killed: Path, how: str) -> None:
    options = ("--on-in-doubt", "skip") if how == "option" else ()
    run = (
        () if how != "option" else ("run", "--project", "P", "--experiment", "E", *options, "--", "python", "study.py")
    )
    env = {"option": {"POLICY": "retry"}, "variable": {"CUSTODY_ON_IN_DOUBT": "skip"}}
    status, out, err = _done(_start(tmp_path, *run, **env[how]))
    assert status == 0, err
    assert [line.partition("IN DOUBT")[1] for line in out] == ["", "IN DOUBT", "IN DOUBT", ""]
    assert sdk_env.paid() == 4
    assert all(
        line.split()[-1] in {d["call_id"] for d in custody.open(killed).status()["in_doubt"]} for line in out[1:3]
    )


@pytest.mark.parametrize(
    ("policy", "below_run"), [("fail", "option"), ("ask", "option"), ("fail", "script"), ("ask", None)]
)
def test_fail_starts_nothing(
    tmp_path: Path, sdk_env: Simulator, killed: Path, policy: str, below_run: str | None
) -> None:
    before = (killed / "SESSION_CHRONOLOG.jsonl").read_bytes()
    options = ("--on-in-doubt", policy) if below_run == "option" else ()
    run = ("run", "--project", "P", "--experiment", "E", *options, "--", "python", "study.py") if below_run else ()
    status, out, err = _done(_start(tmp_path, *run, **({} if below_run == "option" else {"POLICY": policy})))
    assert status == (2 if below_run == "option" else 1), err
    assert out == [] and sdk_env.paid() == 3
    assert "2 calls are" in err and "in doubt" in err and "Nothing was started" in err
    assert ("no terminal to ask at" in err) == (policy == "ask")
    if below_run == "option":
        assert "Traceback" not in err
        assert (killed / "SESSION_CHRONOLOG.jsonl").read_bytes() == before
    if policy != "fail" or below_run != "option":
        return
    status, out, err = _done(_start(tmp_path, POLICY="retry"))
    assert status == 0 and len(out) == 4, err
    status, out, err = _done(_start(tmp_path, "resume", killed.name, "--on-in-doubt", policy))
    assert status == 0, "answered since: no longer in doubt"


@pytest.mark.parametrize(("key", "paid", "code"), [("r", 6, 0), ("s", 4, 0), ("f", 3, 2)])
def test_ask_asks_once_at_a_terminal(
    tmp_path: Path, sdk_env: Simulator, killed: Path, key: str, paid: int, code: int
) -> None:
    ours, theirs = pty.openpty()
    run = ("run", "--project", "P", "--experiment", "E", "--on-in-doubt", "ask", "--", "python", "study.py")
    process = _start(tmp_path, *run, stdin=theirs, stderr=theirs)
    os.close(theirs)
    said, until = b"", time.monotonic() + 60
    while b"stops here:" not in said and time.monotonic() < until:
        if select.select([ours], [], [], 0.1)[0]:
            said += os.read(ours, 4096)
    assert b"2 calls are of session" in said or b"2 calls are" in said
    assert b"run=1" in said
    os.write(ours, b"x\n" + key.encode() + b"\n")
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    assert (process.returncode, sdk_env.paid()) == (code, paid), said
    assert len(out.splitlines()) == (0 if key == "f" else 4)


def test_a_worker_that_dies_in_the_run_leaves_its_call_in_doubt(tmp_path: Path, sdk_env: Simulator) -> None:
    """Not only at the start: who waited for the dead one's claim finds its call in doubt."""
    (tmp_path / "work.py").write_text(
        "import custody, openai, sys\n"
        "print('ready', flush=True)\n"
        "with custody.session('P', 'E').scope(run=1):\n"
        "    try:\n"
        "        openai.OpenAI(max_retries=0).chat.completions.create(\n"
        "            model='gpt-4o', messages=[{'role': 'user', 'content': 'Hello'}])\n"
        "    except custody.CallInDoubt as error:\n"
        "        print('IN DOUBT', flush=True)\n"
    )
    (tmp_path / "study.py").write_text(
        "import json, os, subprocess, sys, time, urllib.request\n"
        "start = lambda: subprocess.Popen([sys.executable, 'work.py'], stdout=subprocess.PIPE, text=True)\n"
        "stats = os.environ['OPENAI_BASE_URL'].removesuffix('/v1') + '/_simulator/stats'\n"
        "first = start()\n"
        "while not json.load(urllib.request.urlopen(stats))['paid']: time.sleep(0.1)\n"
        "second = start(); second.stdout.readline(); time.sleep(1.5)\n"
        "assert second.poll() is None, 'it does not wait for the first'\n"
        "first.kill(); begun = time.monotonic(); print(second.communicate()[0])\n"
        "assert time.monotonic() - begun < 10\n"
    )
    sdk_env.latency = 25
    run = ("run", "--project", "P", "--experiment", "E", "--on-in-doubt", "skip", "--", "python", "study.py")
    status, out, err = _done(_start(tmp_path, *run))
    assert status == 0, err
    assert "IN DOUBT" in out
    assert sdk_env.paid() == 1
