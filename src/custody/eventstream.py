"""AWS event streams (``application/vnd.amazon.eventstream``) and lines of JSON, as bytes arrive.

A frame of an event stream, per the Smithy specification: total length and headers' length (4 bytes each,
big-endian), the CRC-32 of these eight bytes, the headers, the payload, the CRC-32 of all before it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from custody.sse import Event

_PRELUDE = struct.Struct(">III")
_MOST = 24 * 1024 * 1024  # bytes of a frame; the specification allows 16 MiB of payload
_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}  # sizes of header values by type; 6 and 7 carry theirs
_NAMES = (":event-type", ":exception-type", ":error-code")


class EventStreamParser:
    """Feed bytes, get the frames that they complete: ``Event.name`` is the frame's event, exception or error.

    After a frame that fails its checksum nothing more is read: its end cannot be known.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._damaged = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """Events completed by ``data``, in order."""
        self._rest += data
        found = []
        while not self._damaged and len(self._rest) >= _PRELUDE.size:
            total, headers, crc = _PRELUDE.unpack_from(self._rest)
            if crc != zlib.crc32(self._rest[:8]) or not 16 <= total <= _MOST or headers > total - 16:
                self._damaged = True
                break
            if len(self._rest) < total:
                break
            frame, self._rest = self._rest[:total], self._rest[total:]
            if zlib.crc32(frame[:-4]) != int.from_bytes(frame[-4:]):
                self._damaged = True
                break
            names = dict(_strings(frame[12 : 12 + headers]))
            name = next((names[n] for n in _NAMES if n in names), "")
            found.append(Event(name, frame[12 + headers : -4].decode("utf-8", "replace")))
        return iter(found)

    def rest(self) -> Event | None:
        """Half a frame says nothing."""
        return None


class LineParser:
    """The same for JSON lines: every line is an event without a name."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Event]:
        """Events completed by ``data``, in order."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        return iter([Event("", line.decode("utf-8", "replace")) for line in whole if line.strip()])

    def rest(self) -> Event | None:
        """A last line without its end."""
        return Event("", self._rest.decode("utf-8", "replace")) if self._rest.strip() else None


def _strings(data: bytes) -> Iterator[tuple[str, str]]:
    """The headers whose value is a text."""
    at = 0
    while at < len(data):
        size = data[at]
        name = data[at + 1 : at + 1 + size].decode("utf-8", "replace")
        at += 1 + size
        if at >= len(data):
            return
        kind = data[at]
        at += 1
        if kind in (6, 7):
            length = int.from_bytes(data[at : at + 2])
            if kind == 7:
                yield name, data[at + 2 : at + 2 + length].decode("utf-8", "replace")
            at += 2 + length
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            return
