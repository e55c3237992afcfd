"""Several processes in one session, each with the same list of work, some of them killed."""

from __future__ import annotations

import os
import random
import time

from campaign.attack import Run, Study
from campaign.work import Job
from custody.sessions import children


class Team:
    """An owner, who holds the session open, and workers who join it. Use as ``with``."""

    def __init__(self, study: Study, size: int, items: int, plant: str | None = None) -> None:
        self.study, self._items, self._plant = study, items, plant
        self._owner = study.run(study.job(0, hold=True))
        self._owner.listen(1, word="open")
        assert study.path is not None, study.last_words()
        self._path = study.path
        self._paid: dict[int, int] = {}  # when an item was first acknowledged
        self._over: list[Run] = []
        self.workers = [self._start() for _ in range(size)]

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *_: object) -> None:
        for run in (*self.workers, *self._over, self._owner):
            run.__exit__()

    def _job(self) -> Job:
        job = self.study.job(self._items, plant=self._plant, kinds=("chat", "chat", "stream", "both"))
        job.env.update(children.environment(os.environ, self._path, strict=False))
        return job

    def _start(self) -> Run:
        return self.study.run(self._job())

    def listen(self) -> bool:
        """Take in what the workers have said; False when all of them have ended."""
        going = [run.poll(0.002) for run in self.workers]
        for run in self.workers:
            for item in run.acks.keys() - self._paid.keys():
                self._paid[item] = self.study.paid()[item]
        return any(going)

    def kill(self, rng: random.Random) -> None:
        """One worker dies, another one takes its place."""
        self.listen()
        victim = rng.randrange(len(self.workers))
        run = self.workers[victim]
        run.kill()
        run.wait()
        self.listen()
        self._over.append(run)
        self.workers[victim] = self._start()

    def kill_owner(self) -> None:
        """The workers go on without it."""
        self._owner.kill()
        self._owner.wait()

    def finish(self, timeout: float = 600.0) -> None:
        """Wait for all of them, and count what was paid again after somebody had the answer."""
        deadline = time.monotonic() + timeout
        while self.listen():
            assert time.monotonic() < deadline, "the workers hang"
        tally = self.study.tally
        for run in self.workers:
            if run.wait() != 0 or len(run.acks) != self._items:
                tally.lost(f"a worker ended with {run.code} after {len(run.acks)} items: {run.said[-1:]}")
        for run in (*self._over, *self.workers):
            self.study.absorb(run)
        for item, before in self._paid.items():
            if self.study.paid()[item] != before:
                tally.repaid(f"item {item} was paid again after a process had its answer")
        self._owner.release()
        self._owner.wait()
