"""Counts in disjoint classes, and the reading of numbers that vendors write.

A class is a kind of unit that has its own rate: ``input`` is text that was neither read from nor written to a
cache, ``reasoning`` is not in ``output``, and so on. What a class is billed at is decided in ``custody.cost.units``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from custody.cost.money import ZERO
from custody.cost.record import Unpriced

MODALITIES = ("audio", "image", "video")


@dataclass
class Counted:
    """What one answer used.

    Attributes:
        classes: by class; none is negative, and none counts what another one counts.
        unknown: fields with something in them that nobody here can price.
        model: the model of these counts, where it is not that of the answer.
    """

    classes: dict[str, Decimal] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    model: str | None = None

    def add(self, name: str, count: int | Decimal) -> None:
        """Raises ``Unpriced`` where a part exceeds its whole."""
        if count < 0:
            raise Unpriced("usage_inconsistent", f"{name} would be {count}")
        if count:
            more = Decimal(count)
            self.classes[name] = self.classes[name] + more if name in self.classes else more

    @property
    def input_tokens(self) -> Decimal:
        """All input tokens, cached ones included: what long-context thresholds look at."""
        return self._sum(INPUTS)

    def must_be(self, *totals: int | None) -> None:
        """The tokens of all classes together are one of the vendor's totals; None is no statement."""
        known = [total for total in totals if total is not None]
        if known and (mine := self._sum(_TOKENS)) not in known:
            raise Unpriced("usage_inconsistent", f"the classes add up to {mine}, the vendor's total is {known[0]}")

    def _sum(self, beginnings: tuple[str, ...]) -> Decimal:
        tokens = ZERO
        for name, n in self.classes.items():
            if name.startswith(beginnings):
                tokens += n
        return tokens


INPUTS = ("input", "cache_", "tool_input")
OUTPUTS = ("output", "reasoning")
_TOKENS = INPUTS + OUTPUTS


def count(raw: Mapping[str, Any], *names: str) -> int | None:
    """The first of these fields that is there. Raises ``Unpriced`` where it is no count."""
    for name in names:
        value = raw.get(name)
        if type(value) is int and value >= 0:
            return value
        if value is None:
            continue
        whole = int(value) if isinstance(value, float) and value.is_integer() else value  # Cohere, Titan: 28.0
        if isinstance(whole, bool) or not isinstance(whole, int) or whole < 0:
            raise Unpriced("usage_inconsistent", f"{name} is no count")
        return whole
    return None


def part(raw: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The first of these objects that is there; empty where none is."""
    for inner in map(raw.get, names):
        if isinstance(inner, dict):
            return inner
    return {}


def unknown_fields(raw: Mapping[str, Any], known: frozenset[str], where: str = "") -> list[str]:
    """Fields that are not known and hold a number other than 0, at any depth."""
    if known.issuperset(raw):
        return []
    return [f"{where}{name}" for name, value in raw.items() if name not in known and _holds_number(value)]


def _holds_number(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_number, value.values()))
    if isinstance(value, list):
        return any(map(_holds_number, value))
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool) and value != 0
