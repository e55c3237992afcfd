"""Text that compresses as real prose does: a second-order chain of words, learned from Python's own manual."""

from __future__ import annotations

import random
from collections import defaultdict
from functools import lru_cache
from pydoc_data.topics import topics


@lru_cache(maxsize=1)
def _chain() -> dict[tuple[str, str], list[str]]:
    words = "\n".join(topics.values()).split()
    followers: dict[tuple[str, str], list[str]] = defaultdict(list)
    for first, second, third in zip(words, words[1:], words[2:], strict=False):
        followers[first, second].append(third)
    return dict(followers)


class Writer:
    """Writes texts that never repeat, the same ones for a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._starts = sorted(_chain())

    def text(self, size: int) -> str:
        """Exactly ``size`` characters."""
        chain, chance = _chain(), self._random
        words: list[str] = []
        length, state = 0, chance.choice(self._starts)
        while length < size:
            following = chain.get(state)
            word = chance.choice(following) if following and chance.random() > 0.02 else chance.choice(self._starts)[0]
            words.append(word)
            length += len(word) + 1
            state = (state[1], word)
            if state not in chain:
                state = chance.choice(self._starts)
        return " ".join(words)[:size]
