"""The record of a price: what a call line carries under ``cost``, and what ``custody.cost.price`` returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from custody.cost.money import plain, share, times, total
from custody.record import PRICE_REASONS, PRICE_STATUSES


class Unpriced(Exception):
    """There is no price; ``reason`` is one of ``PRICE_REASONS``."""

    def __init__(self, reason: str, detail: str = "") -> None:
        assert reason in PRICE_REASONS, reason
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Factor:
    """A multiplier of a rate, and the entry of the overlay that it stands in."""

    name: str
    factor: Decimal
    entry: str


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the bill.

    Attributes:
        unit: what was counted ("input_tokens").
        count: how often.
        rate: US dollars for ``per`` of them.
        factors: what the rate was multiplied by.
    """

    unit: str
    count: Decimal
    rate: Decimal
    per: int
    factors: tuple[Factor, ...] = ()

    @property
    def usd(self) -> Decimal:
        """Raises ``decimal.Inexact`` where the amount has no end."""
        return share(times(self.count, self.rate, *(f.factor for f in self.factors)), self.per)

    def fields(self, usd: Decimal) -> dict[str, Any]:
        """As JSON; ``usd`` is its own."""
        return {
            "unit": self.unit,
            "count": plain(self.count),
            "rate_usd": plain(self.rate),
            "per": self.per,
            "multipliers": [{"name": f.name, "factor": plain(f.factor)} for f in self.factors],
            "usd": plain(usd),
        }


class CostRecord(dict[str, Any]):
    """Plain JSON, whose top-level fields can be read as attributes, too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


DIMENSIONS = ("vendor", "api", "model", "price_model", "tier", "region", "date")
"""By what a price is looked up; None where it plays no part or is not known."""


@dataclass
class Bill:
    """What is being put together while a call is priced.

    Attributes:
        resolved: the dimensions by which the price was looked up.
        reported: the vendor's own figure, which wins.
        beyond: why the sum is a lower bound, as a reason; None where it is the whole.
        entries: of the overlay, that took part.
    """

    resolved: dict[str, Any] = field(default_factory=lambda: dict.fromkeys(DIMENSIONS))
    items: list[Item] = field(default_factory=list)
    reported: Decimal | None = None
    beyond: str | None = None
    estimated: bool = False
    free: str | None = None
    entries: list[str] = field(default_factory=list)
    source: dict[str, Any] = field(default_factory=dict)

    def use(self, entry: str) -> None:
        """An entry of the overlay takes part."""
        if entry not in self.entries:
            self.entries.append(entry)

    def at_least(self, reason: str) -> None:
        """Something is billed besides that cannot be known."""
        self.beyond = self.beyond or reason

    def record(self) -> CostRecord:
        """The bill is complete."""
        if self.reported is not None:
            return self._made(self.reported, "vendor_reported")
        if self.free is not None:
            return self._made(Decimal(0), "free")
        status = "lower_bound" if self.beyond else "estimated" if self.estimated else "priced"
        amounts = [item.usd for item in self.items]
        return self._made(total(amounts), status, [i.fields(usd) for i, usd in zip(self.items, amounts, strict=True)])

    def unpriced(self, reason: str, detail: str = "") -> CostRecord:
        """There is no price."""
        return self._fields(None, "unknown", reason, [], detail)

    def _made(self, usd: Decimal, status: str, items: list[dict[str, Any]] | None = None) -> CostRecord:
        return self._fields(plain(usd), status, self.beyond if status == "lower_bound" else None, items or [], "")

    def _fields(
        self, usd: str | None, status: str, reason: str | None, items: list[dict[str, Any]], detail: str
    ) -> CostRecord:
        assert status in PRICE_STATUSES
        return CostRecord(
            cost_usd=usd,
            status=status,
            reason=reason,
            detail=detail or None,
            resolved=self.resolved,
            items=items,
            source={**self.source, "overlay": self.entries},
        )
