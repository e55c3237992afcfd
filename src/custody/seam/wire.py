"""What every wire seam shares: the guard against recording twice, pauses, endings, deferred credentials."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from custody.credentials import PLACEHOLDER
from custody.errors import Abort, CustodyError
from custody.exchange import Ending, Headers, Turn
from custody.headers import decoded
from custody.vendor import current
from custody.vendor import inside as inside

CLAIM_PAUSE = 0.02  # seconds between looks at a claim that another process holds


def settle(turn: Turn, ending: Ending, error: BaseException) -> None:
    """Record how it ended; only the original's exception may reach the caller."""
    if not isinstance(error, (Abort, CustodyError)):
        with contextlib.suppress(CustodyError):
            turn.end(ending, error)


def left() -> Ending:
    """How a response ended that the program left: because it had enough, or because it failed meanwhile."""
    error = sys.exc_info()[1]
    failed = error is not None and not isinstance(error, (GeneratorExit, StopIteration, StopAsyncIteration))
    return "cancelled" if failed or sys.is_finalizing() else "closed_early"


def ending_of(error: BaseException, otherwise: Ending) -> Ending:
    """How an exchange ended that an exception ended."""
    if isinstance(error, (asyncio.CancelledError, KeyboardInterrupt, SystemExit)):
        return "cancelled"
    return "cancelled" if type(error).__name__ == "Cancelled" else otherwise  # trio's own


async def pause() -> None:
    """Wait for another process, under asyncio and trio alike."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        import anyio

        await anyio.sleep(CLAIM_PAUSE)
    else:
        await asyncio.sleep(CLAIM_PAUSE)


async def ready(turn: Turn) -> None:
    """Return when the turn may send, or has an answer. Where that asks a server, a thread does, not the event loop."""
    while not await (_in_a_thread(turn) if turn.asks_a_server else _at_once(turn)):
        await pause()


async def _at_once(turn: Turn) -> bool:
    return turn.ready()


async def _in_a_thread(turn: Turn) -> bool:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        import anyio.to_thread

        return await anyio.to_thread.run_sync(turn.ready)
    asked = loop.run_in_executor(_threads, contextvars.copy_context().run, turn.ready)
    try:
        return await asyncio.shield(asked)
    except asyncio.CancelledError:  # what it claims is given back by whoever abandons the turn: it ends first
        while not asked.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([asked])
        raise


_threads = ThreadPoolExecutor(16, thread_name_prefix="custody-claim")


def _forked() -> None:
    global _threads
    _threads = ThreadPoolExecutor(16, thread_name_prefix="custody-claim")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def text_of(raw: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Headers as they travelled, as text."""
    # One by one: to join them, decode once and split again takes more instructions.
    return tuple([(decoded[name], value.decode("latin-1")) for name, value in raw])


def fill(headers: Headers) -> Headers | None:
    """``headers`` with their deferred credentials; None where there are none to fill.

    What the program's own provider raises is raised past the SDK, as if it had been asked in time.
    """
    waiting = dict(_waiting(headers))
    if not waiting:
        return None
    values: dict[str, str | None] = {}
    for name, resolve in waiting.items():
        with resolving():
            values[name] = _text(resolve())
    return _filled(headers, values)


async def afill(headers: Headers) -> Headers | None:
    """The same for coroutines: a provider may be a coroutine function."""
    waiting = dict(_waiting(headers))
    if not waiting:
        return None
    values: dict[str, str | None] = {}
    for name, resolve in waiting.items():
        with resolving():
            value = resolve()
            values[name] = _text(await value if inspect.isawaitable(value) else value)
    return _filled(headers, values)


def _waiting(headers: Headers) -> Iterator[tuple[str, Any]]:
    call = current.get()
    if call is None or not call.defers:
        return
    for _, value in headers:
        for name in PLACEHOLDER.findall(value):
            yield name, call.resolver(name)


@contextlib.contextmanager
def resolving() -> Iterator[None]:
    """While a credential is asked for: what is sent for it is nobody's call, and what its provider raises is
    raised past the SDK, as if it had been asked in time."""
    token = inside.set(True)
    try:
        yield
    except CustodyError:
        raise
    except Exception as error:
        raise Abort(error) from error
    finally:
        inside.reset(token)


def _text(value: Any) -> str | None:
    return value.decode("latin-1") if isinstance(value, bytes) else None if value is None else str(value)


def _filled(headers: Headers, values: dict[str, str | None]) -> Headers:
    """A header whose credential turns out to be None is left out."""
    return tuple(
        (name, PLACEHOLDER.sub(lambda m: values.get(m[0], m[0]) or "", value))
        for name, value in headers
        if not any(values.get(found, "") is None for found in PLACEHOLDER.findall(value))
    )
