"""Read a segment line by line, whatever happened to it.

A good line is never dropped for a bad neighbour: after damage the reader goes on at the next newline,
and looks within the damaged bytes for lines that only lost theirs. The beginning of a line at the very
end of a segment, or zeros where its pages were, is a torn tail, which a crash leaves and which is no
damage; anything else that fails its checksum is.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from zlib import crc32

from custody.journal import lines
from custody.journal.lines import LineHead

BLOCK = 4 * 1024 * 1024

_BEGINNING = b'{"kind":"'
_LOST_PAGE = bytes(8)  # a page that a power cut lost reads as zeros; no line holds one


class Place(NamedTuple):
    """Where a line stands. ``size`` excludes the newline; both in bytes. ``seq`` is the line's number."""

    segment: str
    offset: int
    size: int
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are no whole line. ``torn``: the segment's last bytes, as a crash leaves them."""

    segment: str
    offset: int
    size: int
    torn: bool


Raw = tuple[re.Match[bytes], bytes, int, int, int]


class Source(Protocol):
    """Where bytes are read by a segment's name: ``Segments``, or a ``Storage``."""

    def read(self, name: str, offset: int = 0, size: int | None = None) -> bytes: ...


@dataclass
class SegmentScan:
    """Lines of one segment from ``start``. ``end`` is the offset after the last complete line.

    Attributes:
        damage: in order of offset.
        first: the first complete line, whole or not; None where there is none yet.
        size: bytes read so far, from the segment's beginning.
    """

    storage: Source
    name: str
    start: int = 0
    end: int = 0
    damage: list[Damage] = field(default_factory=list)
    first: bytes | None = None
    size: int = 0

    def lines(self) -> Iterator[tuple[LineHead, bytes, Place]]:
        """Every whole line, checksums checked. ``end`` and ``damage`` are final when this is exhausted."""
        for match, block, begin, end, offset in self.raw():
            head = lines.said(match)
            yield head, block[begin:end], Place(self.name, offset, end - begin, head.seq)

    def raw(self) -> Iterator[Raw]:
        """The same without an object for each: a block, where in it a line begins and ends, where the line stands in
        the segment, and the match of its head."""
        base, position, rest = self.start, self.start, b""
        head_of, closed, size = lines.HEAD.match, lines.CLOSED, lines.TRAILER_SIZE
        while block := self.storage.read(self.name, position, BLOCK):
            self.size = position = position + len(block)
            if b"\n" not in block:
                rest += block
                continue
            block = rest + block if rest else block
            view, begin = memoryview(block), 0
            if self.first is None:
                self.first = block[: block.index(b"\n")]
            while (end := block.find(b"\n", begin)) >= 0:
                match = head_of(block, begin)  # no newline is part of a head, so that it ends with the line
                if match is not None and block[end - size : end] == closed % crc32(view[begin : end - size]):
                    yield match, block, begin, end, base + begin
                elif end > begin:  # an empty line is where a writer ended another's torn one
                    yield from self._salvaged(block[begin:end], base + begin)
                begin = end + 1
            rest, base = block[begin:], base + begin
        self.end = base
        if rest:
            yield from self._salvaged(rest, base)
        last = self.damage[-1] if self.damage else None
        if last is None or last.offset + last.size < base + len(rest) - (0 if rest else 1):
            return
        bad = self.storage.read(self.name, last.offset, last.size)
        begins = bad.startswith(_BEGINNING) or _BEGINNING.startswith(bad)
        if _LOST_PAGE in bad or (rest and begins):
            self.damage[-1] = Damage(last.segment, last.offset, last.size, torn=True)
            self.end = min(self.end, last.offset)  # judged again when more follows

    def _salvaged(self, bad: bytes, offset: int) -> Iterator[Raw]:
        """Whole lines within bytes that are none: their newline is gone, or something stands before them."""
        done = 0
        ends = [match.end() for match in lines.TRAILER.finditer(bad)]
        for match in lines.PREFIX.finditer(bad) if ends else ():
            start = match.start()
            first = bisect_right(ends, start)
            for end in ends[first : first + 2] if start >= done else ():
                line = bad[start:end]
                head = lines.HEAD.match(line)
                if head is not None and lines.check(line):
                    if start > done:
                        self.damage.append(Damage(self.name, offset + done, start - done, torn=False))
                    yield head, line, 0, len(line), offset + start
                    done = end
                    break
        if done < len(bad):
            self.damage.append(Damage(self.name, offset + done, len(bad) - done, torn=False))
