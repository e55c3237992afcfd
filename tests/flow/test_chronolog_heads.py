"""What was done to a chronolog shows, by the first wrong line; also whole lines that were cut off its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from echo_sdk import EchoClient, EchoTransport

import custody
from custody.report.verify import Verdict, verify
from custody.storage.local import LocalStorage


@pytest.fixture
def session(root: Path) -> Path:
    client = EchoClient(transport=EchoTransport())
    with custody.session("P", "E", root=root) as s, s.stage("analysis"):
        for n in range(3):
            client.say(f"{n}")
    return s.path


def judged(session: Path) -> Verdict:
    return verify(LocalStorage(session, create=False))


def changed(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> int:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(change(lines)))
    return len(lines)


CHANGES = {
    "removed": (lambda lines: lines[:4] + lines[5:], "line 5 "),
    "swapped": (lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]], "line 5 "),
    "edited": (lambda lines: [*lines[:4], lines[4].replace(b'"time":"2', b'"time":"1'), *lines[5:]], "line 6 "),
    "the last edited": (lambda lines: [*lines[:-1], lines[-1].replace(b'"time":"2', b'"time":"1')], "line {last} "),
    "the last cut off": (lambda lines: lines[:-1], "line {last} is missing"),
    "its end cut off": (lambda lines: lines[:4], "line 5 is missing"),
    "emptied": (lambda lines: [], "line 1 is missing"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("which", ["session", "project"])
def test_what_was_done_to_a_chronolog(session: Path, root: Path, change: str, which: str) -> None:
    path = session / "SESSION_CHRONOLOG.jsonl"
    if which == "project":
        path = root / "projects" / "P" / "PROJECT_CHRONOLOG_P.jsonl"
        for _ in range(3):
            with custody.session("P", "E", root=root, session=session.name):
                pass
    assert judged(session).problems == []
    action, said = CHANGES[change]
    last = changed(path, action)
    problems = judged(session).problems
    assert problems, "nothing was noticed"
    assert problems[0].startswith(f"{path.name}: {said.format(last=last)}"), problems


PROGRAM = """
import os, signal, sys
import custody
from echo_sdk import EchoClient, EchoTransport

client = EchoClient(transport=EchoTransport())
with custody.session("P", "E", root=sys.argv[1]) as s:
    client.say("one"), client.say("two")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_cut_after_a_crash(root: Path) -> None:
    """No end was recorded: what came before the start is bound, and an archived call without an event is remarked."""
    ran = subprocess.run([sys.executable, "-c", PROGRAM, str(root)], check=False, env=os.environ, timeout=60)
    assert ran.returncode == -signal.SIGKILL
    (session,) = root.glob("projects/P/experiments/E/sessions/*")
    chronolog = session / "SESSION_CHRONOLOG.jsonl"
    whole = chronolog.read_bytes()
    assert judged(session).problems == []
    assert not [remark for remark in judged(session).remarks if "have no event" in remark]
    changed(chronolog, lambda lines: lines[:3])
    verdict = judged(session)
    assert verdict.problems == []
    assert "1 archived calls have no event: SESSION_CHRONOLOG.jsonl was cut off after line 3" in verdict.remarks[0]
    changed(chronolog, lambda lines: [])
    assert judged(session).problems == [
        "SESSION_CHRONOLOG.jsonl: line 1 is missing, and what followed it: cut off after line 0, there were 1 events"
    ]
    chronolog.write_bytes(whole)
    with custody.session("P", "E", root=root):
        pass
    assert judged(session).problems == []
