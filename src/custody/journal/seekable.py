"""Zstandard's seekable format: frames that are decompressed one by one, and a table of them at the end.

Any zstd tool reads such a file, because the table stands in a skippable frame (RFC 8878, 3.1.2; the table as in
zstd's contrib/seekable_format). A frame holds whole lines: where only one frame is damaged, the others keep theirs.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from struct import Struct

import zstandard

from custody.errors import ArchiveDamaged

FRAME = 1024 * 1024  # bytes before compression: what one flipped bit costs at most, and reading one line
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

Read = Callable[[int, int], bytes]
"""Offset and size to bytes."""


def compress(blocks: Iterator[bytes], *, frame: int = FRAME, level: int = LEVEL) -> Iterator[bytes]:
    """``blocks`` of bytes as a seekable file, part by part. Frames end with a line, or where there is no line's end."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, window_log=23, enable_ldm=True, write_checksum=True
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    rows: list[tuple[int, int]] = []
    waiting = b""

    def closed(data: bytes) -> bytes:
        packed = compressor.compress(data)
        rows.append((len(packed), len(data)))
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
    table = b"".join(_ROW.pack(*row) for row in rows) + _FOOTER.pack(len(rows), 0, _SEEKABLE)
    yield _SKIP.pack(_SKIPPABLE, len(table)) + table


def salvaged(data: bytes) -> bytes:
    """What can be decompressed of a file whose table is lost; of a frame that is cut, its beginning."""
    found = []
    while data:
        frame = zstandard.ZstdDecompressor().decompressobj()
        try:
            if zstandard.frame_content_size(data) > LARGEST:
                raise zstandard.ZstdError("a frame is too large")
            found.append(frame.decompress(data))
            data = frame.unused_data
        except zstandard.ZstdError:
            at = data.find(_FRAME_MAGIC, 1)
            data = data[at:] if at > 0 else b""
    return b"".join(found)


_LOST = b"\x18"  # CAN stands for each byte of a damaged frame: no line holds one, so that each line in it fails


class Seekable:
    """Reads ranges of the decompressed bytes. Raises ArchiveDamaged where the table cannot be read.

    Attributes:
        damaged: offset, size and reason of frames that could not be read; other bytes stand in their place, so that
            the lines of the other frames are found where they are.
    """

    def __init__(self, name: str, read: Read, size: int) -> None:
        self._name, self._read = name, read
        self._frames: OrderedDict[int, bytes] = OrderedDict()
        self._packed, self._plain = [0], [0]
        self.damaged: list[tuple[int, int, str]] = []
        try:
            count, _, magic = _FOOTER.unpack(read(size - _FOOTER.size, _FOOTER.size))
            if magic != _SEEKABLE:
                raise ValueError("no seek table")
            table = read(size - _FOOTER.size - count * _ROW.size, count * _ROW.size)
            for packed, plain in _ROW.iter_unpack(table):
                self._packed.append(self._packed[-1] + packed)
                self._plain.append(self._plain[-1] + plain)
                if plain > min(LARGEST, packed * _DENSEST):
                    raise ValueError(f"it states a frame of {plain} bytes")
            if self._packed[-1] != size - _FOOTER.size - len(table) - _SKIP.size:
                raise ValueError("it does not fit the file")
        except (struct.error, ValueError, OSError) as error:
            raise ArchiveDamaged(f"{name}: its table of frames cannot be read ({error})") from error

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

    def _frame(self, number: int) -> bytes:
        kept = self._frames.get(number)
        if kept is not None:
            self._frames.move_to_end(number)
            return kept
        packed = self._read(self._packed[number], self._packed[number + 1] - self._packed[number])
        size = self._plain[number + 1] - self._plain[number]
        try:
            if zstandard.frame_content_size(packed) != size:  # before room is made for it
                raise zstandard.ZstdError("it has not the size that the table states")
            plain = zstandard.ZstdDecompressor().decompress(packed)
        except zstandard.ZstdError as error:
            plain = _LOST * size
            self.damaged.append((self._plain[number], size, str(error)))
        self._frames[number] = plain
        while len(self._frames) > _KEPT:
            self._frames.popitem(last=False)
        return plain
