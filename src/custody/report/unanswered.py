"""Calls that were sent and have no answer on record: what each may have cost is unknown, and stays so.

That a call was asked again since does not take it back: the vendor may have billed both. Only where the vendor was
asked for its answer, and that was taken in (``on_in_doubt=reconcile``), its cost is the one of the call that has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from custody.exchange import parse_json
from custody.report.cost import Line

Fields = Mapping[str, Any]


def taken_in(line: Line) -> list[str]:
    """The calls in doubt, any of which a reconciled call's answer may be; mostly none, or one."""
    notes = line.get("annotations")
    note = notes.get("reconciled") if isinstance(notes, Mapping) else None
    names = note.get("in_doubt") if isinstance(note, Mapping) else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def unpaid_for(doubts: Mapping[str, Fields], reconciled: Iterable[list[str]]) -> list[Fields]:
    """Those of the calls in doubt whose cost nobody knows, in order of sending.

    Args:
        doubts: by the call's id.
        reconciled: ``taken_in`` of the calls. An answer is one call's: the one that was sent last, which is the one
            that the vendor was asked for.
    """
    left = dict(doubts)
    for names in reconciled:
        known = [name for name in names if name in left]
        if known:
            del left[max(known, key=lambda name: (_sent(left[name]), name))]
    return sorted(left.values(), key=_sent)


def as_line(doubt: Fields) -> Line:
    """As a call line, for what it is grouped by: its labels, its operation and its day are known, and no more."""
    return {"started": _sent(doubt), "operation": doubt.get("operation"), "scope": doubt.get("scope")}


def _sent(fields: Fields) -> str:
    return str(fields.get("sent") or fields.get("time") or "")


@dataclass
class Requests:
    """Requests and call lines of a segment, or of several: what is in doubt, whichever segments the lines stand in.

    Attributes:
        open: by call, a request line without a call line in its segment.
        closed: calls some of whose requests stand in other segments than their call lines.
        reconciled: ``taken_in`` of the calls, where there is any.
    """

    open: dict[str, Fields] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    reconciled: list[list[str]] = field(default_factory=list)

    def merge(self, other: Requests) -> None:
        """Add what was found in another segment."""
        self.open.update(other.open)
        self.closed |= other.closed
        self.reconciled += other.reconciled

    @property
    def unpaid_for(self) -> list[Fields]:
        """Of all segments together."""
        return unpaid_for({name: f for name, f in self.open.items() if name not in self.closed}, self.reconciled)


class Reading:
    """Makes ``Requests`` of a segment's lines."""

    def __init__(self) -> None:
        self._found = Requests()
        self._asked: dict[str, dict[str, bytes]] = {}

    def request(self, exchange: str, line: bytes) -> None:
        """A request line; it is looked into only if it stays without a call line."""
        self._asked.setdefault(exchange.rpartition(".")[0], {})[exchange] = line

    def call(self, line: Line) -> None:
        """A call line."""
        name, attempts = str(line.get("id")), line.get("attempts")
        exchanges = {a.get("exchange") for a in attempts if isinstance(a, dict)} if isinstance(attempts, list) else {}
        if not exchanges or exchanges - self._asked.pop(name, {}).keys():
            self._found.closed.add(name)
        if names := taken_in(line):
            self._found.reconciled.append(names)

    def done(self) -> Requests:
        """What the segment says."""
        for name, lines in self._asked.items():
            fields = parse_json(next(reversed(lines.values())))
            if isinstance(fields, dict):
                self._found.open[name] = {key: fields.get(key) for key in ("time", "scope", "operation")}
        return self._found
