"""How a session ends together with its program: the calls in flight first, then what the program died of.

``starting`` closes the session, ``signals`` and ``loops`` catch the ends that would be too abrupt.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from custody.pipeline.in_flight import InFlight, drain_seconds, running_loop
from custody.sessions import crash as crashes
from custody.sessions import loops
from custody.sessions.signals import Signals

if TYPE_CHECKING:
    from asyncio import Task

    from custody.sessions.session import Session

log = logging.getLogger("custody")


class _Watch:
    """What stands in the way of an abrupt end while a session is open."""

    def __init__(self, opened: Session) -> None:
        self._opened = opened
        self.error: BaseException | None = None
        self.signals = Signals(opened.flow.in_flight, lambda name: opened._on_close(opened, "failed", {"signal": name}))
        before = sys.excepthook
        self._before = before._before if isinstance(before, _Hook) else before
        self._hook = _Hook(self, self._before)
        sys.excepthook = self._hook
        self.signals.install()

    def undo(self) -> None:
        self.signals.restore()
        if sys.excepthook is self._hook:
            sys.excepthook = self._before

    def uncaught(self, error: BaseException) -> None:
        self.error = error
        if isinstance(error, Exception):
            crash(self._opened, error)
        elif isinstance(error, KeyboardInterrupt):  # a pool would send all that waits in it before Python ends
            self._opened.flow.in_flight.closed = True


class _Hook:
    """A ``sys.excepthook`` before the one that was there."""

    def __init__(self, watch: _Watch, before: Any) -> None:
        self._watch, self._before = watch, before

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        try:
            self._watch.uncaught(error)
        finally:
            self._before(kind, error, trace)


_watch: _Watch | None = None
_late: Task[None] | None = None  # the loop itself keeps no task alive
_reported: int | None = None  # id of the exception that was reported last: it passes several places


def watch(opened: Session) -> None:
    """From now on an end of the program ends the session as it should."""
    global _watch
    _watch = _Watch(opened)


def unwatch(opened: Session) -> None:
    if _watch is not None:
        _watch.undo()


def crashed() -> str | None:
    """Class name of the exception that nobody caught, if one has ended the program."""
    return type(_watch.error).__name__ if _watch is not None and _watch.error is not None else None


def crash(opened: Session, error: BaseException) -> None:
    """Report an exception that ends the session, once."""
    global _reported
    if _reported != id(error):
        _reported = id(error)
        crashes.write(opened.storage, opened.flow.chronolog, opened.flow.redactor, error)


def put_off(flight: InFlight, finish: Callable[[], None]) -> bool:
    """On a running event loop with calls in flight: ``finish`` when they have their answers. Else False."""
    global _late
    loop = running_loop()
    if loop is None or not flight.on_loop(loop) or flight.hurry:
        return False

    async def later() -> None:
        try:
            await loops.settled(flight, loop)
        finally:
            finish()

    _late = loop.create_task(later())
    return True


def settle(opened: Session, *, clean: bool) -> BaseException | None:
    """Wait for what is in flight elsewhere, archive what came of the rest; gives the Ctrl-C that cut it short."""
    flight = opened.flow.in_flight
    interrupt: BaseException | None = None
    with flight.held():
        try:
            waiting = 0 if flight.hurry else flight.moving()
            if waiting:
                log.warning(
                    "custody: the session ends: waiting at most %g s for the answers of %d calls in flight; "
                    "Ctrl-C leaves at once",
                    drain_seconds(),
                    waiting,
                )
                flight.wait()
        except KeyboardInterrupt as error:
            interrupt = error
        cut = flight.end_all("closed_early" if clean else "cancelled")
        if cut:
            log.warning("custody: %d calls were still open when the session ended: what came of them is on record", cut)
        if not clean:
            flight.refusing = True
            if not flight.dying:  # the program may go on where it ended the session; its other threads were part of it
                flight.threads.discard(threading.current_thread())
    return interrupt
