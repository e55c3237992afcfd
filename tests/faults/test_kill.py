"""SIGKILL at random moments of a study with both SDKs, and the same command again, until it is done.

Promises 1 to 3: what the program saw is on disk, nothing archived is sent again, replicates stay apart.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import custody
from custody.journal import lines
from custody.report.verify import verify
from custody.testing.simulator import Simulator

STUDY = Path(__file__).with_name("study.py")
LONG = os.environ.get("CUSTODY_FAULTS") == "long"
KINDS = {"gpt": 3, "gpt-stream": 3, "claude-stream": 3, "claude": 6, "gpt-responses": 6}  # runs of each

pytestmark = pytest.mark.timeout(600)


class Study:
    """A study below ``custody run``, to be killed."""

    def __init__(self, root: Path, sim: Simulator, **settings: str) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root, self.sim, self.settings = root, sim, settings
        self.acks = root / "acks.jsonl"
        self.errors = root / "errors.txt"

    def start(self, *options: str, **settings: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **self.sim.env(), **self.settings, **settings, "ACKS": str(self.acks)}
        command = [sys.executable, "-m", "custody.cli", "run", "--root", str(self.root), "--project", "faults",
                   "--experiment", "kills", *options, "--", "python", str(STUDY)]  # fmt: skip
        with self.errors.open("ab") as errors:
            return subprocess.Popen(command, env=environment, stderr=errors, start_new_session=True)

    def finish(self, *options: str, **settings: str) -> int:
        return self.start(*options, **settings).wait(timeout=120)

    def kill_after(self, requests: int, pause: float, **settings: str) -> bool:
        """Start, let the vendor see so many requests, kill everything. False if it finished before."""
        process = self.start(**settings)
        goal = self.sim.paid() + requests
        while process.poll() is None and self.sim.paid() < goal:
            time.sleep(0.001)
        time.sleep(pause)
        finished = process.poll() is not None
        with suppress(ProcessLookupError):  # it finished by itself
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return not finished

    @property
    def path(self) -> Path:
        (found,) = self.root.glob("projects/faults/experiments/kills/sessions/*")
        return found

    def seen(self) -> dict[tuple[str, str, int], set[str]]:
        """Every text that the program saw, by what it asked."""
        texts = defaultdict(set)
        for line in self.acks.read_text().splitlines():
            kind, document, run, digest, _ = json.loads(line)
            texts[kind, document, run].add(digest)
        return texts

    def records(self, kind: str) -> list[dict[str, Any]]:
        found = []
        for segment in sorted((self.path / "llm_archive").glob("*.jsonl")):
            for line in segment.read_bytes().split(b"\n"):
                if line.startswith(b'{"kind":"%s"' % kind.encode()) and lines.check(line):
                    found.append(json.loads(line))
        return found


def check_promises(study: Study, documents: int) -> None:
    """What must hold at the end, by three witnesses: the program's acks, the archive, the vendor."""
    seen = study.seen()
    assert len(seen) == documents * sum(KINDS.values())
    changed = {asked: texts for asked, texts in seen.items() if len(texts) != 1}
    assert not changed, "an answer that the program saw was another one after a restart"
    assert len({next(iter(texts)) for texts in seen.values()}) == len(seen), "one answer was used for two calls"

    answers = Counter((c["scope_key"], c["request_key"], c["replicate"]) for c in study.records("call") if c["answers"])
    assert set(answers.values()) == {1}, "a call whose answer was archived was sent again"
    assert len(answers) == len(seen)

    requests = len(study.records("request"))
    stored = custody.open(study.path)
    doubts = stored.status()["in_doubt"]
    failed = sum(1 for call in stored.calls() if not call.fields["answers"])
    assert requests == len(answers) + failed + len(doubts)
    assert study.sim.paid() <= requests, "the vendor saw a request that is not on record"
    assert all(doubt["answered_by"] for doubt in doubts), "a call in doubt was never answered"
    verdict = verify(stored.storage)
    assert verdict.sound, verdict.problems


def test_killed_twenty_times(tmp_path: Path) -> None:
    kills, rng = (60 if LONG else 20), random.Random(20261123)
    documents = 18 if LONG else 8
    with Simulator(latency=0.01, chunk_delay=0.0005) as sim:
        study = Study(tmp_path, sim, DOCUMENTS=str(documents))
        killed = sum(study.kill_after(rng.randint(1, 12), rng.random() * 0.03) for _ in range(kills))
        assert killed == kills, "the study finished before it was killed often enough: the test proves too little"
        assert study.finish() == 0
        check_promises(study, documents)
        assert custody.open(study.path).status()["in_doubt"], "16 in flight, and no kill left one in doubt"
        paid = sim.paid()
        assert study.finish("--session", study.path.name) == 0
        assert sim.paid() == paid, "a finished session sent something"
    assert study.finish("--session", study.path.name, "--strict") == 0, "it does not replay without the vendor"
    check_promises(study, documents)


def test_other_order_after_each_kill(tmp_path: Path) -> None:
    kills, rng = (20 if LONG else 5), random.Random(7)
    with Simulator(latency=0.01, chunk_delay=0.0005) as sim:
        study = Study(tmp_path, sim, DOCUMENTS="4")
        for attempt in range(kills):
            study.kill_after(rng.randint(4, 16), rng.random() * 0.03, ORDER=str(attempt))
        assert study.finish(ORDER="last") == 0
        check_promises(study, 4)


def test_completed_stage_is_skipped(tmp_path: Path) -> None:
    with Simulator(latency=0.01, chunk_delay=0.0005) as sim:
        study = Study(tmp_path, sim, DOCUMENTS="3")
        first = 3 * 3 * 3  # documents, runs, kinds of the first stage
        assert study.kill_after(first + 5, 0.01)
        (checkpoint,) = (study.path / "system_state").glob("stage_*_first_complete.json")
        assert checkpoint.exists()
        seen_before = len(study.acks.read_text().splitlines())
        assert study.finish(SKIP="1", ORDER="other") == 0
        repeated = study.acks.read_text().splitlines()[seen_before:]
        assert not [line for line in repeated if json.loads(line)[0] in ("gpt", "gpt-stream", "claude-stream")]
        check_promises(study, 3)


def test_only_the_program_is_killed_not_the_command(tmp_path: Path) -> None:
    """The command outlives its program: it reports the signal and the calls in doubt, and exits with it."""
    with Simulator(latency=0.3) as sim:
        study = Study(tmp_path, sim, DOCUMENTS="2")
        process = study.start()
        while sim.paid() < 1:
            time.sleep(0.005)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not children.exists():
            process.kill()
            pytest.skip("this kernel does not list a process's children")
        (child,) = children.read_text().split()
        os.kill(int(child), signal.SIGKILL)
        assert process.wait(timeout=30) == 128 + signal.SIGKILL
        said = study.errors.read_text()
        assert "ended by SIGKILL" in said and "1 in doubt" in said
        sim.latency = 0
        assert study.finish() == 0
        assert "1 in doubt (sent before the stop" in study.errors.read_text()
        check_promises(study, 2)


@pytest.mark.parametrize("plant", ["buffered_in_memory", "labels_ignored", "prompt_is_the_key"])
def test_the_harness_catches_planted_bugs(tmp_path: Path, plant: str) -> None:
    rng = random.Random(3)
    with Simulator(latency=0.01, chunk_delay=0.0005) as sim:
        study = Study(tmp_path, sim, DOCUMENTS="4", PLANT=plant)
        for attempt in range(4):
            study.kill_after(rng.randint(12, 24), 0.0, ORDER=str(attempt))
        assert study.finish(ORDER="last") in (
            0,
            1,
            2,
        )  # 1: losses refused; 2: a killed start was quick enough to finish
        with pytest.raises(AssertionError):
            check_promises(study, 4)
