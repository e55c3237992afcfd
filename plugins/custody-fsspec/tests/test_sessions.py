"""A study whose sessions lie on S3: real SDK, real sockets, real kills, and a bucket that goes away."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from small_s3 import SmallS3
from study import FORKING, PAIR, ROOT, ended, session_of

from custody.testing.simulator import Simulator

pytest.importorskip("openai", reason="the study asks by the openai SDK")
pytestmark = pytest.mark.timeout(300)


def test_a_killed_study_goes_on_and_pays_for_nothing_twice(
    start: Callable[..., subprocess.Popen[str]], server: SmallS3, sim: Simulator, tmp_path: Path
) -> None:
    code, before, err = ended(start("study.py", KILL="5"))
    assert (code, sim.paid()) == (-9, 5), err
    code, out, err = ended(start("study.py"))
    assert (code, sim.paid()) == (0, 8), err
    assert out.startswith(before), "an acknowledged answer is another one"
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["study.py"]
    for command in ("verify", "status", "cost"):
        code, out, err = ended(start("-m", "custody.cli", command, session_of(server), "--json"))
        assert code == 0, err
        said = json.loads(out)
        assert command != "status" or (said["calls"], said["state"]) == (8, "finished")
    written = b"".join(data for data, _ in server.objects.values())
    assert sim.env()["OPENAI_API_KEY"].encode() not in written


def test_a_call_costs_one_request_and_its_event_none_that_it_waits_for(
    start: Callable[..., subprocess.Popen[str]], server: SmallS3
) -> None:
    process = start("study.py", WAIT="2")
    assert process.stdout is not None
    for _ in range(3):
        process.stdout.readline()
    parts = [key for key, _ in server.objects.items() if "/llm_archive/" in key and ".parts/" in key]
    assert len(parts) == 3, "a call is one part, so one PUT"
    listed = [key for method, key in server.asked if method == "GET" and not key]
    calls = [number for number, (method, key) in enumerate(server.asked) if method == "PUT" and key in parts]
    between = [
        asked for asked in server.asked[calls[0] + 1 : calls[-1]]
        if asked[1] not in parts and "CHRONOLOG" not in asked[1] and "/workers/" not in asked[1]
    ]  # fmt: skip
    assert between == [], f"asked between two calls, besides {len(listed)} listings in all"
    assert not [key for key in server.objects if "/claims" in key], "one owner claims without a request"
    code, _, err = ended(process)
    assert code == 0, err


def test_processes_of_one_machine_pay_for_each_question_once(
    start: Callable[..., subprocess.Popen[str]], server: SmallS3, sim: Simulator, tmp_path: Path
) -> None:
    (tmp_path / "work" / "study.py").write_text(PAIR)
    names = ("--project", "P", "--experiment", "E")
    code, out, err = ended(start("-m", "custody.cli", "run", "--root", ROOT, *names, "--", "python", "study.py"))
    assert (code, sim.paid()) == (0, 6), err
    told = sorted(out.splitlines())
    assert (len(told), len(set(told))) == (12, 6), "the two were told different answers"


def test_a_forked_process_is_told_and_sends_nothing(
    start: Callable[..., subprocess.Popen[str]], sim: Simulator, tmp_path: Path
) -> None:
    """obstore's threads do not follow a fork: whatever waited for them waited for ever."""
    (tmp_path / "work" / "study.py").write_text(FORKING)
    code, out, err = ended(start("study.py"))
    assert (code, sim.paid()) == (0, 1), err
    assert out.splitlines() == ["ArchiveUnavailable", "parent"]
    assert "was forked" in err and "spawn" in err and "Traceback" not in err


def test_an_outage_costs_no_answer_and_no_second_payment(
    start: Callable[..., subprocess.Popen[str]], server: SmallS3, sim: Simulator, tmp_path: Path
) -> None:
    process = start("study.py", WAIT="3")
    assert process.stdout is not None and process.stdin is not None
    lines = [process.stdout.readline() for _ in range(4)]
    server.fail = 503
    code, out, err = ended(process)
    assert code != 0, "it paid on, although nothing could be archived"
    assert "no further paid call" in err or "nothing was sent" in err, err
    paid = sim.paid()
    assert paid <= 5, "one call may be under way when the storage fails, not more"
    assert len(lines) + len(out.split("\n")) - 1 == paid, "an answer that was paid for did not reach the program"
    server.fail = None
    code, again, err = ended(start("study.py"))
    assert (code, sim.paid()) == (0, 8), err
    assert again.startswith("".join(lines) + out)
    code, said, _ = ended(start("-m", "custody.cli", "verify", session_of(server)))
    assert code == 0, said
    assert not list((tmp_path / "spill").rglob("*.jsonl")), "what was spilled is not taken in"


@pytest.mark.parametrize("times", [1, 2, 3])
def test_an_interrupt_in_an_outage_keeps_the_answer(
    start: Callable[..., subprocess.Popen[str]], server: SmallS3, sim: Simulator, tmp_path: Path, times: int
) -> None:
    """The server hangs with the answer of the fifth call; who presses Ctrl-C then has paid for it."""
    patience = {
        "CUSTODY_FSSPEC_RETRY_SECONDS": "3",
        "CUSTODY_FSSPEC_TIMEOUT_SECONDS": "4",
        "CUSTODY_DRAIN_SECONDS": "2",
    }
    process = start("study.py", WAIT="3", **patience)
    assert process.stdout is not None and process.stdin is not None
    for _ in range(4):
        process.stdout.readline()
    server.delay = 3600
    process.stdin.write("\n")
    process.stdin.flush()
    until = time.monotonic() + 60
    while sim.paid() < 5 and time.monotonic() < until:
        time.sleep(0.05)
    for _ in range(times):
        time.sleep(1)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert (code != 0, sim.paid()) == (True, 5), err
    server.delay = 0
    code, _, err = ended(start("study.py"))
    assert (code, sim.paid()) == (0, 8), err


def test_a_kill_right_after_a_request_was_sent_is_said(
    start: Callable[..., subprocess.Popen[str]], server: SmallS3, sim: Simulator, tmp_path: Path
) -> None:
    """The server has not got the request line yet; this machine has it."""
    process = start("study.py", WAIT="3", CUSTODY_FSSPEC_FLUSH_MS="3000")
    assert process.stdout is not None and process.stdin is not None
    for _ in range(4):
        process.stdout.readline()
    sim.latency = 30
    process.stdin.write("\n")
    process.stdin.flush()
    until = time.monotonic() + 60
    while sim.paid() < 5 and time.monotonic() < until:
        time.sleep(0.005)
    process.kill()
    ended(process)
    sim.latency = 0
    code, _, err = ended(start("study.py"))
    assert (code, sim.paid()) == (0, 9), err
    assert "1 in doubt (sent before the stop" in err
    code, out, _ = ended(start("-m", "custody.cli", "verify", session_of(server)))
    assert code == 0, out
    assert not list((tmp_path / "spill").rglob("*")), "what was noted stays behind"
