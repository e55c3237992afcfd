"""What runs one plain function over very many jobs, in this process or on a cluster.

An engine is handed a function that can be pickled by its name, and the arguments of each job; it gives the results in
the order of the jobs. So whoever merges them needs not know where they were made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Engine(Protocol):
    """Runs jobs elsewhere."""

    def map(self, function: Callable[..., T], jobs: Sequence[tuple[Any, ...]]) -> Iterator[T]:
        """``function(*job)`` of each job, in order. Raises what the function raised, or EngineFailed."""
