"""Read a segment to its end, and pack what was read where the segment is clean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from custody.errors import ArchiveDamaged
from custody.exchange import parse_json
from custody.journal import lines, packed
from custody.journal.entries import Summary, digest, key_digest, summary
from custody.journal.packed import Loose, Packed, Row
from custody.journal.scan import Damage, Place, SegmentScan
from custody.journal.segments import Segments

_EXCHANGES = (b"request", b"response", b"chunk", b"end")

Placed = tuple[str, str, Place, Any]
"""Kind, exchange and place of a line, and what it says as a ``Line`` has it."""


Line = tuple[bytes, bytes | None, int, int, int, Any]
"""Kind, exchange, offset, size and number of a line, with the summary of a call or the object of a note. There are
3 * 10^6 of them in a session of 10^6 calls, so they are no objects with names."""


@dataclass
class Reading:
    """What stands in a segment from ``start`` on.

    Attributes:
        read: each line that counts.
        foreign: there is no line of ours in it.
        clean: nothing is damaged, and its lines follow each other without a gap.
    """

    name: str
    start: int
    end: int = 0
    read: list[Line] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)
    foreign: bool = False
    clean: bool = True

    @property
    def calls(self) -> int:
        """How many call lines there are."""
        return sum(1 for line in self.read if line[0] == b"call")

    def placed(self) -> Iterator[Placed]:
        """The lines, as ``loose_line`` has them."""
        for kind, exchange, offset, size, number, said in self.read:
            yield kind.decode(), exchange.decode() if exchange else "", Place(self.name, offset, size, number), said


def read(segments: Segments, name: str, start: int = 0) -> Reading:
    """Raises ArchiveDamaged for a format newer than this reader."""
    scan = SegmentScan(segments, name, start=start)
    found = Reading(name, start)
    count, last = 0, None
    keep = found.read.append
    for match, block, begin, end, offset in scan.raw():
        count += 1
        kind, digits, exchange = match.groups()
        said: Any = None
        if kind == b"call":
            said = summary(block[begin:end])
        elif kind in (b"segment", b"note"):
            said = parse_json(block[begin:end])
            said = said if isinstance(said, dict) else None
        if said is None and kind in (b"call", b"segment", b"note"):
            # Its checksum is right and its content is not.
            scan.damage.append(Damage(name, offset, end - begin, torn=False))
            continue
        if kind == b"segment":
            check_format(name, said)
            continue
        number = int(digits)
        if number != last and last is not None:
            found.clean = False
        last = number + 1
        keep((kind, exchange, offset, end - begin, number, said))
    found.end, found.damage = scan.end, scan.damage
    found.clean = found.clean and not scan.damage and start == 0 and last is not None
    # A segment whose first line alone is damaged keeps the others.
    found.foreign = start == 0 and not count and scan.first is not None
    return found


def pack(found: Reading, load: Callable[[Place], dict[str, Any]]) -> Packed:
    """The index of a clean segment."""
    waiting: dict[bytes, list[Line]] = {}
    rows: list[Row] = []
    loose: list[Line] = []
    on_wire = True
    for line in found.read:
        kind, exchange, said = line[0], line[1], line[5]
        if kind == b"call":
            on_wire = on_wire and said.on_wire
            made = _row(line, waiting)
            if made is not None and packed.fits(made):
                rows.append(made)
                for name in said.exchanges:
                    del waiting[name.encode()]
            else:
                loose.append(line)
        elif kind in _EXCHANGES:
            its = waiting.get(exchange or b"")
            if its is None:
                waiting[exchange or b""] = [line]
            else:
                its.append(line)
        else:
            loose.append(line)
    for its in waiting.values():
        loose += its
    loose.sort(key=lambda line: line[4])
    named = [
        (kind.decode(), number, exchange.decode() if exchange else "", offset, size, said if kind == b"call" else None)
        for kind, exchange, offset, size, number, said in loose
    ]
    numbers = {"first": found.read[0][4], "last": found.read[-1][4], "lines": len(found.read)}
    return packed.pack(found.name, rows, size=found.end, loose=named, on_wire=on_wire, load=load, **numbers)


def _row(call: Line, waiting: dict[bytes, list[Line]]) -> Row | None:
    """A call whose lines have all come; None for another."""
    said: Summary = call[5]
    exchanges = []
    for name in said.exchanges:
        its = waiting.get(name.encode(), ())
        requests = [line[2:4] for line in its if line[0] == b"request"]
        if len(requests) != 1 or len(its) < 2:
            return None
        exchanges.append((name, requests[0], [line[2:4] for line in its if line[0] != b"request"]))
    return Row(
        said.id,
        digest(said.identity),
        key_digest(said.identity.key),
        said.started,
        said.ended,
        said.answers,
        said.failed,
        call[2:4],
        exchanges,
    )


def loose_line(segments: Segments, name: str, loose: Loose) -> Placed | None:
    """A line that an index names; None where it is not there any more."""
    kind, number, exchange, offset, size, known = loose
    place = Place(name, offset, size, number)
    if kind.encode() in _EXCHANGES or known is not None:
        return kind, exchange, place, known
    line = segments.read(name, offset, size)
    if not lines.check(line):
        return None
    said: Summary | dict[str, Any] | None = summary(line) if kind == "call" else parse_json(line)
    return (kind, exchange, place, said) if said is not None else None


def check_format(name: str, opening: dict[str, Any]) -> None:
    """Raises ArchiveDamaged for a format newer than this reader."""
    version = opening.get("format")
    if isinstance(version, int) and version > lines.FORMAT_VERSION:
        raise ArchiveDamaged(
            f"{name} has format {version}, this custody reads up to {lines.FORMAT_VERSION}: update custody"
        )
