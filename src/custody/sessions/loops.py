"""asyncio's ends: ``asyncio.run`` that fails, returns, or is interrupted with calls in flight on its loop.

``Runner.close`` cancels what is left on the loop; before that the calls in flight get a bounded time.
asyncio answers Ctrl-C by cancelling the main task; the same time comes before that, and a second Ctrl-C
leaves at once. Read in CPython 3.11 to 3.14: ``asyncio/runners.py``.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import signal
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from custody.pipeline.in_flight import InFlight, drain_seconds
from custody.seam.patching import Patches

log = logging.getLogger("custody")

Current = Callable[[], InFlight | None]

_LOOK = 0.02  # seconds
BOUNCE = 0.25
"""Seconds in which a second SIGINT is the first one again: sent to a whole group, it comes from custody run too."""


def install(patches: Patches, current: Current) -> None:
    """Patch ``asyncio.Runner``. ``current`` gives what is in flight in the session of this process."""
    patches.replace(asyncio.Runner, "close", functools.partial(_close, current))
    if "_on_sigint" in vars(asyncio.Runner):
        patches.replace(asyncio.Runner, "_on_sigint", functools.partial(_on_sigint, current))
        _reach_running()


def _reach_running() -> None:
    """A runner within which the session is opened has bound its method before: its handler is given ours.

    The handler stays the same object: by that the runner knows that it may take it away.
    """
    handler: Any = signal.getsignal(signal.SIGINT)
    runner = getattr(getattr(handler, "func", None), "__self__", None)
    if type(handler) is functools.partial and isinstance(runner, asyncio.Runner):
        bound: Any = runner._on_sigint  # type: ignore[attr-defined]
        state: Any = handler
        state.__setstate__((bound, handler.args, handler.keywords, dict(vars(handler))))


def _close(current: Current, original: Any) -> Any:
    @functools.wraps(original)
    def close(self: Any) -> None:
        loop: Any = getattr(self, "_loop", None)
        flight = current()
        try:
            gone = loop is None or loop.is_closed() or loop.is_running()
            if flight is not None and not gone and flight.on_loop(loop) and not flight.hurry:
                with flight.held():  # from here on: what is ready to run runs before the first step of a new task
                    loop.run_until_complete(settled(flight, loop))
        finally:
            original(self)

    return close


def _on_sigint(current: Current, original: Any) -> Any:
    @functools.wraps(original)
    def on_sigint(self: Any, signum: int, frame: Any, main_task: Any) -> None:
        loop, flight = self._loop, current()
        if loop in _put_off and time.monotonic() - _put_off[loop] < BOUNCE:
            return
        if flight is None or flight.hurry or flight.holding or not flight.on_loop(loop):
            if flight is not None:
                flight.hurry, flight.holding = bool(len(flight)), False
            _put_off.pop(loop, None)
            original(self, signum, frame, main_task)
            return
        flight.holding = True
        _put_off[loop] = time.monotonic()
        interrupt = functools.partial(original, self, signum, frame, main_task)
        loop.call_soon_threadsafe(_begin, flight, loop, interrupt)

    return on_sigint


_waiting: set[asyncio.Task[None]] = set()  # the loop itself keeps no task alive
_put_off: WeakKeyDictionary[asyncio.AbstractEventLoop, float] = WeakKeyDictionary()
"""Since when their Ctrl-C is still to be carried out."""


def _begin(flight: InFlight, loop: Any, interrupt: Callable[[], None]) -> None:
    task = loop.create_task(_then(flight, loop, interrupt))
    _waiting.add(task)
    task.add_done_callback(_waiting.discard)


async def _then(flight: InFlight, loop: Any, interrupt: Callable[[], None]) -> None:
    try:
        await settled(flight, loop)
    finally:
        flight.holding = False
        if loop in _put_off:  # else a second Ctrl-C has come
            _put_off.pop(loop, None)
            flight.hurry = True
            interrupt()


async def settled(flight: InFlight, loop: Any) -> None:
    """Wait until nothing is in flight on this loop, or the time is over; no new call begins meanwhile."""
    count = flight.on_loop(loop)
    log.warning(
        "custody: waiting at most %g s for the answers of %d calls in flight; Ctrl-C leaves at once",
        drain_seconds(),
        count,
    )
    until = time.monotonic() + drain_seconds()
    with flight.held():
        while flight.on_loop(loop) and not flight.hurry and time.monotonic() < until:
            await asyncio.sleep(_LOOK)
