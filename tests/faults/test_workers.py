"""One session shared by workers that are started by themselves; some are killed, one is frozen and wakes up.

Acceptance 2 of "One session, many machines" in its short form, on a shared folder: the locks and claims are leases, as
they are on an object store. The workers share nothing else: each has a working directory of its own.
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import custody
from custody import layout
from custody.integrity import chronolog
from custody.report.verify import verify
from custody.testing.simulator import Fault, Simulator

LONG = os.environ.get("CUSTODY_FAULTS") == "long"
DOCUMENTS, RUNS = (500, 4) if LONG else (50, 4)
SESSION = "session_20260101_000000"
LEASE = 1.5

pytestmark = pytest.mark.timeout(3600 if LONG else 300)


class Shared:
    """One session, its workers and what their programs were told."""

    def __init__(self, folder: Path, vendor: Simulator, plan: str, **env: str) -> None:
        self.folder, self.vendor = folder, vendor
        self.root, self.acks = folder / "study", folder / "acks.jsonl"
        self.path = layout.experiment_path(self.root, "P", "E") / "sessions" / SESSION
        self.acks.touch()
        self._env = {
            **os.environ, **vendor.env(), "ACKS": str(self.acks), "PLAN": plan, "CUSTODY_LEASE_SECONDS": str(LEASE),
            **env,
        }  # fmt: skip
        self.workers: dict[str, subprocess.Popen[str]] = {}

    def start(self, name: str, *options: str) -> None:
        place = self.folder / f"machine_{name}"
        place.mkdir()
        command = [
            sys.executable, "-m", "custody.cli", "run", "--root", str(self.root), "--project", "P", "--experiment", "E",
            "--session", SESSION, "--worker", name, *options, "--", sys.executable,
            str(Path(__file__).with_name("workers_study.py")),
        ]  # fmt: skip
        with (place / "said").open("w") as said:
            self.workers[name] = subprocess.Popen(
                command, cwd=place, env=self._env, stdout=said, stderr=said, text=True, start_new_session=True
            )

    def signal(self, name: str, number: int) -> None:
        """To a worker's command and its program, at once."""
        os.killpg(self.workers[name].pid, number)

    def told(self) -> list[list[Any]]:
        return [json.loads(line) for line in self.acks.read_text().splitlines()]

    def until(self, reached: Callable[[], Any], what: str) -> None:
        for _ in range(6000 if LONG else 2400):
            if reached():
                return
            time.sleep(0.05)
        pytest.fail(f"{what} never came:\n{self.said()}")

    def finish(self, *names: str) -> None:
        for name in names:
            self.until(lambda name=name: self.workers[name].poll() is not None, f"the end of {name}")
            assert self.workers[name].returncode == 0, self.said()

    def said(self) -> str:
        return "\n".join(
            f"{p.parent.name}: {p.read_text()[-2000:]}" for p in sorted(self.folder.glob("machine_*/said"))
        )

    def events(self) -> list[dict[str, Any]]:
        return list(chronolog.read((self.path / layout.CHRONOLOG).read_bytes()))

    def end(self) -> None:
        for worker in self.workers.values():
            if worker.poll() is None:
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Callable[..., Shared]]:
    made: list[Shared] = []

    def make(vendor: Simulator, plan: str, **env: str) -> Shared:
        made.append(Shared(tmp_path, vendor, plan, **env))
        return made[-1]

    yield make
    for one in made:
        one.end()


def unexplained(shared: Shared) -> list[str]:
    """What was paid more than once and is not on record as in doubt, or as the late answer of a zombie."""
    session = custody.open(shared.path)
    reported: Counter[tuple[str, int]] = Counter()
    for event in shared.events():
        if event["event"] == "in_doubt_retried":
            call = next(call for call in session.calls() if call.id == event["call_id"])
            reported[call.scope["corpus_file"], call.scope["run"]] += 1
    paid: Counter[str] = Counter(seen.body_digest for seen in shared.vendor.requests)
    expected: dict[str, tuple[str, int]] = {}
    for call in session.calls():
        expected[_digest(call.request_body)] = call.scope["corpus_file"], call.scope["run"]
    return [
        f"{expected.get(digest)}: {times} times, {reported[expected[digest]] if digest in expected else 0} in doubt"
        for digest, times in paid.items()
        if digest not in expected or times > 1 + reported[expected[digest]]
    ]


def _digest(body: bytes) -> str:
    import hashlib

    return hashlib.sha256(body).hexdigest()


def check(shared: Shared, items: int) -> None:
    """Every item has one answer, on record, which is what every program was told; all is sound."""
    session = custody.open(shared.path)
    answers: dict[tuple[str, int], str] = {}
    archived: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
    late = 0
    for call in session.calls():
        where = call.scope["corpus_file"], call.scope["run"]
        if call.fields["answers"]:
            assert call.response is not None
            text = call.response.json["choices"][0]["message"]["content"]
            archived[where].add(text)
            if call.fields.get("superseded"):
                late += 1
            else:
                assert where not in answers, f"{where} has two answers, and neither says that it came late"
                answers[where] = text
    assert len(answers) == items
    for name, run, text in shared.told():
        assert text in archived[name, run], f"{name}, run {run}: what the program was told is not on record"
        if not late:
            assert text == answers[name, run]
    assert unexplained(shared) == []
    verdict = verify(session.storage, deep=True)
    assert verdict.sound, verdict.problems


def test_four_workers_of_which_two_die_and_one_wakes_up_too_late(share: Callable[..., Shared]) -> None:
    rng, items = random.Random(7), DOCUMENTS * RUNS
    with Simulator(latency=0.1) as vendor:
        shared = share(vendor, f"{DOCUMENTS}x{RUNS}")
        for name in ("one", "two", "three", "four"):
            shared.start(name)
        shared.until(lambda: len(shared.told()) > items // 20, "the first answers")
        for name in ("two", "three"):
            time.sleep(rng.random())
            shared.signal(name, signal.SIGKILL)
        shared.until(lambda: len(shared.told()) > items // 10, "more answers")
        shared.signal("four", signal.SIGSTOP)
        taken = '"holder":"four-'
        shared.until(lambda: _notes(shared, taken) or shared.workers["one"].poll() is not None, "a taken-over claim")
        shared.signal("four", signal.SIGCONT)
        shared.finish("one", "four")
        check(shared, items)
    status = custody.open(shared.path).status()
    states = {worker["worker"]: worker["state"] for worker in status["workers"]}
    assert states == {"one": "ended", "two": "lost", "three": "lost", "four": "ended"}
    assert status["state"] == "finished", "the last one that ended finished it"
    assert {event["worker"] for event in shared.events() if event["event"] == "worker_end"} == {"one", "four"}


def _notes(shared: Shared, text: str) -> bool:
    segments = (shared.path / layout.ARCHIVE).glob("*.jsonl")
    return any(text in line for path in segments for line in path.read_text("utf-8").splitlines() if '"note"' in line)


@pytest.mark.parametrize("kind", [{}, {"ASYNC": "1"}], ids=["sync", "async"])
def test_the_late_answer_of_a_zombie_is_one_more_attempt(share: Callable[..., Shared], kind: dict[str, str]) -> None:
    """It is archived and says what it is; both programs are told the answer of the one that took over."""
    with Simulator() as vendor:
        vendor.inject(Fault(delay=LEASE * 4, body="doc_000, run 1"))
        shared = share(vendor, "1x1", **kind)
        shared.start("zombie")
        shared.until(lambda: vendor.requests, "the first request")
        shared.signal("zombie", signal.SIGSTOP)
        shared.start("heir")
        shared.finish("heir")
        shared.signal("zombie", signal.SIGCONT)
        shared.finish("zombie")
        assert len(vendor.requests) == 2
        check(shared, 1)
    first, second = custody.open(shared.path).calls()
    assert [call.fields.get("superseded", False) for call in (first, second)] == [True, False]
    assert first.response is not None and second.response is not None
    assert first.response.raw != second.response.raw
    texts = {text for _, _, text in shared.told()}
    assert len(shared.told()) == 2 and texts == {second.response.json["choices"][0]["message"]["content"]}
    (note,) = [n for n in custody.open(shared.path).archive.notes if n["note"] == "claim_taken_over"]
    assert (note["worker"], note["generation"], note["in_doubt"]) == ("zombie", 1, [first.id])
    (event,) = [e for e in shared.events() if e["event"] == "llm_call_superseded"]
    assert (event["call_id"], event["answered_by"]) == (first.id, second.id)
    assert_documented(shared)


def assert_documented(shared: Shared) -> None:
    """Every field that only workers write stands on the page of the format."""
    page = (Path(__file__).parents[2] / "docs/format.md").read_text("utf-8")
    section = page.partition("## A session that workers share\n")[2].partition("\n## ")[0]
    written = {"superseded"}
    for event in shared.events():
        if event["event"] in ("worker_start", "worker_end", "llm_call_superseded", "in_doubt_retried"):
            written |= {event["event"], *event} - {"seq", "time", "event", "previous_sha256"}
    for note in custody.open(shared.path).archive.notes:
        if note["note"] == "claim_taken_over":
            written |= {note["note"], *note} - {"kind", "seq", "note", "crc32"}
    for beat in (shared.path / layout.WORKERS).glob("*.json"):
        written |= set(json.loads(beat.read_text()))
    assert {word for word in written if f"`{word}`" not in section} == set()


def test_a_dead_workers_call_is_refused_where_the_user_said_so(share: Callable[..., Shared]) -> None:
    with Simulator() as vendor:
        vendor.inject(Fault(delay=30, body="doc_000, run 1"))
        shared = share(vendor, "1x1")
        shared.start("dead")
        shared.until(lambda: vendor.requests, "the first request")
        shared.signal("dead", signal.SIGKILL)
        shared.start("heir", "--on-in-doubt", "skip")
        shared.until(lambda: shared.workers["heir"].poll() is not None, "the end of heir")
        assert shared.workers["heir"].returncode != 0
        assert "CallInDoubt" in shared.said()
        assert len(vendor.requests) == 1


def test_a_bug_that_lets_everybody_send_is_seen(share: Callable[..., Shared]) -> None:
    """The control: a harness that passes it is broken."""
    with Simulator(latency=1.0) as vendor:
        shared = share(vendor, "2x2", PLANT="everybody", TOGETHER="2")
        for name in ("one", "two"):
            shared.start(name)
        shared.finish("one", "two")
        assert unexplained(shared), "everything was paid twice, and nobody noticed"
