"""Sums over a session's calls that can be made in parts and put together in any order: what ``custody cost`` shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from custody.engines import Engine
from custody.journal.segments import Segments, writer_of
from custody.report import repriced
from custody.report.by_segment import Fresh, Skip, each
from custody.report.cost import Line, Sum, key_of, origin_of, price_table, sentence_for_methods
from custody.report.replays import replays
from custody.report.stored import StoredSession
from custody.report.unanswered import Fields, Reading, Requests, as_line, taken_in, unpaid_for
from custody.sessions import recovery
from custody.storage import Storage

Costs = Mapping[str, Any]


@dataclass
class Tally:
    """What was added up.

    Attributes:
        by: a dimension or a label.
        groups: by its value.
        models, days, tables: what the sentence for a methods section names: those of the calls that were made.
        labels: all that the calls have.
        anew: the day of the repricing whose figures these are; None of the recorded ones.
    """

    by: str
    whole: Sum = field(default_factory=Sum)
    groups: dict[str, Sum] = field(default_factory=dict)
    models: set[str] = field(default_factory=set)
    days: set[str] = field(default_factory=set)
    tables: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)
    anew: str | None = None

    def add(self, line: Line, replayed: int = 0) -> None:
        """A call, and how often its answer was given again."""
        self.whole.add(line, replayed)
        self.groups.setdefault(key_of(self.by)(line), Sum()).add(line, replayed)
        self._labels(line)
        if origin_of(line) is not None:
            return
        self.models.add(key_of("model")(line))
        self.days.add(key_of("day")(line))
        table = price_table(line)
        if table is not None:
            self.tables.add(table)

    def doubt(self, doubt: Fields) -> None:
        """A call that was sent, whose cost is unknown."""
        line = as_line(doubt)
        self.whole.in_doubt += 1
        name = "(unknown)" if self.by == "status" else key_of(self.by)(line)
        self.groups.setdefault(name, Sum()).in_doubt += 1
        self._labels(line)

    def _labels(self, line: Line) -> None:
        scope: Any = line.get("scope")
        self.labels.update(scope if isinstance(scope, Mapping) else ())

    def merge(self, other: Tally) -> None:
        """Add what was added to another one: associative, and commutative."""
        self.whole.merge(other.whole)
        for name, part in other.groups.items():
            self.groups.setdefault(name, Sum()).merge(part)
        self.models |= other.models
        self.days |= other.days
        self.tables |= other.tables
        self.labels |= other.labels

    @property
    def ordered(self) -> dict[str, Sum]:
        """The groups in order of cost."""
        return dict(sorted(self.groups.items(), key=lambda item: (-item[1].usd, item[0])))

    @property
    def methods(self) -> str:
        """A sentence for a paper's methods section."""
        return sentence_for_methods(self.whole, self.models, self.days, self.tables, self.anew)


@dataclass
class SegmentTally:
    """Of one segment, or of all.

    Attributes:
        tally: by the figures on the call lines.
        later: by those of the last repricing; None where there was none.
        repricing: that one; only of all segments together.
        requests: what is in doubt.
        numbers: as of any ``Part``.
        damaged: places that are no whole line.
    """

    tally: Tally
    later: Tally | None = None
    repricing: repriced.Repricing | None = None
    requests: Requests = field(default_factory=Requests)
    numbers: list[tuple[int, int]] = field(default_factory=list)
    damaged: int = 0

    def add(self, line: Line, replayed: int, cost: Costs | None) -> None:
        """A call, how often its answer was given again, and its later figure, where there is one."""
        self.tally.add(line, replayed)
        if self.later is not None:
            self.later.add(repriced.replaced(line, cost), replayed)

    def merge(self, other: SegmentTally) -> None:
        """Add what was found in another segment."""
        self.tally.merge(other.tally)
        if self.later is not None and other.later is not None:
            self.later.merge(other.later)
        self.requests.merge(other.requests)
        self.damaged += other.damaged

    def doubts(self, found: Iterable[Fields]) -> None:
        """The calls whose cost is unknown, when all segments are there."""
        for doubt in found:
            self.tally.doubt(doubt)
            if self.later is not None:
                self.later.doubt(doubt)


def begun(by: str, repricing: repriced.Repricing | None) -> SegmentTally:
    """Nothing added up yet."""
    return SegmentTally(Tally(by), None if repricing is None else Tally(by, anew=repricing.day), repricing)


def read(
    segments: Segments, name: str, skip: Skip, by: str, replayed: Mapping[str, int], costs: Mapping[str, Costs] | None
) -> SegmentTally:
    """Add up a segment's calls. Raises ArchiveDamaged, OSError."""
    found, scan, asked = (
        SegmentTally(Tally(by), None if costs is None else Tally(by)),
        Fresh(segments, name, skip),
        Reading(),
    )
    for head, line, _, fields in scan.lines():
        if head.kind == "call":
            call = str(fields.get("id"))
            found.add(fields, replayed.get(call, 0), (costs or {}).get(call))
            asked.call(fields)
        elif head.kind == "request":
            asked.request(head.exchange, line)
    found.requests, found.numbers, found.damaged = asked.done(), scan.numbers, scan.damaged
    return found


def tallied(storage: Storage, by: str, engine: Engine | None) -> SegmentTally:
    """The sums of a whole session, one task a segment. Raises ArchiveDamaged, OSError, EngineFailed."""
    by_writer: dict[str, Counter[str]] = {}
    for call, times in replays(storage).items():
        by_writer.setdefault(call.rpartition("-")[0], Counter())[call] = times
    repricing = repriced.read(storage)
    costs = None if repricing is None else repricing.by_writer()

    def own(name: str) -> tuple[Any, ...]:
        writer = writer_of(name)
        return by_writer.get(writer, {}), None if costs is None else costs.get(writer, {})

    whole = begun(by, repricing)
    for part in each(storage, read, by, engine=engine, own=own):
        whole.merge(part)
    whole.doubts(whole.requests.unpaid_for)
    return whole


def indexed(session: StoredSession, by: str) -> SegmentTally:
    """The same from the session's index, which names the call lines. Raises ArchiveDamaged."""
    repricing, given = repriced.read(session.storage), session.replays()
    whole, reconciled = begun(by, repricing), []
    for call in session.calls():
        cost = None if repricing is None else repricing.costs.get(call.id)
        whole.add(call.fields, given[call.id], cost)
        reconciled += [names] if (names := taken_in(call.fields)) else []
    whole.doubts(unpaid_for({doubt["call_id"]: doubt for doubt in recovery.doubts(session.archive)}, reconciled))
    return whole
