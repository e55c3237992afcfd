"""Calls of one segment in a few flat arrays: some 100 bytes a call, in memory and as the segment's sidecar.

A sidecar, ``llm_archive/<writer>-<nnnnnn>.idx``, spares a reader the scan of its segment. It can be made again at any
time and is never believed over the segment: a reader takes it only where its checksum holds and the segment has the
size that it was made of. It is one JSON line (format version, segment, size, counts, length and CRC-32 of each part,
its own checksum as ``lines`` has it), then the parts one after another, integers little-endian:

``records``  48 bytes a call, sorted by digest: digest of the identity (16), of the request key (8), started and ended
             (8 each, microseconds), offset of its entry (4), flags (1), zeros (3)
``entries``  by call: its id, the place of its line, those of its exchanges' lines
``loose``    JSON: the lines whose call is not in this segment, and notes, as ``[kind, seq, exchange, offset, size,
             summary]``, with the ``entries.Summary`` of a call line, else null
"""

from __future__ import annotations

import json
import re
import struct
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress
from struct import Struct
from typing import Any, NamedTuple
from zlib import crc32

from custody.identity import Identity
from custody.journal import lines as journal_lines
from custody.journal.entries import StoredCall, StoredExchange, Summary
from custody.journal.scan import Place
from custody.journal.segments import writer_of

VERSION = 2  # 1 had no checksum of its first line

_RECORD = Struct("<16s8sqqIB3x")
_ENTRY = Struct("<HIIH")  # bytes of the id, offset and size of the call line, exchanges
_EXCHANGE = Struct("<HIII")  # bytes of the name after the call's id, the request line, response lines
_SPAN = Struct("<II")
_ANSWERS, _FAILED = 1, 2
_MOST = 2**32 - 1
_DIGEST = Struct(f"<16s{_RECORD.size - 16}x")
_FLAGS = _RECORD.size - 4
_BY_ANSWER = bytes(flags & _ANSWERS for flags in range(256))

Loose = tuple[str, int, str, int, int, Summary | None]
"""Kind, number, exchange, offset and size of a line, and the summary of a call line, where it is known."""


@dataclass
class Packed:
    """Immutable. ``loose`` are the lines of the segment that are no part of these calls."""

    segment: str
    size: int
    lines: int
    first: int
    last: int
    records: bytes
    entries: bytes
    loose: Sequence[Loose]
    on_wire: bool
    load: Callable[[Place], dict[str, Any]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.records) // _RECORD.size

    def find(self, digest: bytes) -> list[StoredCall]:
        """The calls of an identity, in no order."""
        found = []
        at = bisect_left(_Digests(self.records), digest) * _RECORD.size
        while self.records[at : at + 16] == digest:
            found.append(self._call(at))
            at += _RECORD.size
        return found

    def with_key(self, key: bytes) -> Iterator[StoredCall]:
        """The calls of a request key's digest."""
        for at, record in enumerate(_RECORD.iter_unpack(self.records)):
            if record[1] == key:
                yield self._call(at * _RECORD.size)

    def answered(self) -> Iterator[bytes]:
        """Digests of the identities that have an answer; of several answers as many times."""
        digests: Iterator[bytes] = chain.from_iterable(_DIGEST.iter_unpack(self.records))
        return digests if not self.unanswering() else compress(digests, self._flags().translate(_BY_ANSWER))

    def marks(self) -> Iterable[int]:
        """The first 8 bytes of each of those digests as a number: much cheaper to compare, and seldom alike."""
        numbers = memoryview(self.records).cast("Q")[:: _RECORD.size // 8].tolist()
        return numbers if not self.unanswering() else compress(numbers, self._flags().translate(_BY_ANSWER))

    def unanswering(self) -> int:
        """How many calls are no answer."""
        return self._flags().translate(_BY_ANSWER).count(0)

    def _flags(self) -> bytes:
        """Of each call."""
        return self.records[_FLAGS :: _RECORD.size]

    def __iter__(self) -> Iterator[StoredCall]:
        """All calls, in order of their lines."""
        offsets = sorted((record[4], at) for at, record in enumerate(_RECORD.iter_unpack(self.records)))
        return (self._call(at * _RECORD.size) for _, at in offsets)

    def some(self, count: int) -> Iterator[StoredCall]:
        """So many, in the order of their digests, which is none."""
        return (self._call(at) for at in range(0, min(count, len(self)) * _RECORD.size, _RECORD.size))

    def around(self, offset: int, count: int) -> Iterator[StoredCall]:
        """So many whose lines stand nearest to a place."""
        # Entries are in the order of lines, so that the number of an entry tells its neighbours.
        order = sorted((record[4], at) for at, record in enumerate(_RECORD.iter_unpack(self.records)))
        here = bisect_left(order, offset, key=lambda pair: _ENTRY.unpack_from(self.entries, pair[0])[1])
        begin = max(0, min(here - count // 2, len(order) - count))
        return (self._call(at * _RECORD.size) for _, at in order[begin : begin + count])

    def names(self) -> list[bytes]:
        """The ids in UTF-8, in any order, all at once: an id is its writer's name and a number. Where one is not, each
        is taken from its place. (One may be too long, where what follows it happens to look like a digit.)"""
        found = re.findall(re.escape(writer_of(self.segment).encode()) + rb"-\d+", self.entries)
        return found if len(found) == len(self) else [name.encode() for name in self.ids()]

    def ids(self) -> Iterator[str]:
        for record in _RECORD.iter_unpack(self.records):
            at = record[4]
            length = _ENTRY.unpack_from(self.entries, at)[0]
            yield self.entries[at + _ENTRY.size : at + _ENTRY.size + length].decode()

    def _call(self, at: int) -> StoredCall:
        digest, key, started, ended, entry, flags = _RECORD.unpack_from(self.records, at)
        length, offset, size, count = _ENTRY.unpack_from(self.entries, entry)
        entry += _ENTRY.size
        name = self.entries[entry : entry + length].decode()
        entry += length
        exchanges = {}
        for _ in range(count):
            rest, begin, bytes_, responses = _EXCHANGE.unpack_from(self.entries, entry)
            entry += _EXCHANGE.size
            exchange = name + self.entries[entry : entry + rest].decode()
            entry += rest
            places = struct.unpack_from(f"<{responses * 2}I", self.entries, entry)
            entry += responses * 8
            exchanges[exchange] = StoredExchange(
                Place(self.segment, begin, bytes_),
                [Place(self.segment, places[n], places[n + 1]) for n in range(0, len(places), 2)],
            )
        place = Place(self.segment, offset, size)
        return StoredCall(
            name,
            place,
            exchanges,
            digest,
            key,
            started,
            ended,
            bool(flags & _ANSWERS),
            bool(flags & _FAILED),
            self.load,
        )

    def dump(self) -> bytes:
        """The sidecar's bytes."""
        loose = json.dumps(list(self.loose), separators=(",", ":")).encode()
        parts = {"records": self.records, "entries": self.entries, "loose": loose}
        head = {
            "custody_index": VERSION,
            "segment": self.segment,
            "size": self.size,
            "lines": self.lines,
            "first": self.first,
            "last": self.last,
            "on_wire": self.on_wire,
            "parts": {name: [len(part), crc32(part)] for name, part in parts.items()},
        }
        return journal_lines.seal(json.dumps(head).encode()[:-1]) + b"".join(parts.values())


def load(data: bytes, segment: str, read: Callable[[Place], dict[str, Any]]) -> Packed | None:
    """A sidecar's index; None where it is of another version, of another segment, or damaged."""
    first, _, rest = data.partition(b"\n")
    if not journal_lines.check(first):
        return None
    try:
        head = json.loads(first)
        if head["custody_index"] != VERSION or head["segment"] != segment:
            return None
        parts, at = {}, 0
        for name, (size, checksum) in head["parts"].items():
            parts[name] = rest[at : at + size]
            at += size
            if len(parts[name]) != size or crc32(parts[name]) != checksum:
                return None
        loose = [_loose(*line) for line in json.loads(parts["loose"])]
        size, count, number, last = (int(head[name]) for name in ("size", "lines", "first", "last"))
        on_wire = bool(head["on_wire"])
        return Packed(segment, size, count, number, last, parts["records"], parts["entries"], loose, on_wire, read)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def identities(parts: Sequence[Packed], others: set[bytes]) -> int:
    """How many identities have an answer in these parts, or are among the digests of ``others``."""
    count = len(others) + sum(len(part) - part.unanswering() for part in parts)
    marks = {int.from_bytes(known[:8], sys.byteorder) for known in others}
    for part in parts:
        marks.update(part.marks())
    if len(marks) == count:
        return count  # no two are alike
    found = set(others)
    for part in parts:
        found.update(part.answered())
    return len(found)


def _loose(kind: str, number: int, exchange: str, offset: int, size: int, said: Any = None) -> Loose:
    """A line of ``loose``, of the right types whoever wrote it. Raises ValueError, TypeError."""
    summary = None
    if said is not None:
        name, (scope, key, replicate), started, ended, answers, failed, on_wire, exchanges = said
        summary = Summary(
            str(name), Identity(str(scope), str(key), int(replicate)), int(started), int(ended),
            bool(answers), bool(failed), bool(on_wire), tuple(map(str, exchanges)),
        )  # fmt: skip
    return str(kind), int(number), str(exchange), int(offset), int(size), summary


Span = tuple[int, int]
"""Offset and size of a line."""


class Row(NamedTuple):
    """A call to be packed: all its lines stand in one segment, and its exchanges are named after it.

    Attributes:
        exchanges: name, request line and response lines of each.
    """

    id: str
    digest: bytes
    key: bytes
    started: int
    ended: int
    answers: bool
    failed: bool
    place: Span
    exchanges: Sequence[tuple[str, Span, Sequence[Span]]]


def row(call: StoredCall) -> Row | None:
    """A call as it is packed; None where it cannot be, or where a line of it may still come."""
    segment, exchanges = call.place.segment, []
    for name, stored in call.exchanges.items():
        places = (stored.request, *stored.response)
        if stored.request is None or not stored.response or any(p is None or p.segment != segment for p in places):
            return None
        exchanges.append((name, stored.request[1:3], [place[1:3] for place in stored.response]))
    made = Row(
        call.id, call.digest, call.key, call.started, call.ended, call.answers, call.failed, call.place[1:3], exchanges
    )
    return made if fits(made) else None


def fits(made: Row) -> bool:
    """Whether the numbers fit into their fields, and the names follow from the call's."""
    prefix = f"{made.id}."
    return (
        sum(made.place) <= _MOST
        and len(made.id) < 2**15
        and len(made.exchanges) < 2**16
        and all(name.startswith(prefix) and len(name) < 2**15 for name, _, _ in made.exchanges)
    )


def pack(
    segment: str,
    calls: Iterable[Row],
    *,
    size: int,
    lines: int,
    first: int,
    last: int,
    loose: Sequence[Loose] = (),
    on_wire: bool = True,
    load: Callable[[Place], dict[str, Any]],
) -> Packed:
    """Pack calls whose lines stand in ``segment``."""
    entries, records = bytearray(), []
    for call in calls:
        flags = (_ANSWERS if call.answers else 0) | (_FAILED if call.failed else 0)
        records.append(_RECORD.pack(call.digest, call.key, call.started, call.ended, len(entries), flags))
        name = call.id.encode()
        entries += _ENTRY.pack(len(name), *call.place, len(call.exchanges)) + name
        for exchange, request, responses in call.exchanges:
            rest = exchange[len(call.id) :].encode()
            entries += _EXCHANGE.pack(len(rest), *request, len(responses)) + rest
            for response in responses:
                entries += _SPAN.pack(*response)
    records.sort()
    return Packed(segment, size, lines, first, last, b"".join(records), bytes(entries), loose, on_wire, load)


class _Digests(Sequence[bytes]):
    """The sorted digests within records, for ``bisect``."""

    def __init__(self, records: bytes) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records) // _RECORD.size

    def __getitem__(self, index: Any) -> Any:
        at = index * _RECORD.size
        return self._records[at : at + 16]
