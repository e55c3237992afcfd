"""Sums over a session's calls that can be made in parts and put together in any order: what ``custody cost`` shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from custody.engines import Engine
from custody.journal.segments import Segments, writer_of
from custody.report.by_segment import Fresh, Skip, each
from custody.report.cost import Line, Sum, key_of, price_table, sentence_for_methods
from custody.report.replays import replays
from custody.storage import Storage


@dataclass
class Tally:
    """What was added up.

    Attributes:
        by: a dimension or a label.
        groups: by its value.
        models, days, tables: what the sentence for a methods section names.
        labels: all that the calls have.
    """

    by: str
    whole: Sum = field(default_factory=Sum)
    groups: dict[str, Sum] = field(default_factory=dict)
    models: set[str] = field(default_factory=set)
    days: set[str] = field(default_factory=set)
    tables: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)

    def add(self, line: Line, replayed: int = 0) -> None:
        """A call, and how often its answer was given again."""
        self.whole.add(line, replayed)
        self.groups.setdefault(key_of(self.by)(line), Sum()).add(line, replayed)
        self.models.add(key_of("model")(line))
        self.days.add(key_of("day")(line))
        table = price_table(line)
        if table is not None:
            self.tables.add(table)
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
        return sentence_for_methods(self.whole, self.models, self.days, self.tables)


@dataclass
class SegmentTally:
    """Of one segment. ``numbers`` as of any ``Part``; ``damaged``: places that are no whole line."""

    tally: Tally
    numbers: list[tuple[int, int]] = field(default_factory=list)
    damaged: int = 0


def read(segments: Segments, name: str, skip: Skip, by: str, replayed: Mapping[str, int]) -> SegmentTally:
    """Add up a segment's calls. Raises ArchiveDamaged, OSError."""
    found, scan = SegmentTally(Tally(by)), Fresh(segments, name, skip)
    for head, _, _, fields in scan.lines():
        if head.kind == "call":
            found.tally.add(fields, replayed.get(str(fields.get("id")), 0))
    found.numbers, found.damaged = scan.numbers, scan.damaged
    return found


def tallied(storage: Storage, by: str, engine: Engine | None) -> SegmentTally:
    """The sums of a whole session, one task a segment. Raises ArchiveDamaged, OSError, EngineFailed."""
    by_writer: dict[str, Counter[str]] = {}
    for call, times in replays(storage).items():
        by_writer.setdefault(call.rpartition("-")[0], Counter())[call] = times
    whole = SegmentTally(Tally(by))
    for part in each(storage, read, by, engine=engine, own=lambda name: (by_writer.get(writer_of(name), {}),)):
        whole.tally.merge(part.tally)
        whole.damaged += part.damaged
    return whole
