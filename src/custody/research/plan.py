"""Walks a matrix of documents, conditions and runs, each item in its own scope.

The iterators are objects, not generators: a generator that a loop leaves by ``break`` would close its scope when
it is collected, and an asynchronous one when the event loop comes to it. An object is left at once by both.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Self, TypeVar

from custody.errors import UsageError
from custody.identity import scope
from custody.integrity.chronolog import Chronolog
from custody.research.matrix import DOCUMENT, RUN, Item, Matrix
from custody.research.order import Order
from custody.research.progress import Shown
from custody.research.queue import PlanRecord, Queue
from custody.research.stages import NOTHING, Stage, Stages, Work

R = TypeVar("R")

ITEM = "item"
"""As what the items of a loop are kept."""


class ItemFailed(Exception):
    """Ends an item without completing it."""


class Plan:
    """The work of a study. Iterate over it, or give it a function: ``plan.map(analyse, workers=16)``.

    In a loop each item's labels are the scope of the body. An item is complete when the loop asks for the next one:
    a body that catches an error itself says so with ``plan.fail(item)``.
    """

    def __init__(
        self, matrix: Matrix, stages: Stages, chronolog: Chronolog, queue: Queue, *,
        skip_complete: bool, progress: bool | None, agent: str | None, order: Order | None = None,
    ) -> None:  # fmt: skip
        self.matrix = matrix
        self._order = order or Order()
        self._stages, self._chronolog, self._queue = stages, chronolog, queue
        self._skip, self._progress, self._agent = skip_complete, progress, agent
        self._failed: set[str] = set()

    def __len__(self) -> int:
        return len(self.matrix)

    def __iter__(self) -> Iterator[Item]:
        return _Walk(self)

    def __aiter__(self) -> AsyncIterator[Item]:
        return _Walk(self)

    def _items(self, label: str) -> Iterator[tuple[int, Item]]:
        """The items in the order of this worker. Taken from here one at a time, each is a worker's own."""
        return self._order.walk(self.matrix, f"{label}\0{scope.canonical(scope.current().labels)}")

    def fail(self, item: Item) -> None:
        """Say that an item is not complete, though its body goes on: it stays pending."""
        self._failed.add(item.key)

    def holes(self) -> list[Item]:
        """The items that no start of the program has completed, in this scope. Nothing is entered by asking."""
        around = scope.current().labels
        return [item for item in self.matrix if not self._stages.is_complete(ITEM, {**around, **item.labels})]

    def map(self, function: Callable[[Item], R], *, workers: int = 1) -> list[R]:
        """The function's result for each item, in the order of the matrix; at most ``workers`` at a time, in threads.

        Results are kept: an item that was completed with the same document and the same function is not worked on
        again. When one fails no further one is begun, those in flight are waited for, and its error is raised.
        Raises UsageError for less than one worker.
        """
        _at_least_one(workers)
        name, run = _name(function), _Run(self, _name(function))
        stop = threading.Event()

        def work(item: Item) -> Any:
            if stop.is_set():
                return None
            try:
                with run.item(item, name, function) as stage:
                    if not stage.completed:
                        stage.save(function(item))
                return stage.state
            except BaseException:
                stop.set()
                raise

        results: list[Any] = [None] * len(self.matrix)
        items, one_at_a_time = self._items(name), threading.Lock()

        def worker() -> None:
            while not stop.is_set():
                with one_at_a_time:
                    place, item = next(items, (-1, None))
                if item is None:
                    return
                results[place] = work(item)

        try:
            if workers == 1:
                worker()
                return results
            with ThreadPoolExecutor(workers, thread_name_prefix="custody-plan") as pool:
                futures: list[Future[None]] = [pool.submit(worker) for _ in range(min(workers, len(self.matrix)))]
                try:
                    for future in futures:
                        future.result()
                except BaseException:  # an interrupt, too: nothing new, and what is paid for is waited for
                    stop.set()
                    raise
            return results
        finally:
            run.close()

    async def amap(self, function: Callable[[Item], Awaitable[R]], *, workers: int = 16) -> list[R]:
        """``map`` for a coroutine function, at most ``workers`` in flight."""
        _at_least_one(workers)
        name, run = _name(function), _Run(self, _name(function))
        items, results = self._items(name), [None] * len(self.matrix)
        failures: list[BaseException] = []

        async def worker() -> None:
            for number, item in items:
                if failures:
                    return
                try:
                    with run.item(item, name, function) as stage:
                        if not stage.completed:
                            stage.save(await function(item))
                    results[number] = stage.state
                except Exception as error:
                    failures.append(error)

        try:
            await asyncio.gather(*(worker() for _ in range(min(workers, len(self.matrix)))))
        finally:
            run.close()
        if failures:
            raise failures[0]
        return results  # type: ignore[return-value]


class _Run:
    """One walk through a plan: its progress, its record, its events."""

    def __init__(self, plan: Plan, label: str) -> None:
        around = dict(scope.current().labels)
        self._plan = plan
        self.agent = plan._agent or str(around.get("stage", label))
        self._record = PlanRecord(plan._queue, label, around, plan.matrix)
        self._record.write()
        self.skips = plan._skip
        self._shown = Shown(self.agent, len(plan.matrix), plan._progress)
        self._closed = False

    def item(self, item: Item, label: str, function: Callable[..., Any] | None = None) -> _Entered:
        return _Entered(self, item, label, function)

    def enter(self, stack: ExitStack, item: Item, label: str, function: Callable[..., Any] | None) -> Stage:
        stack.enter_context(scope.labelled(item.labels))
        inputs = NOTHING if item.source.digest is None else item.source.digest
        code = (function,) if function is not None else ()
        return stack.enter_context(self._plan._stages.enter(Work(None, label, inputs, code, "labels")))

    def began(self, item: Item) -> None:
        self._plan._chronolog.event("agent_spawn", agent=self.agent, **_told(item))

    def ended(self, item: Item, *, skipped: bool) -> None:
        if not skipped:
            self._plan._chronolog.event("analysis_complete", **_told(item))
        self._record.done(item.key)
        self._shown.step(skipped=skipped)

    def failed(self) -> None:
        self._shown.step(failed=True)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._record.write()
            self._shown.close()


class _Entered:
    """An item that is being worked on. Left with an error, it is not completed."""

    def __init__(self, run: _Run, item: Item, label: str, function: Callable[..., Any] | None) -> None:
        self._run, self._item, self._label, self._function = run, item, label, function
        self._stack = ExitStack()
        self.skipped = False

    def __enter__(self) -> Stage:
        stage = self._run.enter(self._stack, self._item, self._label, self._function)
        self.skipped = stage.completed and (self._function is not None or self._run.skips)
        if not self.skipped:
            self._run.began(self._item)
        return stage

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._stack.__exit__(kind, error, trace)
        if error is None:
            self._run.ended(self._item, skipped=self.skipped)
        elif not isinstance(error, GeneratorExit):
            self._run.failed()


class _Walk:
    """Iterates over a plan; the scope of an item is left when the next one is asked for, or nobody asks any more."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._items: Iterator[tuple[int, Item]] = iter(())
        self._run: _Run | None = None
        self._entered: _Entered | None = None
        self._item: Item | None = None

    def __iter__(self) -> Self:
        return self

    def __aiter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        if self._run is None:
            self._run = _Run(self._plan, ITEM)
            self._items = self._plan._items(ITEM)
        self._complete()
        for _, item in self._items:
            entered = self._run.item(item, ITEM)
            entered.__enter__()
            self._entered, self._item = entered, item
            if not entered.skipped:
                return item
            self._complete()
        self._run.close()
        raise StopIteration

    async def __anext__(self) -> Item:
        try:
            return next(self)
        except StopIteration:
            raise StopAsyncIteration from None

    def _complete(self) -> None:
        entered, item, self._entered = self._entered, self._item, None
        if entered is not None and item is not None:
            if item.key in self._plan._failed:
                error = ItemFailed()
                entered.__exit__(ItemFailed, error, None)
            else:
                entered.__exit__(None, None, None)

    def __del__(self) -> None:
        entered, self._entered = self._entered, None
        if entered is not None:  # left by break, or by an error in the body
            entered.__exit__(GeneratorExit, GeneratorExit(), None)
        if self._run is not None:
            self._run.close()


def _told(item: Item) -> dict[str, Any]:
    return {DOCUMENT: item.name, RUN: item.run, **({"conditions": dict(item.conditions)} if item.conditions else {})}


def _name(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", "")
    if not name or name == "<lambda>":
        raise UsageError("plan.map keeps results under the function's name: give it a function with a name, no lambda")
    return name


def _at_least_one(workers: int) -> None:
    if workers < 1:
        raise UsageError(f"workers={workers}: at least 1")
