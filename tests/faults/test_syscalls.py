"""A kill or an error at the system calls of a recorded session, chosen and injected by strace; for every one of them,
what a kill would leave.

The parent counts the acknowledgements over a pipe. Afterwards the session is resumed: every acknowledged
call is answered as it was, and the vendor has not seen it again.
"""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path

import pytest
from campaign import LONG, syscalls
from campaign.attack import Study
from campaign.freezing import frozen
from campaign.tally import Tallies
from campaign.tampering import attacked, traced
from campaign.work import FAILED, REFUSED

from custody.testing.simulator import Simulator

CALLS = 200 if LONG else 12
EVERY = 32  # which of the points of the long form are kills, not copies
FROZEN = 200 if LONG else 3
CHUNK = 10  # acknowledged calls, whose points one test takes
HOW = {
    "kinds": ("chat", "chat", "stream", "both", "chat", "chat", "chat", "claude"),
    "rotate_bytes": 96 * 1024 if LONG else 16 * 1024,
}

pytestmark = [
    pytest.mark.skipif(bool(syscalls.missing()), reason=syscalls.missing()),
    pytest.mark.timeout(7200 if LONG else 300),
]


def test_a_kill_at_a_system_call(tmp_path: Path, vendor: Simulator, tally: Tallies) -> None:
    counted = tally("2 kill at a system call")
    every = sorted({(call.name, call.nth) for call in traced(Study(tmp_path / "dry", vendor, counted), CALLS, **HOW)})
    points = every[::EVERY] if LONG else random.Random(4).sample(every, 12)
    for name, nth in points:
        vendor.reset()
        study = Study(tmp_path / f"{name}_{nth}", vendor, counted)
        code, run, _ = attacked(study, f"{name}:signal=KILL:when={nth}", CALLS, **HOW)
        study.absorb(run)
        assert code in (0, -signal.SIGKILL), study.last_words()
        if code == 0:
            continue  # one of its threads makes a few calls more or less from run to run
        counted.states += 1
        counted.acknowledged += len(study.acks)
        study.resume(CALLS if nth % 50 == 0 else None, **HOW)
        shutil.rmtree(study.folder)
    assert counted.states >= len(points) * 0.9
    assert counted.sound, counted.failures


@pytest.mark.parametrize("first", range(0, FROZEN + 1, CHUNK))
def test_every_system_call(scratch: Path, vendor: Simulator, tally: Tallies, first: int) -> None:
    """What a kill after each of them would leave, copied from a program that stands still."""
    counted = tally("2 kill at a system call")
    acks = range(first, min(first + CHUNK, FROZEN + 1))
    states = frozen(Study(scratch / f"run_{first}", vendor, counted), scratch / f"{first}", FROZEN, acks, **HOW)
    assert {len(state.acks) for state in states} >= set(acks) - {0}, "it was not stopped often enough"
    for state in states:
        study = state.study(vendor, counted)
        counted.states += state.calls
        counted.acknowledged += state.calls * len(study.acks)
        study.resume(only=state.some(), **HOW)
        shutil.rmtree(study.folder)
    assert counted.sound, counted.failures


FAILING = ("write", "openat", "fdatasync", "fsync", "rename", "link", "mkdir", "unlink")
ERRORS = ("EIO", "ENOSPC", "EINTR", "EIO from there on")
FAILED_CALLS = 40 if LONG else 8


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_at_a_system_call(tmp_path: Path, vendor: Simulator, tally: Tallies, error: str) -> None:
    """The answer reaches the program; what cannot be kept stops the next paid call; nothing is paid again."""
    counted = tally("2 error at a system call")
    name_of_error, _, further = error.partition(" ")
    # Where every write fails, the acknowledgements to the parent do, too.
    names = ("fdatasync", "fsync", "rename", "link") if further else FAILING
    study = Study(tmp_path / "dry", vendor, counted)
    points = sorted({(c.name, c.nth) for c in traced(study, FAILED_CALLS, **HOW) if c.path and c.name in names})
    hits = 0
    for name, nth in points if LONG else random.Random(error).sample(points, min(5, len(points))):
        vendor.reset()
        study = Study(tmp_path / f"{name}_{nth}", vendor, counted)
        inject = f"{name}:error={name_of_error}:when={nth}{'+' if further else ''}"
        code, run, hit = attacked(study, inject, FAILED_CALLS, **HOW)
        counted.states += 1
        hits += bool(hit)
        study.kept(run)
        study.absorb(run)
        counted.acknowledged += len(run.acks)
        # Not a certificate of the SDK's, or the file that the program's own words go to.
        ours = any(call.path.startswith(str(study.root)) for call in hit)
        assert code in (0, REFUSED, FAILED) or not ours, study.last_words()
        if code == FAILED and vendor.paid() and ours:
            counted.lost(f"{study.folder.name}: {error}: {run.said[-1:]}")
        study.resume(FAILED_CALLS, **HOW)
        shutil.rmtree(study.folder)
    assert hits >= 0.8 * counted.states
    assert counted.sound, counted.failures


SLOW = 20  # milliseconds that each sync takes


@pytest.mark.parametrize("limit", [12_000, 20_000, 33_333] if LONG else [20_000])
def test_a_file_that_may_not_grow(tmp_path: Path, vendor: Simulator, tally: Tallies, limit: int) -> None:
    """``RLIMIT_FSIZE``, a quota: the write that reaches it is done in part, the next one is refused."""
    counted = tally("2 error at a system call")
    study = Study(tmp_path / f"limited_{limit}", vendor, counted)
    with study.run(study.job(FAILED_CALLS, file_limit=limit, **{**HOW, "rotate_bytes": None})) as run:
        code = run.wait()
    counted.states += 1
    study.kept(run)
    study.absorb(run)
    counted.acknowledged += len(run.acks)
    assert code in (0, REFUSED, FAILED), study.last_words()
    assert study.path is not None
    sizes = [path.stat().st_size for path in (study.path / "llm_archive").glob("*.jsonl")]
    assert max(sizes) == limit, f"the limit was not reached: {sizes}"
    study.resume(FAILED_CALLS, **HOW)
    assert counted.sound, counted.failures


def test_a_kill_while_the_disk_is_slow(tmp_path: Path, vendor: Simulator, tally: Tallies) -> None:
    """Each sync takes its time before it begins: what is said to be durable meanwhile is not."""
    counted = tally("2 kill at a system call")
    for acks in range(1, FAILED_CALLS, 1 if LONG else 4):
        vendor.reset()
        study = Study(tmp_path / f"slow_{acks}", vendor, counted)
        with (
            syscalls.strace(f"fdatasync,fsync:delay_enter={SLOW}ms") as (tracer, attach),
            study.run(study.job(FAILED_CALLS, **HOW), attach) as run,
        ):
            run.listen(acks)
            run.kill()
            assert run.wait() == -signal.SIGKILL
            delayed = [call for call in tracer.calls() if call.name == "fdatasync" and call.delayed]
        assert len(delayed) >= acks // 2, "no sync was delayed"  # two that run at once share one
        study.absorb(run)
        counted.states += 1
        counted.acknowledged += len(study.acks)
        study.resume(**HOW)
        shutil.rmtree(study.folder)
    assert counted.sound, counted.failures
