"""Read a segment to its end, and pack what was read where the segment is clean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from custody.errors import ArchiveDamaged
from custody.exchange import parse_json
from custody.journal import lines, packed
from custody.journal.entries import Summary, digest, key_digest, summary
from custody.journal.packed import Loose, Packed, Row
from custody.journal.scan import Damage, Place, SegmentScan
from custody.journal.segments import Segments

_EXCHANGES = ("request", "response", "chunk", "end")


@dataclass
class Reading:
    """What stands in a segment from ``start`` on.

    Attributes:
        read: kind, exchange and place of each line that counts, with the summary of a call or the object of a note.
        foreign: there is no line of ours in it.
        clean: nothing is damaged, and its lines follow each other without a gap.
    """

    name: str
    start: int
    end: int = 0
    read: list[tuple[str, str, Place, Any]] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)
    foreign: bool = False
    clean: bool = True


def read(segments: Segments, name: str, start: int = 0) -> Reading:
    """Raises ArchiveDamaged for a format newer than this reader."""
    scan = SegmentScan(segments, name, start=start)
    found = Reading(name, start)
    count, last = 0, None
    for head, line, place in scan.lines():
        count += 1
        said: Any = None
        if head.kind == "call":
            said = summary(line)
        elif head.kind in ("segment", "note"):
            said = parse_json(line)
            said = said if isinstance(said, dict) else None
        if said is None and head.kind in ("call", "segment", "note"):
            # Its checksum is right and its content is not.
            scan.damage.append(Damage(name, place.offset, place.size, torn=False))
            continue
        if head.kind == "segment":
            check_format(name, said)
            continue
        found.clean = found.clean and (last is None or head.seq == last + 1)
        last = head.seq
        found.read.append((head.kind, head.exchange, place, said))
    found.end, found.damage = scan.end, scan.damage
    found.clean = found.clean and not scan.damage and start == 0 and last is not None
    # A segment whose first line alone is damaged keeps the others.
    found.foreign = start == 0 and not count and scan.first is not None
    return found


def pack(found: Reading, load: Callable[[Place], dict[str, Any]]) -> Packed:
    """The index of a clean segment."""
    waiting: dict[str, tuple[list[Place], list[tuple[str, Place]]]] = {}  # request; the other lines
    rows: list[Row] = []
    loose: list[Loose] = []
    on_wire = True
    for kind, exchange, place, said in found.read:
        if kind == "call":
            on_wire = on_wire and said.on_wire
            made = _row(said, place, waiting)
            if made is not None and packed.fits(made):
                rows.append(made)
                for name in said.exchanges:
                    del waiting[name]
                continue
        elif kind in _EXCHANGES:
            request, others = waiting.setdefault(exchange, ([], []))
            if kind == "request":
                request.append(place)
            else:
                others.append((kind, place))
            continue
        loose.append((kind, place.seq, exchange, place.offset, place.size, said if kind == "call" else None))
    for name, (request, others) in waiting.items():
        loose += [("request", place.seq, name, place.offset, place.size, None) for place in request]
        loose += [(kind, place.seq, name, place.offset, place.size, None) for kind, place in others]
    loose.sort(key=lambda line: line[1])
    numbers = {"first": found.read[0][2].seq, "last": found.read[-1][2].seq, "lines": len(found.read)}
    return packed.pack(found.name, rows, size=found.end, loose=loose, on_wire=on_wire, load=load, **numbers)


def _row(said: Summary, place: Place, waiting: Mapping[str, tuple[list[Place], list[tuple[str, Place]]]]) -> Row | None:
    """A call whose lines have all come; None for another."""
    exchanges = []
    for name in said.exchanges:
        request, others = waiting.get(name, ([], []))
        if len(request) != 1 or not others:
            return None
        exchanges.append((name, request[0], [place for _, place in others]))
    key = key_digest(said.identity.key)
    return Row(
        said.id, digest(said.identity), key, said.started, said.ended, said.answers, said.failed, place, exchanges
    )


def loose_line(segments: Segments, name: str, loose: Loose) -> tuple[str, str, Place, Any] | None:
    """A line that an index names, as ``Reading.read`` has it; None where it is not there any more."""
    kind, number, exchange, offset, size, known = loose
    place = Place(name, offset, size, number)
    if kind in _EXCHANGES or known is not None:
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
