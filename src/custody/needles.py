"""Finds out fast whether any of many strings occurs in bytes: nearly every line holds none of them.

``in`` looks at every third byte or so for each string by itself. The search for one byte (memchr) is ten to a
hundred times as fast, so strings are looked for at a byte that text and JSON seldom have; strings that have
such a byte in common share the search.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

# Bytes by how seldom they stand in prose, JSON and identifiers, all under one in a thousand.
_RARE = b"~^`$@&!%#QJKZXYVHGUOWBDLMzRFPSCq"
_MANY = 1024  # bytes of text for each time that the byte may occur in vain

Probe = Callable[[bytes], bool]


def probe(needles: Iterable[bytes]) -> Probe:
    """A function that says whether any of ``needles`` is in its argument."""
    return _probe(frozenset(needles))


@functools.lru_cache(maxsize=32)  # each start of a session asks for the same
def _probe(needles: frozenset[bytes]) -> Probe:
    left = set(needles)
    plain = tuple(sorted(needle for needle in left if not any(byte in _RARE for byte in needle)))
    left.difference_update(plain)
    groups: list[tuple[int, tuple[tuple[bytes, int], ...]]] = []
    while left:
        # The byte that most of them have, the rarer one of two.
        anchor = max(_RARE, key=lambda byte: (sum(byte in needle for needle in left), -_RARE.index(byte)))
        shared = sorted(needle for needle in left if anchor in needle)
        groups.append((anchor, tuple((needle, needle.index(anchor)) for needle in shared)))
        left.difference_update(shared)

    def found(data: bytes) -> bool:
        find = data.find  # ``in`` asks first whether a needle is a number, and makes an exception of it
        for needle in plain:
            if find(needle) >= 0:
                return True
        for anchor, placed in groups:
            if anchor not in data:
                continue
            at, left = find(anchor), 8 + len(data) // _MANY
            while at >= 0:
                for needle, offset in placed:
                    if at >= offset and data.startswith(needle, at - offset):
                        return True
                left -= 1
                if not left:  # it is not so rare in this text
                    if any(find(needle) >= 0 for needle, _ in placed):
                        return True
                    break
                at = find(anchor, at + 1)
        return False

    return found
