"""The rows of one segment: a plain function of its bytes, so that any engine can run it.

A call's lines stand before its call line, mostly in the same segment. Those that do not are named, for whoever has
all segments to find.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from custody.errors import ArchiveDamaged
from custody.exchange import Chunk, ResponseHead, parse_json
from custody.export.call import Row
from custody.export.columns import chosen
from custody.export.values import Values, values
from custody.journal import lines
from custody.journal.archive import StoredResponse
from custody.journal.scan import Place
from custody.journal.segments import Segments
from custody.report.by_segment import Fresh, Skip

# As in journal/entries.py: the fields stand in this order, and no label holds an object, so that none can pose as them.
_URL = re.compile(
    rb'\},"scope_key":"[^"\\]*","request_key":"[^"\\]*","replicate":\d+,"operation":"[^"\\]*",'
    rb'"method":"[^"\\]*","url":"([^"\\]*)"'
)


@dataclass
class Exchange:
    """What was seen of an exchange before its call line.

    Attributes:
        asked: its request line was seen.
        url: of its request.
        raw: its lines, where the content is wanted.
        places: of its lines, with their kinds.
    """

    asked: bool = False
    url: str | None = None
    raw: list[bytes] = field(default_factory=list)
    places: list[tuple[str, Place]] = field(default_factory=list)

    def add(self, kind: str, line: bytes, place: Place, *, content: bool) -> None:
        """A line of it."""
        self.places.append((kind, place))
        if kind == "request":
            self.asked, self.url = True, url_of(line)
        if content:
            self.raw.append(line)


class Made(NamedTuple):
    """A row as it is written. ``began``: its call's beginning and id, to sort by; ``text``: characters of content."""

    began: tuple[str, str]
    text: int
    values: Values


@dataclass
class SegmentRows:
    """Attributes:
    numbers: as of any ``Part``.
    damaged: places that are no whole line.
    rows: in order of their lines; those of ``wanting`` are not finished.
    wanting: rows, by position, whose last attempt has lines in other segments, and its id.
    loose: by exchange, the lines here whose call is not here.
    """

    rows: list[Made] = field(default_factory=list)
    numbers: list[tuple[int, int]] = field(default_factory=list)
    damaged: int = 0
    wanting: dict[int, tuple[str, Row]] = field(default_factory=dict)
    loose: dict[str, list[tuple[str, Place]]] = field(default_factory=dict)


def read(
    segments: Segments, name: str, skip: Skip, project: str, experiment: str, content: bool,
    costs: Mapping[str, Mapping[str, Any]],
) -> SegmentRows:  # fmt: skip
    """The rows of a segment, in order of its lines. Raises ArchiveDamaged, OSError.

    ``costs``: by call, what it costs by the last repricing.
    """
    found, scan = SegmentRows(), Fresh(segments, name, skip)
    waiting: dict[str, Exchange] = {}
    for head, line, place, fields in scan.lines():
        if head.kind == "call":
            row = Row(fields, place, project, experiment, repriced=costs.get(str(fields.get("id"))))
            _settle(found, row, waiting, content)
        elif head.exchange:
            exchange = waiting.get(head.exchange)
            if exchange is None:
                exchange = waiting[head.exchange] = Exchange()
            exchange.add(head.kind, line, place, content=content)
    found.numbers, found.damaged = scan.numbers, scan.damaged
    found.loose.update((name, exchange.places) for name, exchange in waiting.items())
    return found


def _settle(found: SegmentRows, row: Row, waiting: dict[str, Exchange], content: bool) -> None:
    """Give a row what was seen of its exchanges."""
    last: Any = row.last.get("exchange")
    attempts = row.line.get("attempts") or ()
    names = [a["exchange"] for a in attempts if isinstance(a, dict) and isinstance(a.get("exchange"), str)]
    seen = {name: waiting.pop(name) for name in names if name in waiting}
    exchange = seen.get(last) if isinstance(last, str) else None
    if isinstance(last, str) and (exchange is None or not exchange.asked):
        found.wanting[len(found.rows)] = last, row
        if exchange is not None:
            found.loose[last] = exchange.places
    elif exchange is not None:
        complete(row, exchange, content=content)
    found.rows.append(made(row, content=content))


def made(row: Row, *, content: bool) -> Made:
    """A row's values."""
    began = str(row.line.get("started")), str(row.line.get("id"))
    text = len(row.request_body or "") + len(row.response_body or "")
    return Made(began, text, values(chosen(content=content), row))


def complete(row: Row, exchange: Exchange, *, content: bool) -> None:
    """What a row takes from the lines of its last attempt."""
    row.url = exchange.url
    if content:
        row.request_body, row.response_body = texts(exchange.raw)


def gathered(segments: Segments, places: list[tuple[str, Place]]) -> Exchange:
    """An exchange whose lines stand in several segments; those that are damaged by now are left out."""
    found = Exchange()
    for kind, place in sorted(places, key=lambda each: each[1].seq):
        try:
            line = segments.read(place.segment, place.offset, place.size)
        except (OSError, ArchiveDamaged):
            continue
        if lines.check(line):
            found.add(kind, line, place, content=True)
    return found


def url_of(line: bytes) -> str | None:
    """The URL of a request line."""
    match = _URL.search(line)
    if match is not None:
        return match[1].decode("utf-8", "replace")
    fields = parse_json(line)
    url = fields.get("url") if isinstance(fields, dict) else None
    return url if isinstance(url, str) else None


def texts(raw: list[bytes]) -> tuple[str | None, str | None]:
    """The bodies of a request and of its response without its content-encoding, where they are text."""
    request, head, decoded = None, None, False
    chunks: list[Chunk] = []
    for line in raw:
        fields = parse_json(line)
        if not isinstance(fields, dict):
            continue
        kind = fields.get("kind")
        if kind == "request":
            request = _body(fields)
        elif kind == "response" and isinstance(fields.get("status"), int):
            pairs = tuple((str(n), str(v)) for n, v in fields.get("headers") or ())
            head, decoded = ResponseHead(fields["status"], "", "", pairs), bool(fields.get("decoded"))
            chunks = []
        if kind in ("response", "chunk") and (body := _body(fields)) is not None:
            chunks.append(Chunk(0.0, body))
    answer = StoredResponse(head, tuple(chunks), decoded, "").content if head is not None else None
    return _text(request), _text(answer)


def _body(fields: dict[str, Any]) -> bytes | None:
    try:
        return lines.unpack(fields["body"])
    except (KeyError, ValueError, AttributeError, ArchiveDamaged):
        return None


def _text(data: bytes | None) -> str | None:
    if data is None:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None
