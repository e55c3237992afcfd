"""What is under way: the exchanges that were sent and are not on record yet, and how a session's end waits for them.

An end holds new calls back (``Flow.ready`` says "ask again" meanwhile), waits a bounded time for what can
still move, and archives what came of the rest. What runs on the closing thread itself, or on an event
loop that has stopped, cannot move and is not waited for.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from custody.errors import UsageError
from custody.exchange import Ending

if TYPE_CHECKING:
    from custody.pipeline.call import LogicalCall
    from custody.pipeline.turn import LiveTurn

ENV_DRAIN = "CUSTODY_DRAIN_SECONDS"
DRAIN_SECONDS = 20.0

_LOOK = 0.02  # seconds

running_loop: Callable[[], Any] = asyncio._get_running_loop


def drain_seconds() -> float:
    """How long an end waits for the calls in flight: ``CUSTODY_DRAIN_SECONDS``, 20 by default."""
    try:
        return max(0.0, float(os.environ[ENV_DRAIN]))
    except (KeyError, ValueError):
        return DRAIN_SECONDS


def check_environment() -> None:
    """Raises UsageError for a ``CUSTODY_DRAIN_SECONDS`` that is no number of seconds: said before anything is sent."""
    given = os.environ.get(ENV_DRAIN, "0")
    try:
        if 0 <= float(given) < 1e6:
            return
    except ValueError:
        pass
    raise UsageError(f"{ENV_DRAIN}={given!r} is no number of seconds")


class Place:
    """Where an exchange runs: a thread, and its event loop where there is one."""

    __slots__ = ("loop", "thread")

    def __init__(self) -> None:
        self.thread, self.loop = threading.current_thread(), running_loop()

    def moves(self) -> bool:
        """Whether it can go on while the current thread waits."""
        if self.loop is not None and not self.loop.is_running():
            return False
        return self.thread is not threading.current_thread() and self.thread.is_alive()


class InFlight:
    """Without a lock: a stream that is collected ends in the middle of anything, whatever locks are held there.

    Attributes:
        holding: new calls wait.
        closed: the session has ended; new calls are refused.
        hurry: the time to wait is over already; until something is sent again.
        dying: the process ends by a signal as soon as the session is closed; new calls wait for that.
        refusing: what ``threads`` ask after the end is refused, too: nobody would record it.
        threads: those that have sent something.
        on_main: told when the main thread begins (True) and ends (False) to wait for an answer outside of an
            event loop.
    """

    def __init__(self) -> None:
        self.holding = self.closed = self.hurry = self.refusing = self.dying = False
        self.threads: WeakSet[threading.Thread] = WeakSet()
        self.on_main: Callable[[bool], None] = lambda waiting: None
        self._turns: dict[LiveTurn, Place] = {}  # every operation on these is one that threads cannot divide
        self._calls: dict[LogicalCall, None] = {}
        self._on_main: dict[LiveTurn, None] = {}
        self._last: threading.Thread | None = None

    def add(self, turn: LiveTurn) -> None:
        place = Place()
        self.hurry = False
        self._turns[turn] = place
        self._calls[turn.call] = None
        if place.thread is not self._last:
            self._last = place.thread
            self.threads.add(place.thread)
        if place.loop is None and place.thread is threading.main_thread():
            self._on_main[turn] = None
            if len(self._on_main) == 1:
                self.on_main(True)

    def remove(self, turn: LiveTurn) -> None:
        """The exchange is over, and on record as far as it will be. Safe to call twice."""
        self._turns.pop(turn, None)
        if turn in self._on_main:
            self._on_main.pop(turn, None)
            if not self._on_main:
                self.on_main(False)

    def finished(self, call: LogicalCall) -> None:
        """The call has its one outcome."""
        self._calls.pop(call, None)

    def __len__(self) -> int:
        return len(self._turns)

    def moving(self) -> int:
        """How many may get their answer while the current thread waits; a conversation has no end of its own."""
        return sum(1 for turn, place in self._turns.copy().items() if place.moves() and not turn.conversation)

    def on_loop(self, loop: Any) -> int:
        """How many run on this event loop."""
        return sum(1 for turn, place in self._turns.copy().items() if place.loop is loop and not turn.conversation)

    def wait(self) -> bool:
        """Wait until nothing moves any more; False where the time was too short."""
        until = time.monotonic() + drain_seconds()
        while self.moving():
            if time.monotonic() >= until:
                return False
            time.sleep(_LOOK)
        return True

    @contextmanager
    def held(self) -> Iterator[None]:
        """No new call begins within this block."""
        before, self.holding = self.holding, True
        try:
            yield
        finally:
            self.holding = before

    def end_all(self, ending: Ending) -> int:
        """Archive what came of everything that is left, and how it ended; gives the number of exchanges."""
        self.closed, turns = True, self._turns.copy()
        for turn in turns:
            turn.cut(ending)
            self.remove(turn)
        for call in self._calls.copy():  # those between two attempts
            call.cut()
        return len(turns)
