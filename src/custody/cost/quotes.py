"""Bills that differ in nothing but their counts are made after one another, from the one that was worked out.

Only where no rule looks at the answer's content, and at the usage object for a word at most: tokens, of a model
whose rates go by the day, without the vendor's tools, and no more of them than the same rates hold for.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from decimal import Decimal, Inexact
from typing import Any, NamedTuple

from custody.cost import library, units
from custody.cost.call import Call
from custody.cost.money import EXACT, ZERO, plain, times
from custody.cost.rates import UserRates
from custody.cost.record import Bill, CostRecord
from custody.cost.usage.counts import Counted

_WORKED_OUT = frozenset(("azure", "bedrock", "openrouter", "perplexity"))
"""Vendors whose rules look at more than is asked here."""

_WORDS = frozenset((str, type(None)))
_RUNS = frozenset(("iterations", "server_tool_use"))
_GROUNDED = frozenset(("groundingMetadata", "grounding_metadata"))
_CONTENT = frozenset(("output", "candidates", "stop_reason"))
_NO_TOOL = frozenset(("message", "reasoning", "function_call"))
_REMEMBERED = 1024


class Reach(NamedTuple):
    """For which counts a bill's rates hold: for up to so many input tokens (None: any), or for its own only."""

    most: int | None = None
    own: bool = False


class _Line(NamedTuple):
    """An item of the bill, but for its count: the fields of its record, and the rate, times all factors."""

    fields: dict[str, Any]
    rate: Decimal
    per: Decimal


@dataclass(frozen=True, slots=True)
class Quote:
    """A bill, but for its counts.

    Attributes:
        most: input tokens for which it holds; None is any number.
    """

    bill: CostRecord
    lines: tuple[_Line, ...]
    most: int | None

    def record(self, counted: Counted) -> CostRecord | None:
        """The bill as it would be worked out; None where it has to be."""
        if self.most is not None and counted.input_tokens > self.most:
            return None
        usd, items = ZERO, []
        try:
            for (fields, rate, per), count in zip(self.lines, counted.classes.values(), strict=True):
                amount = EXACT.divide(EXACT.multiply(count, rate), per)
                usd = EXACT.add(usd, amount)
                multipliers = [*map(dict, fields["multipliers"])]
                items.append({**fields, "count": f"{count:f}", "multipliers": multipliers, "usd": plain(amount)})
        except Inexact:
            return None
        made = _copied(self.bill)
        made["cost_usd"], made["items"] = plain(usd), items
        return made


def _copied(bill: CostRecord) -> CostRecord:
    """Nobody who is given one can spoil another; but for the items, which each has of its own."""
    made, source = CostRecord(bill), bill["source"]
    made["resolved"], made["source"] = dict(bill["resolved"]), {**source, "overlay": list(source["overlay"])}
    return made


_quotes: dict[Hashable, Quote] = {}


def key(call: Call, counts: list[Counted], rates: UserRates | None) -> Hashable | None:
    """By what such bills are alike; None for one that has to be worked out."""
    if call.vendor in _WORKED_OUT or len(counts) != 1 or counts[0].model is not None:
        return None
    words = _SAID.get(call.vendor, _said)(call)
    if not _WORDS.issuperset(map(type, words)) or not counts[0].classes.keys() <= units.TOKENS:
        return None
    if not (_RUNS.isdisjoint(call.usage) and _CONTENT.isdisjoint(call.response)) and _may_bill_more(call):
        return None
    return (
        call.vendor, call.operation, call.model, call.when.day, words, call.region, call.batch,
        tuple(counts[0].classes), rates.sha256 if rates is not None else None,
    )  # fmt: skip


def _said(call: Call) -> tuple[Any, ...]:
    """The words that the rules of most vendors read."""
    return call.tier, call.response.get("service_tier")


def _said_by_anthropic(call: Call) -> tuple[Any, ...]:
    usage, answer = call.usage.get, call.response.get
    return (
        call.tier, usage("service_tier"), usage("speed"), usage("inference_geo"),
        answer("service_tier"), answer("speed"), answer("inference_geo"),
    )  # fmt: skip


def _said_by_google(call: Call) -> tuple[Any, ...]:
    """Claude's on Vertex AI included."""
    usage = call.usage.get
    return (
        call.tier, call.headers.get("x-gemini-service-tier"), usage("serviceTier"), usage("service_tier"),
        usage("trafficType"), usage("traffic_type"), usage("speed"), usage("inference_geo"),
    )  # fmt: skip


_SAID = {"anthropic": _said_by_anthropic, "google": _said_by_google, "vertexai": _said_by_google}


def _may_bill_more(call: Call) -> bool:
    """Whether something besides tokens may be billed, or no token at all."""
    usage, response = call.usage, call.response
    output, candidates, tools = response.get("output"), response.get("candidates"), usage.get("server_tool_use")
    if usage.get("iterations") or response.get("stop_reason") == "refusal":
        return True
    if tools and not (isinstance(tools, dict) and not any(tools.values())):
        return True
    if output is not None and not (isinstance(output, list) and all(map(_is_no_tool, output))):
        return True
    return candidates is not None and not (isinstance(candidates, list) and all(map(_is_plain, candidates)))


def _is_no_tool(item: Any) -> bool:
    kind = item.get("type") if isinstance(item, dict) else None
    return isinstance(kind, str) and kind in _NO_TOOL


def _is_plain(candidate: Any) -> bool:
    return isinstance(candidate, dict) and _GROUNDED.isdisjoint(candidate)


def find(asked: Hashable | None, counts: list[Counted]) -> CostRecord | None:
    """The record of a bill like one that was worked out."""
    quote = _quotes.get(asked) if asked is not None else None
    return quote.record(counts[0]) if quote is not None else None


def keep(asked: Hashable | None, made: Bill, counts: list[Counted], reach: Reach) -> None:
    """A bill that was worked out, and for what it holds besides."""
    if asked is None or reach.own or (reach.most is not None and counts[0].input_tokens > reach.most):
        return
    if len(_quotes) >= _REMEMBERED:
        _quotes.clear()
    lines = tuple(
        _Line(item.fields(ZERO), times(item.rate, *(f.factor for f in item.factors)), Decimal(item.per))
        for item in made.items
    )
    _quotes[asked] = Quote(_copied(made.record()), lines, reach.most)


def reach(model: Any, tables: Iterable[library.Rates], ceiling: dict[str, Any] | None) -> Reach:
    """Up to the first number of input tokens at which one of the rates changes, or above which none is known."""
    if not _goes_by_the_day(model):
        return Reach(own=True)
    ends = [library.first_step(rate) for rates in tables for rate in rates.values() if library.is_stepped(rate)]
    if ceiling is not None:
        ends.append(ceiling["input_tokens"])
    return Reach(min(ends, default=None))


def _goes_by_the_day(model: Any) -> bool:
    """Whether a model's standard rates are the same all day."""
    prices = model.prices if isinstance(model.prices, list) else []
    return all(p.constraint is None or getattr(p.constraint, "start_date", None) is not None for p in prices)
