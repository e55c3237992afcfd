"""In which order a plan's items are walked: all of them in their own order, or as one of several workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from custody.research.matrix import Item, Matrix


@dataclass(frozen=True)
class Order:
    """
    Attributes:
        shard: (k, n): only every n-th item, from the k-th on, numbered from 1.
        start: where this worker begins, as a share of the whole.
        claim: whether this worker is the first to take an item, known by its key; None where it works alone.
    """

    shard: tuple[int, int] = (1, 1)
    start: float = 0.0
    claim: Callable[[str], bool] | None = None

    def walk(self, matrix: Matrix, around: str = "") -> Iterator[tuple[int, Item]]:
        """Items with their place in the matrix. Those that other workers have taken come last: by then most of them
        are answered, and what is left by the dead is done."""
        first, each = self.shard
        mine = [(place, item) for place, item in enumerate(matrix) if place % each == first - 1]
        if self.claim is None:
            yield from mine
            return
        turned = int(self.start * len(mine))
        left = []
        for place, item in (*mine[turned:], *mine[:turned]):
            if self.claim(f"{around}\0{item.key}"):
                yield place, item
            else:
                left.append((place, item))
        yield from left
