"""What the session's chronolog says of replays; it may be long, and is read in pieces."""

from __future__ import annotations

import re
from collections import Counter

from custody import layout
from custody.storage import Storage

_BLOCK = 4 * 1024 * 1024
_REPLAYED = re.compile(rb'"event":"llm_call_replayed","call_id":"([^"\\\x00-\x1f]+)"')


def replays(storage: Storage) -> Counter[str]:
    """By call, how often its answer was given again."""
    return found(storage, _REPLAYED)


def found(storage: Storage, pattern: re.Pattern[bytes]) -> Counter[str]:
    """What the first group of a pattern finds in the chronolog's lines, and how often."""
    seen: Counter[str] = Counter()
    offset, rest = 0, b""
    try:
        while block := storage.read(layout.CHRONOLOG, offset, _BLOCK):
            offset += len(block)
            whole, _, rest = (rest + block).rpartition(b"\n")
            seen.update(name.decode("ascii", "replace") for name in pattern.findall(whole))
    except FileNotFoundError:
        pass
    return seen
