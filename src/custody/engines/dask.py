"""Dask distributed as an engine: one task a job, on a cluster of its own or one that is there already.

A worker that dies, dies alone: Dask runs its tasks again on another one, and what it had finished, too. Only a job
that has killed several workers is given up.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, TypeVar

from custody.errors import EngineFailed, UsageError

T = TypeVar("T")
_AHEAD = 4  # jobs a thread of the cluster that are under way or wait to be merged: results are not to pile up
_JOIN = 10  # seconds within which a scheduler answers


class Dask:
    """A client of a cluster. As a context manager it ends what it started, and nothing else.

    Attributes:
        client: Dask's own.
    """

    def __init__(self, address: str | None = None, workers: int = 1) -> None:
        """Join the scheduler at ``address``, else start ``workers`` processes on this machine, on loopback only.

        Raises UsageError where Dask is not installed or nobody answers at the address.
        """
        try:
            import distributed
        except ImportError as error:
            raise UsageError("the engine dask needs Dask distributed: pip install 'custody[dask]'") from error
        made: Any = distributed  # which is untyped
        self._cluster: Any = None
        if address is None:
            self._cluster = made.LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                memory_limit=0, silence_logs=logging.CRITICAL,  # at the end its workers complain that it is gone
            )  # fmt: skip
        try:
            self.client: Any = made.Client(address or self._cluster, timeout=_JOIN, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise UsageError(f"no Dask scheduler answers at {address}: {error}") from error

    def __enter__(self) -> Dask:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        if self._cluster is not None:
            self._cluster.close()

    def map(self, function: Callable[..., T], jobs: Sequence[tuple[Any, ...]]) -> Iterator[T]:
        """As ``Engine.map``; so many jobs are ahead of the merge that every worker has something to do."""
        from distributed import KilledWorker

        ahead = max(8, _AHEAD * sum(self.client.nthreads().values()))
        waiting: deque[Any] = deque()
        rest = iter(jobs)
        try:
            while True:
                while len(waiting) < ahead and (job := next(rest, None)) is not None:
                    waiting.append(self.client.submit(function, *job, pure=False))
                if not waiting:
                    return
                yield waiting[0].result()
                waiting.popleft().release()
        except KilledWorker as error:
            raise EngineFailed(f"a job killed worker after worker, and was given up: {error}") from error
        finally:
            for future in waiting:
                future.cancel()
