"""What a session paid: sums of its call lines, what they leave out, and what replay, reuse and caches saved.

Everything comes from the call lines, as they were priced when the calls were made; no price table is asked. An
answer that was reused from another session was paid for there: it is summed up apart (``Sum.reused``).
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
        in_doubt: sent besides ``calls``, without an answer on record: what they cost is unknown, also after they
            were asked again.
        replays: how often an answer was given again, and what these would have cost (``saved``). That a reused
            answer was given the first time is not among them.
        origins: how many answers were reused, by the session that paid for them.
        reused: what these had cost there; None where there is none. They are in no other figure.
        repriced: of ``calls``, those whose figure is a later one (``report/repriced.py``).
        cache_saved: what reading from the vendors' caches saved against the plain input rate, writes deducted.
    """

    calls: int = 0
    usd: Decimal = ZERO
    priced: int = 0
    estimated: int = 0
    unbilled: int = 0
    unpriced: Counter[str] = field(default_factory=Counter)
    beyond: Counter[str] = field(default_factory=Counter)
    in_doubt: int = 0
    tokens: int = 0
    repriced: int = 0
    replays: int = 0
    replays_unpriced: int = 0
    saved: Decimal = ZERO
    cache_saved: Decimal = ZERO
    origins: Counter[str] = field(default_factory=Counter)
    reused: Sum | None = None

    def add(self, line: Line, replays: int = 0) -> None:
        """A call, and how often its answer was given, besides when it came."""
        if (origin := origin_of(line)) is not None:
            self.origins[origin] += 1
            self.reused = self.reused or Sum()
            self.reused._count(line, 0)
            self._given_again(dollars(cost_of(line).get("cost_usd")), max(0, replays - 1))
        else:
            self._count(line, replays)

    def _count(self, line: Line, replays: int) -> None:
        cost = cost_of(line)
        self.calls += 1
        self.tokens += _mapping(line.get("response_metadata")).get("tokens_used") or 0
        self.repriced += "repriced" in line
        usd = dollars(cost.get("cost_usd"))
        self._given_again(usd, replays)
        if usd is None:
            if unbilled(line):
                self.unbilled += 1
            else:
                self.unpriced[str(cost.get("reason") or "price_not_found")] += 1
            return
        self.priced += 1
        self.usd = total([self.usd, usd])
        self.cache_saved = total([self.cache_saved, cache_savings(cost)])
        if cost.get("status") == "lower_bound":
            self.beyond[str(cost.get("reason"))] += 1
        self.estimated += cost.get("status") == "estimated"

    def _given_again(self, usd: Decimal | None, replays: int) -> None:
        self.replays += replays
        if usd is None:
            self.replays_unpriced += replays
        else:
            self.saved = total([self.saved, times(usd, Decimal(replays))])

    def merge(self, other: Sum) -> None:
        """Add what was added to another one."""
        for name, value in vars(other).items():
            own = getattr(self, name)
            if isinstance(own, Counter):
                own.update(value)
            elif name == "reused":
                if value is not None:
                    self.reused = own or Sum()
                    self.reused.merge(value)
            else:
                setattr(self, name, total([own, value]) if isinstance(own, Decimal) else own + value)

    @property
    def known(self) -> Decimal | None:
        """What is known of the cost; None where no call that may cost something has a price."""
        return self.usd if self.priced or not (self.unpriced or self.in_doubt) else None

    @property
    def given_again(self) -> int:
        """How many answers came from an archive: replayed from this session's own, or reused."""
        return self.replays + self.origins.total()

    @property
    def known_saved(self) -> Decimal | None:
        """What these would have cost; None where none of them has a price."""
        reused = self.reused or Sum()
        priced = self.replays - self.replays_unpriced + reused.priced
        return total([self.saved, reused.usd]) if priced or not self.given_again else None

    @property
    def complete(self) -> bool:
        """The amount is the whole cost, to the last digit."""
        return not (self.unpriced or self.beyond or self.estimated or self.in_doubt)

    @property
    def least(self) -> bool:
        """The amount is a lower bound."""
        return bool(self.unpriced or self.beyond or self.in_doubt)

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
        if self.in_doubt:
            left_out.append(f"{self.in_doubt} more calls were sent and have no answer on record: their cost is unknown")
        if self.estimated:
            left_out.append(f"{self.estimated} of {self.calls} calls estimated")
        why = f" ({'; '.join(left_out)})" if left_out else ""
        if self.known is None:
            return f"unknown{why}"
        how = "at least " if self.least else "about " if self.estimated else ""
        return f"{how}{shown(self.usd, least=self.least)}{why}"

    @property
    def reuse(self) -> str:
        """ "10 answers of session_x, which had cost $0.12 there", or "none"."""
        if self.reused is None:
            return "none"
        whose = ", ".join(f"{count} answers of {name}" for name, count in sorted(self.origins.items()))
        return f"{whose}, {_had_cost(self.reused)} there"

    def as_dict(self) -> dict[str, Any]:
        """Exact, as plain JSON."""
        return {
            "calls": self.calls,
            "cost_usd": None if self.known is None else plain(self.known),
            "complete": self.complete,
            "cost": self.sentence,
            "priced": self.priced,
            "unpriced": dict(sorted(self.unpriced.items())),
            "lower_bound": dict(sorted(self.beyond.items())),
            "estimated": self.estimated,
            "unbilled": self.unbilled,
            "in_doubt": self.in_doubt,
            "tokens": self.tokens,
            "repriced": self.repriced,
            "reused": dict(sorted(self.origins.items())),
            "reused_cost": None if self.reused is None else self.reused.sentence,
            "reused_cost_usd": None if self.reused is None or self.reused.known is None else plain(self.reused.known),
            "replays": self.given_again,
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


def origin_of(line: Line) -> str | None:
    """The session that paid for a reused answer; None of a call that its own session made."""
    origin = line.get("reused_from")
    return str(_mapping(origin).get("session")) if origin else None


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
    whole, own = sums(lines, replays).get("", Sum()), [line for line in lines if origin_of(line) is None]
    tables = {table for line in own if (table := price_table(line)) is not None}
    return sentence_for_methods(whole, set(sums(own, {}, "model")), set(sums(own, {}, "day")), tables)


def sentence_for_methods(
    whole: Sum, models: Collection[str], days: Collection[str], tables: Collection[str], anew: str | None = None
) -> str:
    """The same from sums, the models that answered, the days, and the price tables.

    ``anew``: the day of the repricing whose figures these are.
    """
    if whole.calls:
        first, last = min(days), max(days)
        when = f"on {first}" if first == last else f"between {first} and {last}"
        text = f"{whole.calls} calls were made to {', '.join(sorted(models))} {when} (UTC). "
    else:
        text = "No call was made. " if not whole.in_doubt else "No call has an answer on record. "
    by = f" by the vendors' list prices of the day ({'; '.join(sorted(tables))})" if tables else ""
    by += f", as priced anew on {anew}" if anew else ""
    if whole.known is None:
        text += f"What they cost is {whole.sentence}. "
    elif whole.calls:
        text += f"They cost {whole.sentence}{by}. "
    if whole.reused is not None:
        more = "more answers were" if whole.calls else "answers were"
        where = ", ".join(sorted(whole.origins))
        text += f"{whole.reused.calls} {more} reused from {where}, {_had_cost(whole.reused)} there. "
    if whole.replays:
        priced = whole.replays_unpriced < whole.replays
        saved = f", which saved {shown(whole.saved)}" if priced else ""
        text += f"{whole.replays} answers were replayed from the archive{saved}."
    return text.rstrip()


def _had_cost(there: Sum) -> str:
    return f"which had {'cost ' if there.known is not None else 'a cost that is '}{there.sentence}"


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
