"""Coroutines that wait for the disk: one thread syncs for all that are waiting at a time, and wakes each loop once."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeAlias


class OnLoop:
    """Who waits on an event loop. ``future`` is that loop's own: to wrap one of a thread costs twice as much."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.future: asyncio.Future[None] = loop.create_future()

    def set_result(self, result: None) -> None:
        """On its loop, or where nobody else is left."""
        if not self.future.done():
            self.future.set_result(result)

    def set_exception(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


Waiting: TypeAlias = "Future[None] | OnLoop"

_Told: TypeAlias = "tuple[OnLoop, BaseException | None]"
_Item: TypeAlias = "tuple[int, Waiting] | None"

_NOTHING: _Item = (0, Future())  # nobody waits in it


class SyncThread:
    """Calls ``sync`` with the numbers of lines that somebody waits for, which raises what they are told; ``covered``
    says whether it would return at once."""

    def __init__(self, sync: Callable[[int], None], covered: Callable[[int], bool]) -> None:
        self._sync, self._covered = sync, covered
        self._queue: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="custody-sync", daemon=True)
        self._thread.start()

    def put(self, number: int, waiting: Waiting) -> None:
        self._queue.put((number, waiting))

    def stop(self) -> None:
        """When all that was put is done."""
        self._queue.put(None)
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=10)

    def _run(self) -> None:
        item: _Item = self._queue.get()
        while item is not None:
            loops: dict[asyncio.AbstractEventLoop, list[_Told]] = {}
            self._serve(item, loops)
            # The sync was for all that had been appended: whoever waits for one of those is told with it.
            item = _NOTHING
            while item is _NOTHING and not self._queue.empty():
                item = self._queue.get()
                if item is not None and self._covered(item[0]):
                    self._serve(item, loops)
                    item = _NOTHING
            for loop, told in loops.items():
                with contextlib.suppress(RuntimeError):  # it is closed: nobody waits any more
                    loop.call_soon_threadsafe(_tell, told)
            if item is _NOTHING:
                item = self._queue.get()

    def _serve(self, item: tuple[int, Waiting], loops: dict[asyncio.AbstractEventLoop, list[_Told]]) -> None:
        number, waiting = item
        if isinstance(waiting, Future) and not waiting.set_running_or_notify_cancel():
            return
        told: BaseException | None = None
        try:
            self._sync(number)
        except BaseException as error:
            told = error
        if isinstance(waiting, OnLoop):
            loops.setdefault(waiting.loop, []).append((waiting, told))
        elif told is not None:
            waiting.set_exception(told)
        else:
            waiting.set_result(None)


def _tell(all_told: list[_Told]) -> None:
    for waiting, error in all_told:
        if error is not None:
            waiting.set_exception(error)
        else:
            waiting.set_result(None)
