"""Where a compressed segment's file is not what it was, to the byte, and what it was."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace

from custody.journal import parity, seekable

_HEADER = 8  # bytes of a skippable frame that say its size, which for the parity follows from that of all frames


@dataclass(frozen=True, slots=True)
class Flaw:
    """Damaged bytes of the file as stored.

    Attributes:
        offset, size: in bytes; a size below 0 is how many are missing there.
        start, end: the bytes before compression that the frames hold to which they belong; the same where it is none.
        corrected: they are made anew when they are read, and ``custody repair`` puts them right.
    """

    offset: int
    size: int
    start: int
    end: int
    corrected: bool


def examine(data: bytes) -> tuple[bytes | None, list[Flaw]]:
    """The file as it was written, None where that cannot be told, and its flaws.

    Where a flaw is not corrected, the file is a guess: these frames are whole, and others may be gone with the table.
    Of a file without parity only its table is looked at: its frames have checksums of their own.
    """
    found = parity.find(data)
    if found is not None:
        flaws = list(_of_blocks(data, found))
        if not found.corrected:
            return None, flaws
        right = found.body + seekable.tail([found.body], found.rows)
        behind = data[len(found.body) :] if not found.moved else b""
        if not flaws and right != data:
            flaws.append(_difference(data, right))
        elif not found.moved and right[len(found.body) :] != behind:
            flaws.append(_difference(found.body + behind, right, len(found.body)))
        return right, flaws
    known = seekable.table(lambda offset, size: data[offset : offset + size], len(data))
    rows = known if known is not None else seekable.walked(data)
    end = seekable.borders(rows)[0][-1]
    if known is not None and end + len(seekable.table_frame(known)) == len(data):
        return data, []
    if not seekable.whole(data, rows):
        return None, []
    right = data[:end] + seekable.tail([data[:end]], rows)
    if right == data:
        return data, []
    headers = (right[end : end + _HEADER], seekable.table_frame(rows)[:_HEADER])
    return right, [replace(_difference(data, right), corrected=data[end : end + _HEADER] in headers)]


def _of_blocks(data: bytes, found: parity.Found) -> Iterator[Flaw]:
    packed, plain = seekable.borders(found.rows)
    if found.moved < 0 and found.bad:
        at = min(found.bad) * parity.BLOCK
        yield Flaw(at, found.moved, *_frames(packed, plain, at, at - found.moved), found.corrected)
        return
    numbers = sorted(found.bad)
    while numbers:
        first, alike = numbers[0], found.bad[numbers[0]]
        count = next(
            (n for n, number in enumerate(numbers) if number != first + n or found.bad[number] != alike), len(numbers)
        )
        at, end = first * parity.BLOCK, min((first + count) * parity.BLOCK, len(found.body))
        if alike and not found.moved:  # to the byte
            changed = _difference(data[:end], found.body[:end], at)
            at, end = changed.offset, changed.offset + changed.size
        yield Flaw(at, end - at, *_frames(packed, plain, at, end), alike)
        numbers = numbers[count:]


def _frames(packed: list[int], plain: list[int], start: int, end: int) -> tuple[int, int]:
    """The plain bytes of the frames that have a stored byte from ``start`` to ``end``."""
    return plain[bisect_right(packed, start) - 1], plain[min(bisect_left(packed, end), len(plain) - 1)]


def _difference(data: bytes, right: bytes, start: int = 0) -> Flaw:
    """From the first byte that differs to the last, as of what belongs to no call: parity, table, bytes behind them."""
    shorter = min(len(data), len(right))
    first = next((n for n in range(start, shorter) if data[n] != right[n]), shorter)
    if len(data) != len(right):
        return Flaw(first, len(data) - first if len(data) > len(right) else len(data) - len(right), 0, 0, True)
    last = next(n for n in range(len(data) - 1, first - 1, -1) if data[n] != right[n])
    return Flaw(first, last + 1 - first, 0, 0, True)
