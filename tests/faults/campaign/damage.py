"""Damage to one file, as disks, copies and people do it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

PAGE = 4096


@dataclass(frozen=True, slots=True)
class Damaged:
    """A file's new bytes, and what of the old ones is not what it was: from ``start`` to ``end``.

    ``lost_tail``: the file ends early; nothing in the file itself can tell that.
    """

    what: str
    data: bytes
    start: int
    end: int
    lost_tail: bool = False


def near(borders: list[int], size: int, reach: int) -> list[int]:
    """Every offset near a border."""
    found = {at for border in borders for at in range(border - reach, border + reach + 1)}
    return sorted(at for at in found if 0 <= at < size)


def truncations(data: bytes, at: list[int]) -> Iterator[Damaged]:
    for size in at:
        yield Damaged(f"cut at {size}", data[:size], size, len(data), lost_tail=True)


def flips(data: bytes, at: list[int], rng: random.Random) -> Iterator[Damaged]:
    for offset in at:
        bit = rng.randrange(8)
        changed = bytearray(data)
        changed[offset] ^= 1 << bit
        yield Damaged(f"bit {bit} of byte {offset}", bytes(changed), offset, offset + 1)


def pages(data: bytes, rng: random.Random, count: int) -> Iterator[Damaged]:
    """Pages of 4096 bytes that read as zeros, are missing, swapped, or hold another one's bytes."""
    last = (len(data) - 1) // PAGE
    for _ in range(count):
        first = rng.randint(0, last) * PAGE
        other = rng.randint(0, last) * PAGE
        end = min(first + PAGE, len(data))
        how = rng.choice(("zeros", "missing", "swapped", "doubled"))
        if how == "zeros":
            yield Damaged(f"page at {first} zeros", data[:first] + bytes(end - first) + data[end:], first, end)
        elif how == "missing":
            tail = end == len(data)
            yield Damaged(f"page at {first} missing", data[:first] + data[end:], first, end, lost_tail=tail)
        elif other != first and max(first, other) + PAGE <= len(data):
            changed = bytearray(data)
            changed[first:end] = data[other : other + PAGE]
            if how == "swapped":
                changed[other : other + PAGE] = data[first:end]
                low, high = sorted((first, other))
                yield Damaged(f"pages at {low} and {high} swapped", bytes(changed), low, high + PAGE)
            else:
                yield Damaged(f"page at {first} holds that at {other}", bytes(changed), first, end)


def zeroed(data: bytes, rng: random.Random, count: int) -> Iterator[Damaged]:
    for _ in range(count):
        start = rng.randrange(len(data))
        end = min(len(data), start + rng.choice((1, 7, 64, 512, 5000)))
        yield Damaged(f"zeros from {start} to {end}", data[:start] + bytes(end - start) + data[end:], start, end)


def doubled_tails(data: bytes, borders: list[int]) -> Iterator[Damaged]:
    """The last lines twice, as a retried copy leaves them; and with half a line between."""
    for border in borders[-4:]:
        tail = data[border:]
        yield Damaged(f"tail from {border} twice", data + tail, len(data), len(data))
        yield Damaged(f"half a tail from {border} after it", data + tail[: len(tail) // 2], len(data), len(data))
