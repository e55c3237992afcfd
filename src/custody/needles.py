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


Placed = tuple[tuple[bytes, int], ...]
"""Strings, and where in each the byte stands at which they are looked for."""


def probe(needles: Iterable[bytes], changing: Iterable[bytes] = ()) -> Probe:
    """A function that says whether any of ``needles`` or ``changing`` is in its argument.

    The best bytes for ``needles`` are remembered. Those that change with every answer (a bot manager's cookie) join
    them where they can: to choose for all anew took half of what a recorded call costs.
    """
    plain, chosen = _chosen(frozenset(needles))
    groups = dict(chosen)
    others: list[bytes] = []
    for needle in changing:
        anchor = next((byte for byte in (*groups, *_RARE) if byte in needle), None)
        if anchor is None:
            others.append(needle)
        else:
            groups[anchor] = (*groups.get(anchor, ()), (needle, needle.index(anchor)))
    return _looking((*plain, *others), tuple(groups.items()))


@functools.lru_cache(maxsize=32)  # each start of a session asks for the same
def _chosen(needles: frozenset[bytes]) -> tuple[tuple[bytes, ...], tuple[tuple[int, Placed], ...]]:
    left = set(needles)
    plain = tuple(sorted(needle for needle in left if not any(byte in _RARE for byte in needle)))
    left.difference_update(plain)
    groups: list[tuple[int, Placed]] = []
    while left:
        # The byte that most of them have, the rarer one of two.
        anchor = max(_RARE, key=lambda byte: (sum(byte in needle for needle in left), -_RARE.index(byte)))
        shared = sorted(needle for needle in left if anchor in needle)
        groups.append((anchor, tuple((needle, needle.index(anchor)) for needle in shared)))
        left.difference_update(shared)
    return plain, tuple(groups)


def _looking(plain: tuple[bytes, ...], groups: tuple[tuple[int, Placed], ...]) -> Probe:
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
