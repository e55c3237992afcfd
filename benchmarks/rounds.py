"""Subjects take turns, round by round, so that what the machine does meanwhile falls on all of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.processes import Subject

_next = 1


@dataclass(frozen=True)
class Spread:
    """The median of the rounds, and their quartiles."""

    median: float
    low: float
    high: float

    def text(self, digits: int = 0, unit: str = "") -> str:
        return f"{self.median:.{digits}f}{unit} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles."""
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(middle, low, high)


Round = dict[str, Any]
"""What ``calls.Times`` says of a round, with the process's CPU seconds at its start and ``count``."""


def take_turns(subjects: Sequence[Subject], count: int, rounds: int, floors: Mapping[str, int], **work: Any) -> dict[
    str, list[Round]
]:  # fmt: skip
    """``rounds`` rounds of ``count`` calls for each subject, after one that is not counted.

    ``floors``: bytes that a subject, by name, writes and syncs itself after each call.
    """
    global _next
    found: dict[str, list[Round]] = {subject.name: [] for subject in subjects}
    for number in range(rounds + 1):
        turn = number % len(subjects)
        for subject in (*subjects[turn:], *subjects[:turn]):
            told = subject.do("calls", count=count, first=_next, floor=floors.get(subject.name, 0), **work)
            if number:
                found[subject.name].append({**told, "count": count})
        _next += count
    return found


def first_number(count: int) -> int:
    """Numbers for so many calls that nobody has made."""
    global _next
    _next += count
    return _next - count


def wall(one: Round) -> float:
    """A call's wall time in a round, seconds: the median; in flight together, their share of the round."""
    return statistics.median(one["wall"]) if one["wall"] else one["round_wall"] / one["count"]


def cpu(one: Round) -> float:
    """A call's CPU time of all threads in a round, seconds: the median, or the share of the round."""
    return statistics.median(one["cpu"]) if one["cpu"] else one["round_cpu"] / one["count"]


def cpu_mean(one: Round) -> float:
    """The round's CPU time by its calls: what garbage collections and background threads took is in it."""
    return float(one["round_cpu"]) / int(one["count"])


def first_chunk(one: Round) -> float:
    return statistics.median(one["first_chunk"])


Value = Callable[[Round], float]


def added(rows: dict[str, list[Round]], name: str, base: str, value: Value, scale: float = 1e6) -> Spread:
    """What ``name`` takes more than ``base``, round by round, in units of 1/``scale`` seconds."""
    return spread([(value(a) - value(b)) * scale for a, b in zip(rows[name], rows[base], strict=True)])


def ratio(rows: dict[str, list[Round]], name: str, base: str, value: Value) -> Spread:
    """``name`` over ``base``, round by round."""
    return spread([value(a) / value(b) for a, b in zip(rows[name], rows[base], strict=True)])


def measured(rows: dict[str, list[Round]], name: str, value: Value, scale: float = 1e6) -> Spread:
    return spread([value(one) * scale for one in rows[name]])
