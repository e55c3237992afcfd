"""How far a plan has come: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_EVERY = 30.0  # seconds between two lines, and at most
_SHARE = 10  # lines in all, where it goes faster


class Shown:
    """What was done of ``total`` items. ``shown``: None shows it where that is of use, on any standard error."""

    def __init__(self, what: str, total: int, shown: bool | None) -> None:
        self.what, self.total = what, total
        self.done = self.skipped = self.failed = 0
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._quiet = shown is False
        self._said_at, self._said = time.monotonic(), 0
        self._lock = threading.Lock()
        if not self._quiet and sys.stderr.isatty():
            self._start_bar()

    def step(self, *, skipped: bool = False, failed: bool = False) -> None:
        with self._lock:
            self.done += 1
            self.skipped += skipped
            self.failed += failed
            if self._bar is not None and self._task is not None:
                self._bar.update(self._task, completed=self.done, description=self._text())
            elif not self._quiet:
                self._line()

    def close(self) -> None:
        with self._lock:
            bar, self._bar = self._bar, None
            if bar is not None:
                bar.stop()
            elif not self._quiet and self._said != self.done:
                self._print()
            self._quiet = True

    def _text(self) -> str:
        extra = [f"{n} {word}" for n, word in ((self.skipped, "done before"), (self.failed, "failed")) if n]
        return f"{self.what} ({', '.join(extra)})" if extra else self.what

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.errors import LiveError
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        bar = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            console=Console(stderr=True),
        )  # fmt: skip
        try:
            bar.start()
        except LiveError:  # another bar is on the terminal already
            return
        self._bar, self._task = bar, bar.add_task(self.what, total=self.total)

    def _line(self) -> None:
        now = time.monotonic()
        share = self.done * _SHARE // max(self.total, 1) > self._said * _SHARE // max(self.total, 1)
        if share or now - self._said_at >= _EVERY:
            self._said_at = now
            self._print()

    def _print(self) -> None:
        self._said = self.done
        sys.stderr.write(f"custody: {self._text()}: {self.done} of {self.total}\n")
        sys.stderr.flush()
