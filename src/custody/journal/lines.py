"""One line of a segment.

A line is one JSON object in UTF-8. It begins with ``{"kind":"<kind>","seq":<n>,`` and ends with
``,"crc32":"<8 hex digits>"}``; the checksum (CRC-32, ISO-HDLC) is over the line's bytes before
``,"crc32"``. ``seq`` counts the writer's lines from 1 without a gap; lines of an exchange name it in
the field after that. So a reader can skip a line
without parsing it, check it without knowing its kind, and find the next one after damage.

========  ==========================================================================================
segment   first line of a file: session, writer, number, format version
request   written before sending: the intent, with identity, allow-listed headers and the raw body
response  status and headers; a whole response's body; or the error that took its place
chunk     raw bytes of a stream as they arrived
end       how a stream ended
call      last; commits the call; holds no text of the user's or the model's
note      what custody has to say of itself: a failed hook, a spilled record, a warning
========  ==========================================================================================
"""

from __future__ import annotations

import base64
import json
import math
import re
from typing import Any, NamedTuple
from zlib import crc32

import orjson

from custody.errors import ArchiveDamaged

FORMAT_VERSION = 1

KINDS = ("segment", "request", "response", "chunk", "end", "call", "note")

PREFIX = re.compile(rb'\{"kind":"([a-z]+)","seq":(\d{1,18}),')
TRAILER = re.compile(rb',"crc32":"[0-9a-f]{8}"\}')
# The exchange is the field after ``seq`` or none: the rest is content. ASCII, because it is read before the checksum.
HEAD = re.compile(PREFIX.pattern + rb'(?:"exchange":"([ !#-\[\]-~]+)")?')
_KINDS = {kind.encode(): kind for kind in KINDS}
CLOSED = b',"crc32":"%08x"}'
TRAILER_SIZE = len(CLOSED % 0)


class LineHead(NamedTuple):
    """What a line says of itself before it is parsed. ``exchange`` is empty where it belongs to none."""

    kind: str
    seq: int
    exchange: str


def unsealed(kind: str, seq: int, fields: dict[str, Any]) -> bytes:
    """The line without its checksum and newline. A number that JSON has no word for becomes null."""
    line = {"kind": kind, "seq": seq, **fields}
    try:
        return orjson.dumps(line)[:-1]
    except TypeError:  # an integer beyond 64 bits, a lone surrogate, a subclass: what only Python's own takes
        pass
    try:
        text = _dumps(line)
    except ValueError:
        text = _dumps({"kind": kind, "seq": seq, **_finite(fields)})
    # A lone surrogate cannot be UTF-8; backslashreplace writes it as the escape that JSON has for it.
    return text[:-1].encode("utf-8", "backslashreplace")


def opening(session: str, writer: str, number: int) -> bytes:
    """The sealed first line of a segment. Its ``seq`` is 0: it is no line of the writer's count."""
    fields = {"format": FORMAT_VERSION, "session": session, "writer": writer, "number": number}
    return seal(unsealed("segment", 0, fields))


def seal(line: bytes) -> bytes:
    """Close a line: its checksum, the brace, the newline."""
    return b"%s%s\n" % (line, CLOSED % crc32(line))


def check(line: bytes) -> bool:
    """Whether a line (without its newline) is whole."""
    return line[-TRAILER_SIZE:] == CLOSED % crc32(memoryview(line)[:-TRAILER_SIZE])


def head(line: bytes) -> LineHead | None:
    """Kind, number and exchange of a line, without parsing it; None where it is no journal line."""
    match = HEAD.match(line)
    return None if match is None else said(match)


def said(match: re.Match[bytes]) -> LineHead:
    """What a match of ``HEAD`` says."""
    kind, number, exchange = match.groups()
    return LineHead(_KINDS.get(kind) or kind.decode(), int(number), exchange.decode() if exchange else "")


def parse(line: bytes) -> dict[str, Any]:
    """The line's object. Raises ArchiveDamaged where the checksum or the JSON is wrong."""
    if not check(line):
        raise ArchiveDamaged("a journal line fails its checksum")
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ArchiveDamaged("a journal line is not an object")
    return value


def pack(data: bytes) -> dict[str, str]:
    """Raw bytes as JSON: text where they are UTF-8, base64 where not."""
    try:
        return {"text": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode("ascii")}


def unpack(fields: dict[str, Any]) -> bytes:
    """What ``pack`` packed. Raises ArchiveDamaged where neither form is there."""
    text, encoded = fields.get("text"), fields.get("base64")
    if isinstance(text, str):
        return text.encode("utf-8")
    if isinstance(encoded, str):
        return base64.b64decode(encoded, validate=True)
    raise ArchiveDamaged("a journal line holds no bytes where it should")


def _dumps(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value
