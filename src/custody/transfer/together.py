"""Work on many files: small ones several at once, since each waits for a disk or a server; large ones one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from custody.transfer.streaming import BLOCK

T = TypeVar("T")

_AT_ONCE = 8
_WAITING = 1024  # names given to the threads at a time


def together(work: Callable[[str], T], names: Iterable[str], sizes: Mapping[str, int]) -> dict[str, T]:
    """What ``work`` gives for each name. Its first failure is raised, and what has not begun then does not begin."""
    wanted = list(names)
    small = [name for name in wanted if sizes.get(name, 0) <= BLOCK]
    done: dict[str, T] = {}
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="custody-copy") as pool:
        try:
            for first in range(0, len(small), _WAITING):
                some = small[first : first + _WAITING]
                done.update(zip(some, pool.map(work, some), strict=True))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    for name in wanted:
        if name not in done:
            done[name] = work(name)
    return done
