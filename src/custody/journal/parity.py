"""Error correction for a compressed segment: what a few damaged bytes were is made anew from the others.

Behind the frames stands one skippable zstd frame, which every zstd tool passes over. The bytes before it are cut into
blocks of 512, and these dealt to columns, block n to column n modulo their number. The frame holds, in this order

* the parity: for each column the XOR of all its blocks, the last one filled up with zeros. They begin with the column
  that follows the last block's, so that any run of bytes shorter than the parity, also one across the border between
  blocks and parity, hurts each column once at most;
* the index: the rows of the table of frames, and a CRC-32 of each block;
* a trailer: how many bytes there were, how many of parity, how many rows, CRC-32 of rows, of the index, of itself.

A block whose CRC is wrong is the XOR of its column's parity and other blocks, if these are right. All little-endian.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from struct import Struct
from zlib import crc32

BLOCK = 512  # bytes: a sector; what is made anew as a whole
COLUMNS = 12  # at least: a page of 4096 bytes touches 10 blocks
SHARE = 32  # of the bytes: a run of so large a part can be made anew

_MAGIC = 0x184D2A5D  # one of the 16 that RFC 8878 leaves to whoever wants them; the table of frames has ...5E
_NAME = b"cstdyPAR"
_SKIP = Struct("<II")
_TRAILER = Struct("<QIIIII8s")  # body, parity, rows in bytes; CRC-32 of rows, index, this; name
TRAILER = _TRAILER.size


@dataclass(frozen=True, slots=True)
class Trailer:
    """Where everything stands. Sizes in bytes."""

    body: int
    parity: int
    rows: int
    rows_crc: int
    index_crc: int

    @property
    def index(self) -> int:
        return self.rows + 4 * -(-self.body // BLOCK)

    @property
    def size(self) -> int:
        """Of the whole skippable frame."""
        return _SKIP.size + self.parity + self.index + TRAILER

    def dump(self) -> bytes:
        plain = _TRAILER.pack(self.body, self.parity, self.rows, self.rows_crc, self.index_crc, 0, _NAME)
        return _TRAILER.pack(self.body, self.parity, self.rows, self.rows_crc, self.index_crc, crc32(plain[:24]), _NAME)


def trailer(data: bytes) -> Trailer | None:
    """What the bytes of a trailer say; None where they are none, or damaged."""
    if len(data) != TRAILER:
        return None
    body, parity, rows, rows_crc, index_crc, own, name = _TRAILER.unpack(data)
    whole = name == _NAME and own == crc32(data[:24]) and parity and parity % BLOCK == 0
    return Trailer(body, parity, rows, rows_crc, index_crc) if whole else None


def frame(parts: Sequence[bytes], rows: bytes) -> bytes:
    """The skippable frame to put behind ``parts``, the file's bytes so far. ``rows``: of the table that follows it."""
    size = sum(map(len, parts))
    length = max(COLUMNS, -(-size // (SHARE * BLOCK))) * BLOCK
    checks, folded = array("I"), 0
    for piece in _cut(parts, length):
        folded ^= int.from_bytes(piece, "little")
        checks.extend(_checks(piece))
    turned = _turned(size, length)
    parity = folded.to_bytes(length, "little")
    index = rows + _stored(checks)
    content = parity[turned:] + parity[:turned] + index
    made = content + Trailer(size, length, len(rows), crc32(rows), crc32(index)).dump()
    return _SKIP.pack(_MAGIC, len(made)) + made


def skipped(header: bytes) -> int:
    """Bytes that the skippable frame with this header has; 0 where it is none of ours."""
    if len(header) != _SKIP.size:
        return 0
    magic, size = _SKIP.unpack(header)
    return _SKIP.size + int(size) if magic == _MAGIC else 0


@dataclass(frozen=True, slots=True)
class Found:
    """A file's bytes, corrected as far as can be.

    Attributes:
        body: the frames.
        rows: of the table of frames.
        patches: offset and bytes of what was made anew. Where bytes are missing or too many, all of the body.
        bad: number of each block that was wrong, and whether it was made anew.
        moved: how many bytes too many stand in the file; negative: how many are missing.
    """

    body: bytes
    rows: bytes
    patches: list[tuple[int, bytes]] = field(default_factory=list)
    bad: dict[int, bool] = field(default_factory=dict)
    moved: int = 0

    @property
    def corrected(self) -> bool:
        return all(self.bad.values())


def find(data: bytes) -> Found | None:
    """Look through a whole file. None where there is no index, or a damaged one."""
    best: Found | None = None
    at = data.rfind(_NAME)
    while at >= 0:
        found = _found(data, at + len(_NAME))
        if found is not None and (best is None or _hurt(found) < _hurt(best)):
            best = found
        at = data.rfind(_NAME, 0, at)
    return best


def _hurt(found: Found) -> tuple[bool, bool]:
    return not found.corrected, found.moved != 0


def _found(data: bytes, end: int) -> Found | None:
    said = trailer(data[max(0, end - TRAILER) : end])
    if said is None:
        return None
    start = end - TRAILER - said.index
    index = data[max(0, start) : end - TRAILER]
    if start < 0 or crc32(index) != said.index_crc:
        return None
    checks = _loaded(index[said.rows :])
    moved = end - said.body - said.size
    body, parity = data[: said.body], data[max(0, start - said.parity) : start]
    if moved:
        sound = next((n for n, right in enumerate(checks) if _check(body, n) != right), len(checks)) * BLOCK
        before, after = data[:sound], data[max(0, sound + moved) : max(0, start - said.parity - _SKIP.size)]
        body = before + bytes(max(0, said.body - len(before) - len(after))) + after
        body = body[: said.body]
    return _corrected(body, parity.rjust(said.parity, b"\0"), checks, index[: said.rows], moved)


def _corrected(body: bytes, parity: bytes, checks: Sequence[int], rows: bytes, moved: int) -> Found:
    wrong = [n for n, (has, right) in enumerate(zip(_checks(body), checks, strict=True)) if has != right]
    columns, turned = len(parity) // BLOCK, _turned(len(body), len(parity))
    crowd, bad, patches = Counter(n % columns for n in wrong), dict.fromkeys(wrong, False), []
    for number in wrong:
        column = number % columns
        if crowd[column] > 1:
            continue
        place = (column * BLOCK - turned) % len(parity)
        made = int.from_bytes(parity[place : place + BLOCK], "little")
        for other in range(column, len(checks), columns):
            if other != number:
                made ^= int.from_bytes(body[other * BLOCK : (other + 1) * BLOCK], "little")
        block = made.to_bytes(BLOCK, "little")[: len(body) - number * BLOCK]
        bad[number] = crc32(block) == checks[number]
        if bad[number]:
            patches.append((number * BLOCK, block))
    body = patched(body, 0, patches)
    return Found(body, rows, [(0, body)] if moved else patches, bad, moved)


def patched(data: bytes, offset: int, patches: Iterable[tuple[int, bytes]]) -> bytes:
    """Bytes that stand at ``offset``, with those of ``patches`` in place of their own."""
    changed = bytearray(data)
    for at, right in patches:
        first, last = max(at, offset), min(at + len(right), offset + len(data))
        if first < last:
            changed[first - offset : last - offset] = right[first - at : last - at]
    return bytes(changed)


def _turned(size: int, length: int) -> int:
    """Offset in the parity of the column that follows the last block's."""
    return -(-size // BLOCK) * BLOCK % length


def _checks(data: bytes) -> Iterator[int]:
    seen = memoryview(data)
    return (crc32(seen[at : at + BLOCK]) for at in range(0, len(data), BLOCK))


def _check(data: bytes, number: int) -> int:
    return crc32(data[number * BLOCK : (number + 1) * BLOCK])


def _stored(checks: array[int]) -> bytes:
    return Struct(f"<{len(checks)}I").pack(*checks)


def _loaded(data: bytes) -> tuple[int, ...]:
    return Struct(f"<{len(data) // 4}I").unpack(data[: len(data) // 4 * 4])


def _cut(parts: Sequence[bytes], length: int) -> Iterator[bytes]:
    """The bytes of ``parts`` in pieces of ``length``, without a copy of them all."""
    ends = list(accumulate(map(len, parts), initial=0))
    for start in range(0, ends[-1], length):
        piece, at = [], start
        while at < min(start + length, ends[-1]):
            number = bisect_right(ends, at) - 1
            begin = at - ends[number]
            piece.append(parts[number][begin : begin + start + length - at])
            at += len(piece[-1])
        yield b"".join(piece)
