"""A session that is frozen after each of its system calls: what a ``kill -9`` at that moment would leave is copied.

What survives the end of a process is what the kernel has: the files as they are read, and what was sent. So one run,
stopped by SIGSTOP at every call, gives the states of as many kills; a kill itself is tried at some of them
(``tampering``). A state is judged when the run is over, so that its process is dead and its locks are gone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from campaign.attack import Run, Study
from campaign.syscalls import KILLED, Strace, strace
from campaign.tally import Tally
from custody.testing.simulator import Simulator

STOPPED = "--- stopped by SIGSTOP ---"


LATEST, OTHERS = 12, 16


@dataclass(frozen=True)
class Frozen:
    """A copy of a study's folder, what the parent had been told by then, and how many calls left just this."""

    folder: Path
    acks: dict[int, str]
    calls: int

    def study(self, vendor: Simulator, tally: Tally) -> Study:
        """The study as its parent knows it at that moment; the vendor has forgotten who asked."""
        vendor.reset()
        study = Study(self.folder, vendor, tally)
        for item, sha in self.acks.items():
            study.acks[item].add(sha)
        return study

    def some(self) -> frozenset[int]:
        """Items to ask for again: what came last, some of the others, and what comes next. What the archive has of
        each is compared in any case."""
        latest = max(self.acks, default=-1)
        asked = {*sorted(self.acks)[-LATEST:], *sorted(self.acks)[::OTHERS], latest + 1, latest + 2}
        return frozenset(asked)


def frozen(study: Study, into: Path, calls: int, acks: range | None = None, **fields: Any) -> list[Frozen]:
    """The distinct states of one run, of those in which ``acks`` has the number of acknowledged calls."""
    found: list[tuple[Path, dict[int, str]]] = []
    counts: dict[bytes, int] = {}
    with (
        strace(f"{KILLED}:signal=STOP", signals="SIGSTOP") as (tracer, attach),
        study.run(study.job(calls, **fields), attach) as run,
    ):
        for _ in _stops(tracer, run):
            if acks is not None and len(run.acks) not in acks:
                if len(run.acks) >= acks.stop:
                    break
                continue
            state = _digest(study.folder, run.acks)
            counts[state] = counts.get(state, 0) + 1
            if counts[state] == 1:
                found.append((into / f"{len(found):05}", dict(run.acks)))
                shutil.copytree(study.folder, found[-1][0])
        if acks is None or len(run.acks) < acks.stop:
            assert run.wait() == 0, study.last_words()
            assert len(run.acks) == calls
    return [Frozen(*one, times) for one, times in zip(found, counts.values(), strict=True)]


def _stops(tracer: Strace, run: Run) -> Iterator[None]:
    """Yields whenever all threads of the program stand still, and lets it go on afterwards."""
    seen, rest = 0, ""
    with Path(tracer.output).open(encoding="utf-8", errors="replace") as lines:
        while _alive(run.pid):
            # strace writes a line for each thread that stands.
            *whole, rest = (rest + lines.read()).split("\n")
            seen += sum(STOPPED in line for line in whole)
            threads = _threads(run.pid)
            if not seen or seen < threads:
                run.poll()
                time.sleep(0.0001)
                continue
            while run.poll() and run.pending():
                pass
            yield
            seen = 0
            os.kill(run.pid, 18)  # SIGCONT


def _threads(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except FileNotFoundError:
        return 0


def _alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _digest(folder: Path, acks: dict[int, str]) -> bytes:
    state = hashlib.blake2b(repr(sorted(acks.items())).encode())
    for path in sorted(folder.rglob("*")):
        state.update(f"\n{path.relative_to(folder)}\n".encode())
        if path.is_file():
            state.update(path.read_bytes())
    return state.digest()
