"""Runs the program under attack, and holds every later run to what an earlier one acknowledged."""

from __future__ import annotations

import functools
import multiprocessing
import os
import select
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import custody
from campaign import work
from campaign.tally import Tally
from campaign.work import Job
from custody.errors import CustodyError
from custody.testing.simulator import Simulator

Attached = Callable[[int], None]
"""Called with the pid of a child that waits; when it returns the child goes on."""

_context = multiprocessing.get_context("forkserver")


@functools.cache
def _server() -> None:
    """Start the process that all programs are forked from, with everything imported."""
    _context.set_forkserver_preload(["campaign.warm"])
    before = os.environ.get("PYTHONPATH")
    # Before Python 3.13 the server takes no search path from here, and passes over what it cannot import.
    os.environ["PYTHONPATH"] = os.pathsep.join([p for p in sys.path if p])
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


class Run:
    """One run of a job. Use as ``with``: what still runs at the end is killed."""

    def __init__(self, job: Job, attach: Attached | None = None) -> None:
        _server()
        self._acks, theirs = _context.Pipe(duplex=False)
        go: Connection | None = None
        ours: Connection | None = None
        if attach is not None or job.hold:
            go, ours = _context.Pipe(duplex=False)
        self.said: list[list[str]] = []
        self._rest = b""
        self._open = True
        self.code: int | None = None
        self.process = _context.Process(target=work.main, args=(job, go, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self._hold: Connection | None = None
        if ours is not None and go is not None:
            go.close()
            if attach is not None:
                attach(self.pid)
            ours.send(True)
            if job.hold:
                self._hold = ours
            else:
                ours.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        if self.code is None:
            if self.process.is_alive():
                self.kill()
            self.wait()
        self._acks.close()
        self.process.close()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def acks(self) -> dict[int, str]:
        """Digests of the answers that the program saw, by item."""
        return {int(words[1]): words[2] for words in self.said if words[0] == "ack"}

    def of(self, word: str) -> list[list[str]]:
        return [words for words in self.said if words[0] == word]

    def poll(self, seconds: float = 0.0) -> bool:
        """Read what the program has said by now; False when it will say no more."""
        if self._open and select.select([self._acks.fileno()], [], [], seconds)[0]:
            self._read()
        return self._open

    def pending(self) -> bool:
        """Whether the program has said something that was not read yet."""
        return self._open and bool(select.select([self._acks.fileno()], [], [], 0)[0])

    def listen(self, count: int, timeout: float = 60.0, *, word: str = "ack") -> bool:
        """Read until so many items are acknowledged; False when the pipe ends before."""
        deadline = time.monotonic() + timeout
        while len(self.of(word)) < count and self._open:
            left = deadline - time.monotonic()
            assert left > 0, f"no {count} times {word!r} in {timeout} s; the last words were {self.said[-3:]}"
            if select.select([self._acks.fileno()], [], [], left)[0]:
                self._read()
        return len(self.of(word)) >= count

    def release(self) -> None:
        """Let go of a session that was held open."""
        if self._hold is not None:
            self._hold.close()
            self._hold = None

    def kill(self, number: int = signal.SIGKILL) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self, timeout: float = 120.0) -> int:
        """Until the end of the process; gives its exit code, negative for a signal."""
        self.listen(sys.maxsize, timeout) if self._open else None
        self.process.join(timeout)
        assert self.process.exitcode is not None, "the program hangs"
        self.code = self.process.exitcode
        return self.code

    def _read(self) -> None:
        data = os.read(self._acks.fileno(), 1 << 16)
        if not data:
            self._open = False
        *whole, self._rest = (self._rest + data).split(b"\n")
        self.said += [line.decode().split(" ", 2) for line in whole]


@dataclass
class Study:
    """One session over all its runs, and three witnesses: the program, the archive, the vendor."""

    folder: Path
    sim: Simulator
    tally: Tally
    env: dict[str, str] = field(default_factory=dict)
    acks: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    runs: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.root = self.folder / "root"

    def job(self, calls: int, **fields: Any) -> Job:
        env = {**os.environ, **self.sim.env(), "CUSTODY_SPILL_DIR": str(self.folder / "spill"), **self.env}
        return replace(Job(self.root, calls, env, self.folder / "log.txt"), **fields)

    def run(self, job: Job, attach: Attached | None = None) -> Run:
        self.runs += 1
        return Run(job, attach)

    @property
    def path(self) -> Path | None:
        """The session's folder; None where no session came to be."""
        found = sorted(self.root.glob("projects/*/experiments/*/sessions/*/system_state/session.json"))
        return found[-1].parents[1] if found else None

    def absorb(self, run: Run) -> None:
        """Take in what a run acknowledged."""
        for item, sha in run.acks.items():
            if sha not in self.acks[item] and self.acks[item]:
                self.tally.wrong(f"{self.folder.name}: item {item} was another answer after a restart")
            self.acks[item].add(sha)

    def paid(self) -> Counter[int]:
        """What the vendor has seen, by item."""
        asked = [seen for seen in self.sim.requests if seen.method == "POST" and work.ITEM in seen.headers]
        return Counter(int(seen.headers[work.ITEM]) for seen in asked)

    def kept(self, run: Run) -> None:
        """Every answer that the vendor gave has reached the program, as an answer or in an error."""
        answered = {int(s.headers[work.ITEM]) for s in self.sim.requests if s.answered and work.ITEM in s.headers}
        reached = run.acks.keys() | {int(words[1]) for words in run.of("rescued")}
        for item in answered - reached - self.acks.keys():
            self.tally.lost(f"{self.folder.name}: the answer to item {item} did not reach the program: {run.said[-1:]}")

    def archived(self) -> dict[int, str]:
        """Items whose answer is on disk, with its digest; read without a session."""
        path = self.path
        if path is None:
            return {}
        found = {}
        for call in custody.open(path).calls():
            if call.fields["answers"]:
                answer = call.response
                assert answer is not None
                found.setdefault(call.scope["item"], work.digest(work.texts_of(answer)))
        return found

    def resume(self, calls: int | None = None, **fields: Any) -> int:
        """Run again, a little further than what was acknowledged, and hold it to everything before."""
        before = self.paid()
        try:
            on_disk = self.archived()
        except CustodyError as error:
            self.tally.lost(f"{self.folder.name}: it cannot be read: {error}", max(1, len(self.acks)))
            return error.exit_code
        for item, shas in self.acks.items():
            if on_disk.get(item, next(iter(shas))) not in shas:
                self.tally.wrong(f"{self.folder.name}: item {item} is archived with another answer")
        job = self.job(calls if calls is not None else max(self.acks, default=0) + 2, **fields)
        acknowledged = dict(self.acks)
        with self.run(job) as run:
            code = run.wait()
            self.absorb(run)
        after = self.paid()
        for item in acknowledged:
            asked = item < job.calls and (job.only is None or item in job.only)
            if item not in run.acks and asked:
                self.tally.lost(f"{self.folder.name}: item {item} was not answered again: {run.said[-1:]}")
            if after[item] != before[item]:
                self.tally.lost(f"{self.folder.name}: item {item} was acknowledged, and is paid again")
                self.tally.repaid()
        for item in on_disk.keys() - acknowledged.keys():
            if after[item] != before[item]:
                self.tally.repaid(f"{self.folder.name}: item {item} was complete in the archive, and is paid again")
        if code != 0:
            self.tally.lost(f"{self.folder.name}: it cannot be resumed: {run.said[-1:]} {self.last_words()}")
        return code

    def last_words(self) -> str:
        log = self.folder / "log.txt"
        return log.read_text("utf-8", "replace").strip()[-400:] if log.exists() else ""
