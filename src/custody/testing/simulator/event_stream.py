"""Frames of an AWS event stream (``application/vnd.amazon.eventstream``), as the Smithy specification has them.

A frame is: total length and headers' length (4 bytes each, big-endian), the CRC-32 of these eight bytes, the
headers, the payload, the CRC-32 of all before it. A header's value is a string here (type 7).
"""

from __future__ import annotations

import base64
import struct
import zlib

from custody.testing.simulator.answers import Json, compact

TYPE = "application/vnd.amazon.eventstream"
_PADDING = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def event(name: str, payload: Json) -> bytes:
    """One event. Like the vendor's, its payload is padded, so that its length tells nothing of the text."""
    padded = {**payload, "p": _PADDING[: 4 + len(compact(payload)) * 7 % 50]}
    return _frame({":event-type": name, ":content-type": "application/json", ":message-type": "event"}, padded)


def chunk(value: Json) -> bytes:
    """One event of ``InvokeModelWithResponseStream``: the model's own event in base64."""
    return event("chunk", {"bytes": base64.b64encode(compact(value).encode()).decode()})


def exception(name: str, message: str) -> bytes:
    """A failure inside of a stream; ``name`` is the member of the stream's shape ("modelStreamErrorException")."""
    names = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return _frame(names, {"message": message})


def _frame(headers: dict[str, str], payload: Json) -> bytes:
    named = b"".join(_text(name, 1) + b"\x07" + _text(value, 2) for name, value in headers.items())
    body = compact(payload).encode()
    prelude = struct.pack(">II", 16 + len(named) + len(body), len(named))
    whole = prelude + struct.pack(">I", zlib.crc32(prelude)) + named + body
    return whole + struct.pack(">I", zlib.crc32(whole))


def _text(value: str, size: int) -> bytes:
    data = value.encode()
    return len(data).to_bytes(size) + data
