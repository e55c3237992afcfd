"""Zstandard's seekable format: frames that are decompressed one by one, and a table of them at the end.

Any zstd tool reads such a file, because the table stands in a skippable frame (RFC 8878, 3.1.2; the table as in
zstd's contrib/seekable_format). A frame holds whole lines. Before the table stands what damaged bytes are corrected
with (``parity``); a file without it, as they were written before, is read as well, and a damaged frame of it costs
its own lines, from the damage on.
"""

from __future__ import annotations

import logging
import struct
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import accumulate
from struct import Struct
from zlib import crc32

import zstandard

from custody.errors import ArchiveDamaged
from custody.journal import parity

log = logging.getLogger("custody")

FRAME = 1024 * 1024  # bytes before compression: what reading one line costs
LEVEL = 9
_KEPT = 2  # decompressed frames
LARGEST = 1024 * 1024 * 1024  # bytes of a frame; no line that makes one is as long, a few bytes can pretend to be

_SKIPPABLE = 0x184D2A5E
_SEEKABLE = 0x8F92EAB1
_SKIP = Struct("<II")
_ROW = Struct("<II")  # compressed and decompressed size of a frame
_FOOTER = Struct("<IBI")  # frames, descriptor, magic
_DENSEST = 2**16  # bytes that one compressed byte can stand for, rounded up: 4 bytes are a block of 128 KiB at most
_FRAME_MAGIC = b"\x28\xb5\x2f\xfd"
_PIECE = 512  # bytes fed at a time to find how far a damaged frame can be read

Read = Callable[[int, int], bytes]
"""Offset and size to bytes."""
Rows = list[tuple[int, int]]


def compress(blocks: Iterator[bytes], *, frame: int = FRAME, level: int = LEVEL) -> Iterator[bytes]:
    """``blocks`` of bytes as a seekable file, part by part. Frames end with a line, or where there is no line's end."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, window_log=23, enable_ldm=True, write_checksum=True
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    rows: Rows = []
    parts: list[bytes] = []
    waiting = b""

    def closed(data: bytes) -> bytes:
        packed = compressor.compress(data)
        rows.append((len(packed), len(data)))
        parts.append(packed)
        return packed

    for block in blocks:
        waiting += block
        while len(waiting) >= frame:
            end = waiting.rfind(b"\n", 0, frame) + 1 or waiting.find(b"\n", frame) + 1
            if not end:
                break  # one line that is longer than a frame: its end is still to come
            yield closed(waiting[:end])
            waiting = waiting[end:]
    if waiting:
        yield closed(waiting)
    yield tail(parts, b"".join(_ROW.pack(*row) for row in rows))


def tail(parts: list[bytes], rows: bytes) -> bytes:
    """What stands behind the frames: parity and table."""
    return parity.frame(parts, rows) + table_frame(rows)


def table_frame(rows: bytes) -> bytes:
    """The table of frames with these rows, as it stands in the file."""
    table = rows + _FOOTER.pack(len(rows) // _ROW.size, 0, _SEEKABLE)
    return _SKIP.pack(_SKIPPABLE, len(table)) + table


def table(read: Read, size: int) -> bytes | None:
    """The rows of the table of frames, where it is there and nothing speaks against it."""
    try:
        count, _, magic = _FOOTER.unpack(read(size - _FOOTER.size, _FOOTER.size))
        if size < _FOOTER.size or magic != _SEEKABLE:
            return None
        end = size - _FOOTER.size - count * _ROW.size - _SKIP.size
        start = max(0, end - parity.TRAILER)
        near = read(start, size - _FOOTER.size - start)
        rows = near[end - start + _SKIP.size :]
        body = sum(packed for packed, _ in _ROW.iter_unpack(rows))
        said = parity.trailer(near[: end - start])
        if said is not None:
            fits = (body, end - body) == (said.body, said.size) and crc32(rows) == said.rows_crc
        else:  # there is none, or the trailer is damaged, which costs nothing while the table is not
            fits = body == end or parity.skipped(read(body, _SKIP.size)) == end - body
        return rows if fits and _plausible(rows) else None
    except (struct.error, ValueError, OSError):
        return None


def _plausible(rows: bytes) -> bool:
    """A few bytes must not fill the memory of whoever looks at them."""
    return all(plain <= min(LARGEST, packed * _DENSEST) for packed, plain in _ROW.iter_unpack(rows))


def walked(data: bytes) -> bytes:
    """Rows of a table that is lost, from the frames themselves. What is damaged belongs to the frame before it."""
    rows: Rows = []
    at = 0
    while at < len(data):
        packed = parity.skipped(data[at : at + _SKIP.size]) or _skipped(data[at : at + _SKIP.size])
        plain = 0
        if not packed:
            found, packed, complete = unpacked(data[at:])
            plain = len(found)
            if not complete:
                after = data.find(_FRAME_MAGIC, at + 1)
                packed = (after if after > 0 else len(data)) - at
                stated = _stated(data[at : at + 32])
                if after > 0 and plain <= stated <= min(LARGEST, packed * _DENSEST):
                    plain = stated
        rows.append((packed, plain))
        at += packed
    while rows and not rows[-1][1]:
        rows.pop()
    return b"".join(_ROW.pack(*row) for row in rows)


def whole(data: bytes, rows: bytes) -> bool:
    """Whether each frame of a file is what a table with these rows says, by the frame's own checksum."""
    starts, ends = borders(rows)
    return len(starts) > 1 and all(
        (len(plain), size) == (ends[n + 1] - ends[n], starts[n + 1] - starts[n]) and complete
        for n in range(len(starts) - 1)
        for plain, size, complete in (unpacked(data[starts[n] : starts[n + 1]]),)
    )


def _skipped(header: bytes) -> int:
    if len(header) < _SKIP.size:
        return 0
    magic, size = _SKIP.unpack(header)
    return _SKIP.size + int(size) if magic == _SKIPPABLE else 0


def _stated(packed: bytes) -> int:
    """Bytes that a frame says to hold; -1 where it does not say."""
    try:
        return int(zstandard.frame_content_size(packed))
    except zstandard.ZstdError:
        return -1


def unpacked(packed: bytes, most: int = LARGEST) -> tuple[bytes, int, bool]:
    """What can be decompressed of the frame that begins here, the frame's size, and whether that is all of it.

    Stops when ``most`` bytes are there.
    """
    if _stated(packed) > most:
        return b"", 0, False
    frame, parts, size = zstandard.ZstdDecompressor().decompressobj(), list[bytes](), 0
    try:
        for at in range(0, len(packed), _PIECE):
            parts.append(frame.decompress(packed[at : at + _PIECE]))
            size += len(parts[-1])
            if frame.eof:
                return b"".join(parts), min(len(packed), at + _PIECE) - len(frame.unused_data), True
            if size >= most:
                break
    except zstandard.ZstdError:
        pass
    return b"".join(parts), 0, False


def salvaged(data: bytes) -> bytes:
    """What can be decompressed of a file whose table is lost; of a frame that is cut, its beginning."""
    try:
        reader = Seekable("it", lambda offset, size: data[offset : offset + size], len(data))
    except ArchiveDamaged:
        return b""
    return reader.read(0, reader.size)


_LOST = b"\x18"  # CAN stands for each byte of a damaged frame: no line holds one, so that each line in it fails


class Seekable:
    """Reads ranges of the decompressed bytes. Raises ArchiveDamaged where no frame can be found.

    Attributes:
        damaged: offset, size and reason of frames that could not be read, nor made anew; other bytes stand in their
            place, so that the lines of the other frames are found where they are.
    """

    def __init__(self, name: str, read: Read, size: int) -> None:
        self._name, self._read, self._size = name, read, size
        self._frames: OrderedDict[int, bytes] = OrderedDict()
        self._patches: list[tuple[int, bytes]] = []
        self._looked = False
        self.damaged: list[tuple[int, int, str]] = []
        rows = table(read, size)
        if rows is None:
            rows = self._look()
        self._packed, self._plain = borders(rows)

    @property
    def size(self) -> int:
        """Bytes before compression."""
        return self._plain[-1]

    def read(self, offset: int, size: int) -> bytes:
        """Fewer than ``size`` only at the end."""
        parts, end = [], min(offset + size, self.size)
        while offset < end:
            number = bisect_right(self._plain, offset) - 1
            begin = offset - self._plain[number]
            parts.append(self._frame(number)[begin : begin + end - offset])
            offset = self._plain[number + 1]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _look(self) -> bytes:
        """Read all of the file for what can be corrected; gives the rows of its table."""
        self._looked = True
        try:
            data = self._read(0, self._size)
        except OSError as error:
            raise ArchiveDamaged(f"{self._name}: its table of frames cannot be read ({error})") from error
        found = parity.find(data)
        if found is not None and _plausible(found.rows):
            self._patches, rows = found.patches, found.rows
        else:
            rows = walked(data)
        if not any(plain for _, plain in _ROW.iter_unpack(rows)):
            raise ArchiveDamaged(f"{self._name}: its table of frames cannot be read, and no frame is found")
        log.warning(
            "custody: %s is damaged; what can be made anew of it is. Run custody verify, then custody repair",
            self._name,
        )
        return rows

    def _stored(self, number: int) -> bytes:
        start, size = self._packed[number], self._packed[number + 1] - self._packed[number]
        packed = self._read(start, size)
        return parity.patched(packed.ljust(size, b"\0"), start, self._patches) if self._patches else packed

    def _frame(self, number: int) -> bytes:
        kept = self._frames.get(number)
        if kept is not None:
            self._frames.move_to_end(number)
            return kept
        try:
            plain = self._whole(number)
        except zstandard.ZstdError as error:
            plain = self._again(number, str(error))
        self._frames[number] = plain
        while len(self._frames) > _KEPT:
            self._frames.popitem(last=False)
        return plain

    def _whole(self, number: int) -> bytes:
        packed, size = self._stored(number), self._plain[number + 1] - self._plain[number]
        if zstandard.frame_content_size(packed) != size:  # before room is made for it
            raise zstandard.ZstdError("it has not the size that the table states")
        return zstandard.ZstdDecompressor().decompress(packed)

    def _again(self, number: int, reason: str) -> bytes:
        """A frame that failed: corrected, or what can be had of it."""
        if not self._looked:
            try:
                self._look()
                return self._whole(number)
            except (zstandard.ZstdError, ArchiveDamaged):
                pass
        size, packed = self._plain[number + 1] - self._plain[number], self._stored(number)
        self.damaged.append((self._plain[number], size, reason))
        found = unpacked(packed, size)[0] if _stated(packed) in (size, -1) else b""
        return found[:size].ljust(size, _LOST)


def borders(rows: bytes) -> tuple[list[int], list[int]]:
    """Where the frames of a table begin and the last ends: as stored, and before compression."""
    pairs = list(_ROW.iter_unpack(rows))
    return (
        list(accumulate((packed for packed, _ in pairs), initial=0)),
        list(accumulate((plain for _, plain in pairs), initial=0)),
    )
