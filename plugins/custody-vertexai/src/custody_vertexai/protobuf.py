"""Reads the wire format of protocol buffers into the JSON that Vertex AI's REST API would have sent.

By tables of field numbers and without the SDK, so that a stored session can be read anywhere. The wire
format is that of protobuf.dev/programming-guides/encoding; numbers are never given to another field.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

Scalar = Literal["string", "int", "bool", "float", "double", "present", "value", "data"]
"""``present``: only that it is there. ``value``: google.protobuf.Value as its JSON. ``data``: raw bytes."""


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        name: as JSON has it.
        kind: a scalar, the table of an inner message, or the names of an enumeration.
        many: it is repeated.
    """

    name: str
    kind: Scalar | Table | tuple[str, ...]
    many: bool = False


class Table(dict[int, Field]):
    """The fields of a message by their numbers."""


_DEEPEST = 64
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def decode(data: bytes, table: Mapping[int, Field]) -> dict[str, Any]:
    """The known fields of a message, as far as it is whole; nothing is raised."""
    return _decode(data, table, _DEEPEST)


def _decode(data: bytes, table: Mapping[int, Field], depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for number, wire, raw in _fields(data):
        field = table.get(number)
        value = _value(field, wire, raw, depth) if field is not None else None
        if field is None or value is None:
            continue
        if field.many:
            made.setdefault(field.name, []).append(value)
        else:
            made[field.name] = value
    return made


def _fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """Number, wire type and raw value of each field; ends where the bytes make no sense."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag is None:
            return
        wire, size = tag & 7, {_FIXED64: 8, _FIXED32: 4}.get(tag & 7)
        if wire == _VARINT:
            value, at = _varint(data, at)
            if value is None:
                return
            yield tag >> 3, wire, value
            continue
        if wire == _BYTES:
            size, at = _varint(data, at)
        if size is None or at + size > len(data):
            return
        yield tag >> 3, wire, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int | None, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            return None, at
        byte = data[at]
        value, at = value | (byte & 0x7F) << shift, at + 1
        if not byte & 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    return None, at


def _value(field: Field, wire: int, raw: Any, depth: int) -> Any:
    kind = field.kind
    if kind == "present":
        return {} if wire == _BYTES else None
    if isinstance(kind, Table):
        return _decode(raw, kind, depth - 1) if wire == _BYTES and depth else None
    if isinstance(kind, tuple):
        return kind[raw] if wire == _VARINT and raw < len(kind) else raw if wire == _VARINT else None
    if kind in ("int", "bool"):
        if wire != _VARINT:
            return None
        return bool(raw) if kind == "bool" else raw - (1 << 64) if raw >> 63 else raw
    if kind == "float":
        return _shortest(raw) if wire == _FIXED32 else None
    if kind == "double":
        return struct.unpack("<d", raw)[0] if wire == _FIXED64 else None
    if wire != _BYTES:
        return None
    if kind == "value":
        return _json(raw, depth)
    return raw if kind == "data" else raw.decode("utf-8", "replace")


def _shortest(raw: bytes) -> float:
    """A single-precision number by its fewest digits: 0.2, not 0.20000000298."""
    value: float = struct.unpack("<f", raw)[0]
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        try:
            if struct.pack("<f", short) == raw:
                return short
        except (OverflowError, ValueError):
            break
    return value


def _json(data: bytes, depth: int) -> Any:
    """google.protobuf.Value, Struct and ListValue (struct.proto)."""
    made: Any = None
    for number, wire, raw in _fields(data):
        if number == 2 and wire == _FIXED64:
            value = struct.unpack("<d", raw)[0]
            made = int(value) if value.is_integer() and abs(value) < 2**53 else value
        elif number == 3 and wire == _BYTES:
            made = raw.decode("utf-8", "replace")
        elif number == 4 and wire == _VARINT:
            made = bool(raw)
        elif number == 5 and wire == _BYTES and depth:
            made = {}
            for entry in (part for one, kind, part in _fields(raw) if (one, kind) == (1, _BYTES)):
                pair = {n: part for n, kind, part in _fields(entry) if kind == _BYTES}
                made[pair.get(1, b"").decode("utf-8", "replace")] = _json(pair.get(2, b""), depth - 1)
        elif number == 6 and wire == _BYTES and depth:
            made = [_json(part, depth - 1) for one, kind, part in _fields(raw) if (one, kind) == (1, _BYTES)]
    return made
