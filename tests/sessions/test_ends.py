"""Ends of a program with calls in flight: signals, exceptions, exits, dying loops. Real processes, real signals."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import openai
import pytest

import custody
from custody.integrity import chronolog
from custody.report.verify import verify
from custody.sessions import crash
from custody.testing.simulator import Fault, Simulator

pytestmark = pytest.mark.timeout(120)

HEAD = """
import asyncio, os, signal, sys, threading, time
import custody, openai
QUESTION = [{"role": "user", "content": "Hello"}]
gpt = openai.OpenAI(max_retries=0)
def ask(run, **more):
    with session.scope(run=run):
        return gpt.chat.completions.create(model="gpt-4o", messages=QUESTION, **more)
"""

SYNC = """
with custody.session("P", "E") as session:
    ask(0)
    print("first", flush=True)
    ask(1)
    print("second", flush=True)
    ask(2)
"""
WITHOUT_WITH = """
session = custody.session("P", "E")
ask(0)
print("first", flush=True)
ask(1)
print("second", flush=True)
ask(2)
"""
THREADS = """
from concurrent.futures import ThreadPoolExecutor
with custody.session("P", "E") as session:
    ask(0)
    print("first", flush=True)
    pool = ThreadPoolExecutor(3)
    for run in range(1, 12):
        pool.submit(ask, run)
    time.sleep(60)
"""
LOOP = """
async def main():
    client = openai.AsyncOpenAI(max_retries=0)
    async def work(run):
        for turn in range(3):
            with session.scope(run=run, turn=turn):
                question = [{"role": "user", "content": f"This is {run}"}]
                await client.chat.completions.create(model="gpt-4o", messages=question)
                if turn == 0:
                    print("first", flush=True)
                if os.environ.get("FAIL") == f"{run}{turn}":
                    raise ValueError("task " + os.environ["FAIL"])
    await asyncio.gather(*(work(run) for run in range(3)))

with custody.session("P", "E") as session:
    asyncio.run(main())
"""
INSIDE = LOOP.replace("    await asyncio.gather", "    global session\n    with custody.session('P', 'E') as session:\n"
                      "        await asyncio.gather").replace(
    "with custody.session(\"P\", \"E\") as session:\n    asyncio.run(main())", "asyncio.run(main())")  # fmt: skip


class Program:
    def __init__(self, folder: Path, sim: Simulator, code: str, *, below_run: bool = False, **env: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        (folder / "study.py").write_text(HEAD + code)
        command = [sys.executable, "study.py"]
        if below_run:
            names = ("--project", "P", "--experiment", "E")
            command = [sys.executable, "-m", "custody.cli", "run", *names, "--", "python", "study.py"]
        self.process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **sim.env(), **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True,
        )  # fmt: skip

    def end(self, timeout: float = 60) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err

    @property
    def stored(self) -> Any:
        (path,) = self.folder.glob("projects/P/experiments/E/sessions/*")
        return custody.open(path)

    def last_event(self) -> dict[str, Any]:
        return list(chronolog.read(self.stored.storage.read("SESSION_CHRONOLOG.jsonl")))[-1]


def when_paid(sim: Simulator, count: int) -> None:
    until = time.monotonic() + 60
    while sim.paid() < count:
        assert time.monotonic() < until, "the program did not get so far"
        time.sleep(0.01)
    time.sleep(0.1)  # the request is there; let its sender settle down to waiting


@pytest.mark.parametrize(
    ("code", "number", "before", "flying", "below_run"),
    [
        (SYNC, signal.SIGTERM, 1, 1, False),
        (WITHOUT_WITH, signal.SIGTERM, 1, 1, True),
        (WITHOUT_WITH, signal.SIGINT, 1, 1, False),
        (THREADS, signal.SIGINT, 1, 3, False),
        (THREADS, signal.SIGINT, 1, 3, True),
        (THREADS, signal.SIGTERM, 1, 3, False),
        (LOOP, signal.SIGINT, 3, 3, True),
        (INSIDE, signal.SIGINT, 3, 3, False),
        (LOOP, signal.SIGTERM, 3, 3, False),
    ],
    ids="sync-term bare-term-run bare-int pool-int pool-int-run pool-term loop-int-run inside-int loop-term".split(),
)
def test_a_signal_lets_the_calls_in_flight_end(
    tmp_path: Path, code: str, number: int, before: int, flying: int, below_run: bool
) -> None:
    """Nothing in flight is lost, nothing new is sent, and the program ends as it would without custody."""
    with Simulator(latency=1.0) as sim:
        program = Program(tmp_path, sim, code, below_run=below_run)
        when_paid(sim, before + flying)
        os.kill(program.process.pid, number)
        status, out, err = program.end()
        assert out.count("first") == before
        assert sim.paid() == before + flying, "a call was sent after the signal"
    wanted = {(signal.SIGTERM, False): -15, (signal.SIGTERM, True): 143, (signal.SIGINT, False): -2,
              (signal.SIGINT, True): 130}[number, below_run]  # fmt: skip
    assert status == wanted, err
    if not (code is THREADS and number == signal.SIGINT and below_run):  # there Python itself waits for its pool
        assert "waiting at most 20 s" in err, err
    stored = program.stored
    assert [call.outcome for call in stored.calls()] == ["success"] * (before + flying), err
    found = stored.status()
    assert (found["in_doubt"], found["state"]) == ([], "failed")
    assert verify(stored.storage).sound
    if number == signal.SIGTERM:
        assert program.last_event()["signal"] == "SIGTERM"
    assert not (stored.path / crash.CRASH_REPORT).exists()


@pytest.mark.parametrize("code", [SYNC, INSIDE], ids=["sync", "inside"])
@pytest.mark.parametrize("latency", [0.2, 1.0])
def test_an_interrupt_of_the_whole_group_is_one(tmp_path: Path, code: str, latency: float) -> None:
    """``custody run`` passes on what the program has got already."""
    before, flying = (1, 1) if code is SYNC else (3, 3)
    with Simulator(latency=latency) as sim:
        program = Program(tmp_path, sim, code, below_run=True)
        when_paid(sim, before + flying)
        os.killpg(program.process.pid, signal.SIGINT)
        status, _, err = program.end()
    assert status == 130, err
    assert [call.outcome for call in program.stored.calls()] == ["success"] * (before + flying), err


@pytest.mark.parametrize("code", [SYNC, LOOP], ids=["sync", "loop"])
def test_a_second_interrupt_leaves_at_once(tmp_path: Path, code: str) -> None:
    before, flying = (1, 1) if code is SYNC else (3, 3)
    with Simulator(latency=0.2) as sim:
        program = Program(tmp_path, sim, code)
        when_paid(sim, before)
        sim.latency = 30
        when_paid(sim, before + flying)
        os.kill(program.process.pid, signal.SIGINT)
        time.sleep(1)
        assert program.process.poll() is None, "it waits for the answer"
        os.kill(program.process.pid, signal.SIGINT)
        begun = time.monotonic()
        status, _, err = program.end()
        assert time.monotonic() - begun < 10
    assert status == -2, err
    outcomes = [call.outcome for call in program.stored.calls()]
    assert outcomes.count("success") == before, "what was acknowledged is lost"
    assert outcomes.count("cancelled") == flying
    assert program.stored.status()["in_doubt"] == []


@pytest.mark.parametrize("code", [LOOP, INSIDE], ids=["around", "inside"])
def test_an_exception_in_one_task_does_not_cost_the_others_their_answers(tmp_path: Path, code: str) -> None:
    with Simulator(latency=0.1) as sim:
        for run in (0, 1):
            sim.inject(Fault(delay=3, body=f"This is {run}"))
        program = Program(tmp_path, sim, code, FAIL="20")
        status, _, err = program.end()
        assert status == 1 and "ValueError: task 20" in err
        assert sim.paid() == 3, "a loop that has ended went on sending"
        stored = program.stored
        assert [c.outcome for c in stored.calls()] == ["success"] * sim.paid(), (
            err,
            [(c.fields["started"], c.fields["ended"], c.outcome, c.fields["error"], c.scope) for c in stored.calls()],
        )
    found = stored.status()
    assert (found["in_doubt"], found["state"]) == ([], "failed")
    text = (stored.path / crash.CRASH_REPORT).read_text()
    assert "ValueError: task 20" in text and 'File "study.py"' in text
    assert str(tmp_path) not in text and sys.prefix not in text
    assert [e["error"] for e in chronolog.read(stored.storage.read("SESSION_CHRONOLOG.jsonl")) if e["event"] == "crash"]


@pytest.mark.parametrize("below_run", [False, True], ids=["plain", "run"])
def test_an_exception_that_nobody_catches_without_with(tmp_path: Path, below_run: bool) -> None:
    with Simulator() as sim:
        code = "session = custody.session('P', 'E')\nask(0)\nraise RuntimeError(gpt.api_key, os.getcwd())"
        key = "sk-8fQ2xK7vP0zL4nB6wR3t"
        program = Program(tmp_path, sim, code, below_run=below_run, OPENAI_API_KEY=key)
        status, _, err = program.end()
    assert status == 1 and "RuntimeError" in err
    found = program.last_event()
    assert (found["event"], found["outcome"]) == ("session_end", "failed")
    text = (program.stored.path / crash.CRASH_REPORT).read_text()
    assert "RuntimeError: ('[REDACTED]', " in text
    assert key not in text and str(tmp_path.parent) not in text


def test_a_handler_of_the_programs_own_stays(tmp_path: Path) -> None:
    """It is never replaced; leaving through it still gives other threads' calls their time."""
    code = """
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))
    with custody.session("P", "E") as session:
        mine = signal.getsignal(signal.SIGTERM)
        threading.Thread(target=ask, args=(0,), daemon=True).start()
        time.sleep(60)
    """
    with Simulator(latency=1.0) as sim:
        program = Program(tmp_path, sim, textwrap.dedent(code))
        when_paid(sim, 1)
        os.kill(program.process.pid, signal.SIGTERM)
        status, _, err = program.end()
    assert status == 7, err
    assert [call.outcome for call in program.stored.calls()] == ["success"]
    assert program.last_event()["error"] == "SystemExit"


def test_handlers_are_given_back(sdk_env: Simulator, root: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)], sys.excepthook
    with custody.session("P", "E", root=root):
        openai.OpenAI().chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "only while a call waits"
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert before == (
        [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)],
        sys.excepthook,
    )


@pytest.mark.parametrize("failing", [False, True])
def test_a_stream_that_is_open_when_its_session_ends(sdk_env: Simulator, root: Path, failing: bool) -> None:
    sdk_env.inject(Fault(hold_after=3, path="/chat"))
    session = custody.session("P", "E", root=root)
    stream = openai.OpenAI(max_retries=0).chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "Hello"}], stream=True
    )
    next(iter(stream))
    session.close("failed" if failing else "finished")
    sdk_env.release(1000)
    stream.close()
    stored = custody.open(session.path)
    (call,) = stored.calls()
    assert call.fields["ending"] == ("cancelled" if failing else "closed_early")
    assert call.response is not None and call.response.chunks
    assert stored.status()["in_doubt"] == []
    assert verify(stored.storage).sound


def test_a_session_that_ends_on_its_loop_waits_for_the_calls_there(sdk_env: Simulator, root: Path) -> None:
    """``with`` cannot wait on the loop that its calls need; the end comes when they have their answers."""
    sdk_env.latency = 0.5

    async def main() -> str:
        client = openai.AsyncOpenAI(max_retries=0)
        with custody.session("P", "E", root=root):
            asked = asyncio.create_task(
                client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])
            )
            while not sdk_env.paid():
                await asyncio.sleep(0.01)
        made = await asked
        await client.close()
        return made.choices[0].message.content or ""

    assert asyncio.run(main()) in sdk_env.answers
    (path,) = root.glob("projects/P/experiments/E/sessions/*")
    stored = custody.open(path)
    assert [call.outcome for call in stored.calls()] == ["success"]
    assert stored.status()["state"] == "finished"


def test_a_thread_that_outlives_a_failed_session_sends_nothing(sdk_env: Simulator, root: Path) -> None:
    import threading

    said: list[BaseException | str] = []
    go = threading.Event()
    client = openai.OpenAI(max_retries=0)

    def ask() -> str:
        made = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])
        return made.choices[0].message.content or ""

    def work() -> None:
        ask()
        go.wait(30)
        try:
            said.append(ask())
        except custody.CustodyError as error:
            said.append(error)

    with pytest.raises(ValueError), custody.session("P", "E", root=root):
        thread = threading.Thread(target=work)
        thread.start()
        while not sdk_env.answered():
            time.sleep(0.01)
        raise ValueError("stop")
    go.set()
    thread.join()
    assert [type(one).__name__ for one in said] == ["SessionEnded"]
    assert sdk_env.paid() == 1
    assert ask(), "the program itself may go on outside of a session"


def test_paths_in_a_crash_report_are_relative() -> None:
    text = (
        f'File "{Path.cwd()}/a.py"; /home/jane/x y/secret.txt https://host/a/b "/opt/thing/data.bin" C:\\Users\\j\\f.py'
    )
    said = crash.relative(text)
    assert 'File "a.py"' in said and "https://host/a/b" in said and ".../data.bin" in said
    assert "jane" not in said and "Users" not in said
