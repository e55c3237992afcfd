"""One scenario for an SDK's synchronous and asynchronous client.

A scenario is a generator function of the client. It yields what the SDK's methods return and is sent the value:
the same object from a synchronous client, the awaited one from an asynchronous client. `every` reads an
iterable, `entered` enters a context manager, which is left when the scenario ends.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

Steps = Callable[[Any], Generator[Any, Any, Any]]


@dataclass(frozen=True)
class every:
    """Yielded: the items of an iterable (or of what is awaited for one), at most `limit` of them, as a list.

    `seen` is called for each item when it comes.
    """

    source: Any
    limit: int | None = None
    seen: Callable[[Any], object] = lambda item: None


@dataclass(frozen=True)
class entered:
    """Yielded: what the context manager gives on entering."""

    manager: Any


def scenario(kind: type[Any], steps: Steps, options: Callable[[], Mapping[str, Any]] = dict) -> Callable[[], Any]:
    """A function, or for an asynchronous client a coroutine function, that runs `steps` with a client of its own.

    `kind` is the client's class; `options` gives its arguments, anew for each run.
    """

    def sync() -> Any:
        with contextlib.ExitStack() as stack:
            running = steps(stack.enter_context(kind(**options())))
            step = functools.partial(next, running)
            while True:
                try:
                    given = step()
                except StopIteration as end:
                    return end.value
                try:
                    step = functools.partial(running.send, _sync(given, stack))
                except BaseException as error:
                    step = functools.partial(running.throw, error)

    async def asynchronous() -> Any:
        async with contextlib.AsyncExitStack() as stack:
            running = steps(await stack.enter_async_context(kind(**options())))
            step = functools.partial(next, running)
            while True:
                try:
                    given = step()
                except StopIteration as end:
                    return end.value
                try:
                    step = functools.partial(running.send, await _async(given, stack))
                except BaseException as error:
                    step = functools.partial(running.throw, error)

    return asynchronous if hasattr(kind, "__aenter__") else sync


def _sync(given: Any, stack: contextlib.ExitStack) -> Any:
    if isinstance(given, entered):
        return stack.enter_context(given.manager)
    if not isinstance(given, every):
        return given
    items: list[Any] = []
    for item in given.source if given.limit != 0 else ():
        given.seen(item)
        items.append(item)
        if len(items) == given.limit:
            break
    return items


async def _async(given: Any, stack: contextlib.AsyncExitStack) -> Any:
    if isinstance(given, entered):
        return await stack.enter_async_context(given.manager)
    if not isinstance(given, every):
        return await given if inspect.isawaitable(given) else given
    source = given.source
    if inspect.isawaitable(source) and not hasattr(source, "__aiter__"):
        source = await source
    if not hasattr(source, "__aiter__"):
        return _sync(every(source, given.limit, given.seen), contextlib.ExitStack())
    items: list[Any] = []
    if given.limit != 0:
        async for item in source:
            given.seen(item)
            items.append(item)
            if len(items) == given.limit:
                break
    return items
