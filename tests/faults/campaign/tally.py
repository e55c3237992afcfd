"""What was tried and what was lost, over all tests and processes of a run.

A test fills a ``Tally`` and hands it to pytest as a property of its report, so that the workers of
pytest-xdist need nothing else; ``rows`` adds them up by layer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

PROPERTY = "faults"
KEPT = 12  # sentences of each kind
LAYERS = (
    "1 offline crash states",
    "1 damage anywhere",
    "2 kill at a system call",
    "2 error at a system call",
    "3 power cut",
    "4 full disk",
    "4 lost storage",
    "6 eight processes",
    "6 clear reports",
)


@dataclass
class Tally:
    """Counts of one test. ``failures``: sentences on what was lost, wrong or paid twice."""

    layer: str
    states: int = 0
    acknowledged: int = 0
    lost_: int = 0
    wrong_: int = 0
    repaid_: int = 0
    planted: list[str] = field(default_factory=list)
    caught: list[str] = field(default_factory=list)
    skipped: str = ""
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def lost(self, why: str, count: int = 1) -> None:
        """An acknowledged call that is gone."""
        self.lost_ += count
        self._fail(why)

    def wrong(self, why: str) -> None:
        """An answer that is not the one that was given, or damage that nobody names."""
        self.wrong_ += 1
        self._fail(why)

    def repaid(self, why: str = "") -> None:
        """A call that was on record and is sent again."""
        self.repaid_ += 1
        if why:
            self._fail(why)

    def note(self, text: str) -> None:
        if len(self.notes) < KEPT and text not in self.notes:
            self.notes.append(text)

    def _fail(self, why: str) -> None:
        if len(self.failures) < KEPT:
            self.failures.append(why)

    @property
    def sound(self) -> bool:
        return not (self.lost_ or self.wrong_ or self.repaid_)

    def plant(self, name: str, seen: Tally) -> bool:
        """A planted bug was tried against this layer, and cost what ``seen`` says. Whether it was caught."""
        self.planted.append(name)
        if not seen.sound:
            self.caught.append(name)
        return not seen.sound

    def add(self, other: Tally) -> None:
        """Take another one's counts in."""
        self.states += other.states
        self.acknowledged += other.acknowledged
        self.lost_ += other.lost_
        self.wrong_ += other.wrong_
        self.repaid_ += other.repaid_
        self.failures = [*self.failures, *other.failures][:KEPT]
        for text in other.notes:
            self.note(text)

    def dump(self) -> str:
        return json.dumps(asdict(self))


Tallies = Callable[[str], Tally]
"""The fixture ``tally``: makes one for a layer."""

COLUMNS = ("layer", "states tried", "acknowledged", "lost", "wrong answers", "paid twice", "planted bugs caught")


def rows(dumped: Iterable[str]) -> list[tuple[str, ...]]:
    """The table: one row a layer, in order, and the sum."""
    layers: dict[str, list[dict[str, Any]]] = {}
    for one in map(json.loads, dumped):
        layers.setdefault(one["layer"], []).append(one)
    order = sorted(layers, key=lambda layer: (LAYERS.index(layer) if layer in LAYERS else len(LAYERS), layer))
    table = [_row(layer, layers[layer]) for layer in order]
    everything = [{**one, "skipped": ""} for layer in order for one in layers[layer]]
    return [*table, _row("all", everything)]


def _row(name: str, ones: list[dict[str, Any]]) -> tuple[str, ...]:
    counts = [sum(one[count] for one in ones) for count in ("states", "acknowledged", "lost_", "wrong_", "repaid_")]
    planted = {(one["layer"], bug) for one in ones for bug in one["planted"]}
    caught = {(one["layer"], bug) for one in ones for bug in one["caught"]}
    bugs = f"{len(caught & planted)} of {len(planted)}" if planted else "-"
    skipped = sorted({one["skipped"] for one in ones if one["skipped"]})
    if skipped and not counts[0] and not planted:
        return (name, f"skipped: {'; '.join(skipped)}", "", "", "", "", "")
    return (name, *map(str, counts), bugs)


def plain(dumped: list[str]) -> str:
    """The table for a terminal, and what was lost."""
    table = [COLUMNS, *rows(dumped)]
    widths = [max(len(row[i]) for row in table if not row[1].startswith("skipped")) for i in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    for one in map(json.loads, dumped):
        if one["failures"]:
            lines += [f"{one['layer']}: {text}" for text in one["failures"]]
    missed = sorted(
        {f"{o['layer']}: {bug}" for o in map(json.loads, dumped) for bug in set(o["planted"]) - set(o["caught"])}
    )
    return "\n".join([*lines, *(f"planted and not caught: {text}" for text in missed)])


def markdown(dumped: list[str]) -> str:
    """The table for docs/durability.md."""
    lines = [COLUMNS, tuple("---" for _ in COLUMNS), *rows(dumped)]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)
