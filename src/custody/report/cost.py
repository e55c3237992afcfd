"""What a session cost: sums of its call lines, what they leave out, and what replay and caches saved.

Everything comes from the call lines, as they were priced when the calls were made; no price table is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal, DecimalException
from typing import Any

from custody.cost.money import ZERO, dollars, plain, share, times, total

Line = Mapping[str, Any]

DIMENSIONS = ("stage", "model", "vendor", "day", "operation", "status")
"""What calls can be grouped by, besides the labels of their scope."""


@dataclass
class Sum:
    """Calls and what they cost.

    Attributes:
        unpriced: calls without a price, by reason.
        beyond: calls that cost more than is known, by reason.
        unbilled: calls for which nothing can be billed: refused by status, or of a kind that has no usage.
        replays: how often an answer was given again, and what these would have cost.
        cache_saved: what reading from the vendors' caches saved against the plain input rate, writes deducted.
    """

    calls: int = 0
    usd: Decimal = ZERO
    priced: int = 0
    estimated: int = 0
    unbilled: int = 0
    unpriced: Counter[str] = field(default_factory=Counter)
    beyond: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    replays: int = 0
    replays_unpriced: int = 0
    saved: Decimal = ZERO
    cache_saved: Decimal = ZERO

    def add(self, line: Line, replays: int = 0) -> None:
        """A call, and how often its answer was given again."""
        cost = cost_of(line)
        self.calls += 1
        self.tokens += _mapping(line.get("response_metadata")).get("tokens_used") or 0
        usd = dollars(cost.get("cost_usd"))
        self.replays += replays
        if usd is None:
            if unbilled(line):
                self.unbilled += 1
            else:
                self.unpriced[str(cost.get("reason") or "price_not_found")] += 1
            self.replays_unpriced += replays
            return
        self.priced += 1
        self.usd = total([self.usd, usd])
        self.saved = total([self.saved, times(usd, Decimal(replays))])
        self.cache_saved = total([self.cache_saved, cache_savings(cost)])
        if cost.get("status") == "lower_bound":
            self.beyond[str(cost.get("reason"))] += 1
        self.estimated += cost.get("status") == "estimated"

    def merge(self, other: Sum) -> None:
        """Add what was added to another one."""
        for name, value in vars(other).items():
            own = getattr(self, name)
            if isinstance(own, Counter):
                own.update(value)
            else:
                setattr(self, name, total([own, value]) if isinstance(own, Decimal) else own + value)

    @property
    def known(self) -> Decimal | None:
        """What is known of the cost; None where no call that may cost something has a price."""
        return self.usd if self.priced or not self.unpriced else None

    @property
    def known_saved(self) -> Decimal | None:
        """What replay saved; None where none of what it gave again has a price."""
        return self.saved if not self.replays or self.replays_unpriced < self.replays else None

    @property
    def sentence(self) -> str:
        """ "at least $1.23 (1 of 40 calls unpriced: usage_missing)"."""
        left_out = []
        if self.unpriced:
            count = sum(self.unpriced.values())
            left_out.append(f"{count} of {self.calls} calls unpriced: {named(self.unpriced)}")
        if self.beyond:
            count = sum(self.beyond.values())
            left_out.append(f"{count} of {self.calls} calls cost more than is known: {named(self.beyond)}")
        if self.estimated:
            left_out.append(f"{self.estimated} of {self.calls} calls estimated")
        if self.unpriced and not self.priced:
            return f"unknown ({left_out[0]})"
        how = "at least " if self.unpriced or self.beyond else "about " if self.estimated else ""
        return f"{how}{shown(self.usd, least=bool(self.unpriced or self.beyond))}" + (
            f" ({'; '.join(left_out)})" if left_out else ""
        )

    def as_dict(self) -> dict[str, Any]:
        """Exact, as plain JSON."""
        return {
            "calls": self.calls,
            "cost_usd": None if self.known is None else plain(self.known),
            "complete": not self.unpriced and not self.beyond and not self.estimated,
            "cost": self.sentence,
            "priced": self.priced,
            "unpriced": dict(sorted(self.unpriced.items())),
            "lower_bound": dict(sorted(self.beyond.items())),
            "estimated": self.estimated,
            "unbilled": self.unbilled,
            "tokens": self.tokens,
            "replays": self.replays,
            "replays_unpriced": self.replays_unpriced,
            "saved_by_replay_usd": None if self.known_saved is None else plain(self.known_saved),
            "saved_by_vendor_caches_usd": plain(self.cache_saved),
        }


def sums(lines: Iterable[Line], replays: Mapping[str, int], by: str | None = None) -> dict[str, Sum]:
    """By value of a dimension or a label, in order of cost; under "" where ``by`` is None."""
    key = key_of(by)
    found: dict[str, Sum] = {}
    for line in lines:
        found.setdefault(key(line), Sum()).add(line, replays.get(str(line.get("id")), 0))
    return dict(sorted(found.items(), key=lambda item: (-item[1].usd, item[0])))


def key_of(by: str | None) -> Callable[[Line], str]:
    """What a call line belongs to, by a dimension or a label."""
    if by is None:
        return lambda line: ""
    if by == "model":
        return lambda line: str(_forensics(line, "actual_model") or _forensics(line, "requested_model") or "(unknown)")
    if by == "vendor":
        return lambda line: str(_forensics(line, "vendor") or "(unknown)")
    if by == "day":
        return lambda line: str(line.get("started") or "")[:10]
    if by == "status":
        return lambda line: str(cost_of(line).get("status"))
    if by == "operation":
        return lambda line: str(line.get("operation"))
    return lambda line: str(_mapping(line.get("scope")).get(by, "(none)"))


def cost_of(line: Line) -> Mapping[str, Any]:
    """A call line's cost; an older line has the amount and the reason only."""
    stated = line.get("cost")
    if isinstance(stated, Mapping):
        return stated
    usd = _mapping(line.get("response_metadata")).get("cost_usd")
    evidence = str(_mapping(line.get("evidence")).get("cost_usd") or "")
    reason = evidence.removeprefix("unknown:") if usd is None else None
    return {"cost_usd": usd, "status": "unknown" if usd is None else "priced", "reason": reason}


def unbilled(line: Line) -> bool:
    """No vendor bills a request that it refused by its status, nor one of a kind that uses nothing."""
    status = line.get("status")
    refused = isinstance(status, int) and status >= 400
    no_usage = _mapping(line.get("evidence")).get("tokens_used") == "unknown:not_applicable"
    return (refused and not line.get("usage")) or no_usage


def cache_savings(cost: Mapping[str, Any]) -> Decimal:
    """What the vendor's prompt cache saved in a call: reads below the input rate, less writes above it."""
    saved, items = ZERO, [_mapping(item) for item in cost.get("items") or ()]
    for item in items:
        name, _, kind = str(item.get("unit")).removesuffix("_tokens").partition("_read")
        if name != "cache" and not str(item.get("unit")).startswith("cache_write"):
            continue
        own = f"input{kind}_tokens" if name == "cache" else "input_tokens"
        input_rate = next((dollars(i.get("rate_usd")) for i in items if i.get("unit") == own), None)
        rate, count, per = dollars(item.get("rate_usd")), dollars(item.get("count")), item.get("per")
        if None in (input_rate, rate, count) or not isinstance(per, int):
            continue
        factors = [f for m in item.get("multipliers") or () if (f := dollars(_mapping(m).get("factor"))) is not None]
        try:
            saved += share(times(count or ZERO, (input_rate or ZERO) - (rate or ZERO), *factors), per)
        except DecimalException:
            continue
    return saved


def shown(usd: Decimal, *, least: bool = False) -> str:
    """For people: cents where there are dollars, more digits where there are not. ``least``: never rounded up."""
    how = ROUND_DOWN if least else ROUND_HALF_EVEN
    if usd >= 1:
        return f"${usd.quantize(Decimal('0.01'), how):,f}"
    if usd == 0:
        return "$0"
    return f"${plain(usd.quantize(Decimal(1).scaleb(usd.adjusted() - 2), how))}"


def named(counts: Mapping[str, int]) -> str:
    """ "usage_missing 3, price_not_found 1", or the one name."""
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{name} {n}" for name, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def methods(lines: list[Line], replays: Mapping[str, int]) -> str:
    """A sentence for a paper's methods section."""
    whole = sums(lines, replays).get("", Sum())
    tables = {table for line in lines if (table := price_table(line)) is not None}
    return sentence_for_methods(whole, set(sums(lines, {}, "model")), set(sums(lines, {}, "day")), tables)


def sentence_for_methods(whole: Sum, models: Collection[str], days: Collection[str], tables: Collection[str]) -> str:
    """The same from sums, the models that answered, the days, and the price tables."""
    if not whole.calls:
        return "No call was made."
    first, last = min(days), max(days)
    when = f"on {first}" if first == last else f"between {first} and {last}"
    text = f"{whole.calls} calls were made to {', '.join(sorted(models))} {when} (UTC). "
    by = f" by the vendors' list prices of the day ({'; '.join(sorted(tables))})" if tables else ""
    if whole.known is None:
        text += f"What they cost is {whole.sentence}."
    else:
        text += f"They cost {whole.sentence}{by}."
    if whole.replays:
        saved = "" if whole.known_saved is None else f", which saved {shown(whole.known_saved)}"
        text += f" {whole.replays} answers were replayed from the archive{saved}."
    return text


def price_table(line: Line) -> str | None:
    """The library's table by which a call was priced; None where it was priced by another source."""
    source = _mapping(cost_of(line).get("source"))
    if source.get("kind") != "library" or not source.get("version"):
        return None
    return f"{source['library']} {source['version']}, SHA-256 {str(source['data_sha256'])[:12]}"


def _forensics(line: Line, name: str) -> Any:
    return _mapping(line.get("model_forensics")).get(name)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
