"""Carries the scope into threads.

Tasks and ``asyncio.to_thread`` inherit context variables; threads do not (before Python 3.14). A
call made in a pool under ``with scope(...)`` has to keep its labels, or its identity is lost. A pool's
task also keeps the SDK call inside which it was submitted: an SDK runs its own coroutines in one (litellm,
when a loop is running). No other context variable is carried.
"""

from __future__ import annotations

import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from custody.identity import scope
from custody.seam.patching import Patches
from custody.vendor import OpenCall, current

_POOLS = ("concurrent.futures.thread", "multiprocessing.pool")


def install(patches: Patches) -> None:
    """Patch ``ThreadPoolExecutor.submit`` and ``Thread.start``."""
    patches.replace(ThreadPoolExecutor, "submit", _carry_into_submit)
    patches.replace(threading.Thread, "start", _carry_into_start)


def _carry_into_submit(original: Any) -> Any:
    @functools.wraps(original)
    def submit(self: ThreadPoolExecutor, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        # An empty scope is entered too: the worker may have been started inside of another one.
        inside = scope.current()
        return original(self, functools.partial(_run_in_call, current.get(), inside, fn), *args, **kwargs)

    return submit


def _carry_into_start(original: Any) -> Any:
    @functools.wraps(original)
    def start(self: threading.Thread) -> Any:
        inside = scope.current()
        # A pool's worker outlives the scope in which it was started; its tasks bring their own.
        target = getattr(self, "_target", None)
        if inside.labels and getattr(target, "__module__", "") not in _POOLS:
            self.run = functools.partial(_run_in, inside, self.run)  # type: ignore[method-assign]
        return original(self)

    return start


def _run_in(inside: scope.Scope, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
    with scope.entered(inside):
        return fn(*args, **kwargs)


def _run_in_call(call: OpenCall | None, inside: scope.Scope, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
    token = current.set(call)
    try:
        return _run_in(inside, fn, *args, **kwargs)
    finally:
        current.reset(token)
