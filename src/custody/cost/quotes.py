"""Bills that differ in nothing but their counts are made after one another, from the one that was worked out.

Only where no rule looks at the counts or the answer's content: tokens at flat rates, of a model whose rates go by
the day, without tools, of vendors whose terms are stated in a word.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

from custody.cost import library, units
from custody.cost.call import Call
from custody.cost.record import Bill, Item
from custody.cost.usage.counts import Counted

_BY_THE_USAGE = frozenset(("azure", "anthropic", "google", "vertexai", "bedrock", "openrouter", "perplexity"))
"""Their rules read the usage object, or more of the answer than its tier."""

_NO_TOOL = frozenset(("message", "reasoning", "function_call"))
_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class Quote:
    """A bill, but for its counts."""

    bill: Bill

    def apply(self, made: Bill, counted: Counted) -> None:
        """Fill in a bill as the one was that was worked out."""
        kept = self.bill
        made.resolved, made.source, made.entries = dict(kept.resolved), dict(kept.source), list(kept.entries)
        made.beyond, made.estimated = kept.beyond, kept.estimated
        made.items = [
            Item(item.unit, count, item.rate, item.per, item.factors)
            for item, count in zip(kept.items, counted.classes.values(), strict=True)
        ]


_quotes: dict[Hashable, Quote] = {}


def key(call: Call, counts: list[Counted]) -> Hashable | None:
    """By what such bills are alike; None for one that has to be worked out."""
    tier, output = call.response.get("service_tier"), call.response.get("output")
    if call.vendor in _BY_THE_USAGE or len(counts) != 1 or counts[0].model is not None:
        return None
    if not (_is_word(tier) and _is_word(call.tier)) or not all(map(units.is_token, counts[0].classes)):
        return None
    if output is not None and not (isinstance(output, list) and all(map(_is_no_tool, output))):
        return None
    return (
        call.vendor, call.operation, call.model, call.when.day, call.tier, tier, call.region, call.batch,
        tuple(counts[0].classes),
    )  # fmt: skip


def _is_word(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_no_tool(item: Any) -> bool:
    kind = item.get("type") if isinstance(item, dict) else None
    return isinstance(kind, str) and kind in _NO_TOOL


def find(asked: Hashable | None) -> Quote | None:
    return _quotes.get(asked) if asked is not None else None


def keep(asked: Hashable | None, made: Bill) -> None:
    """A bill that was worked out, whose rates hold for any counts of these classes on that day."""
    if asked is None:
        return
    if len(_quotes) >= _REMEMBERED:
        _quotes.clear()
    _quotes[asked] = Quote(
        replace(made, resolved=dict(made.resolved), source=dict(made.source), entries=list(made.entries))
    )


def goes_by_the_day(model: Any) -> bool:
    """Whether a model's standard rates are the same all day."""
    prices = model.prices if isinstance(model.prices, list) else []
    return all(p.constraint is None or getattr(p.constraint, "start_date", None) is not None for p in prices)


def is_flat(rates: library.Rates | None) -> bool:
    """Whether no rate depends on the number of input tokens."""
    return not any(map(library.is_stepped, (rates or {}).values()))
