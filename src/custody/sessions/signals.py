"""SIGTERM, SIGHUP and Ctrl-C: the calls in flight get a bounded time to end, a second signal leaves at once.

A handler of ours stands only where the default one stood, and only while a session is open; for SIGINT
only while the main thread itself waits for an answer, because event loops (asyncio, trio) look for
Python's own handler and put theirs in its place (``loops`` is for asyncio's). When the time is over,
or nothing is in flight, the signal does what it does without custody: KeyboardInterrupt is raised, or
the process ends by the signal, its session closed before.

The handlers take no lock: they run in the middle of anything.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from custody.pipeline.in_flight import InFlight, drain_seconds
from custody.sessions import loops

_signal: Any = sys.modules.get("_signal", signal)  # without the enums: it is asked twice a call

ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))

_SIGINT, _DEFAULT = int(signal.SIGINT), signal.default_int_handler

BOUNCE = 0.5
"""Seconds in which a second SIGTERM is the first one again: sent to a whole group, it comes from custody run too."""

_LAST_RESORT = 5.0


class Signals:
    """The handlers of one open session. ``close`` ends it, given the signal's name."""

    def __init__(self, in_flight: InFlight, close: Callable[[str], None]) -> None:
        self._in_flight, self._close = in_flight, close
        self._on_interrupt = self._interrupt  # one object: bound methods are made anew at each look
        self._first: int | None = None
        self._at = 0.0
        self._over = False  # the session is closed: a signal does what it always did

    def install(self) -> None:
        """Stand in for default handlers. Only Python's main thread may."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in ENDING:
            if _default(number):
                signal.signal(number, self._end)
        self._in_flight.on_main = self._main_waits

    def restore(self) -> None:
        """Put the default handlers back where ours still stand."""
        self._over = True
        self._in_flight.on_main = lambda waiting: None
        if threading.current_thread() is not threading.main_thread():
            return
        for number in ENDING:
            if signal.getsignal(number) == self._end:
                signal.signal(number, signal.SIG_DFL)
        self._give_back()

    def _main_waits(self, waiting: bool) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        if not waiting:
            if self._first is None:
                self._give_back()
        elif _signal.getsignal(_SIGINT) is _DEFAULT or _default(signal.SIGINT):
            _signal.signal(_SIGINT, self._on_interrupt)

    def _give_back(self) -> None:
        if _signal.getsignal(_SIGINT) is self._on_interrupt:
            _signal.signal(_SIGINT, _DEFAULT)

    # -- the handlers, on the main thread -----------------------------------------------------------

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        bounced = self._first == number and time.monotonic() - self._at < loops.BOUNCE
        if bounced and not self._over and not self._in_flight.hurry:  # in a hurry it is our own, at the end of the wait
            return
        if self._first is not None or self._over or not len(self._in_flight):
            self._first, self._in_flight.holding = None, False
            self._give_back()
            signal.default_int_handler(number, frame)
        self._hold(number, self._then_interrupt)

    def _end(self, number: int, frame: FrameType | None) -> None:
        if self._first in ENDING and time.monotonic() - self._at < BOUNCE and not self._over:
            return
        if self._over or self._first in ENDING:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self._hold(number, self._then_end)

    def _hold(self, number: int, then: Callable[[int], None]) -> None:
        self._first, self._at, self._in_flight.holding = number, time.monotonic(), True
        count = len(self._in_flight)
        if count:
            again = "Ctrl-C again leaves" if number == signal.SIGINT else "another one leaves"
            text = (
                f"custody: {signal.Signals(number).name}: waiting at most {drain_seconds():g} s for the answers of "
                f"{count} call{'s' if count > 1 else ''} in flight; {again} at once\n"
            )
            os.write(2, text.encode())  # a log's own lock may be held by the frame beneath
        _thread.start_new_thread(then, (number,))  # not threading's: its locks may be held there, too

    # -- beside it ------------------------------------------------------------------------------------

    def _then_interrupt(self, number: int) -> None:
        self._in_flight.wait()
        if self._first == number:
            self._in_flight.hurry = True
            _to_main(number)

    def _then_end(self, number: int) -> None:
        self._in_flight.wait()
        self._in_flight.hurry = self._in_flight.refusing = self._in_flight.dying = True
        try:
            self._close(signal.Signals(number).name)
        finally:
            self._over = True
            _to_main(number)
            time.sleep(_LAST_RESORT)  # the main thread is in code that hears no signal
            os._exit(128 + number)


def _default(number: int) -> bool:
    """Whether nobody handles the signal, or only the process that this one was forked from."""
    handler: Any = signal.getsignal(number)
    if isinstance(getattr(handler, "__self__", None), Signals):
        return True
    return handler is (signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _to_main(number: int) -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, number)
