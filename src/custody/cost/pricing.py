"""From a call to its bill: the usage in classes, the terms, a rate for each class, and the multiplication."""

from __future__ import annotations

import re
from collections.abc import Hashable
from datetime import date
from decimal import Decimal, Inexact
from typing import Any

from custody.cost import library, names, quotes, units
from custody.cost.call import Call, Terms
from custody.cost.money import dollars
from custody.cost.overlay import overlay
from custody.cost.quotes import Reach
from custody.cost.rates import UserRates
from custody.cost.record import Bill, CostRecord, Factor, Item, Unpriced
from custody.cost.rules import terms
from custody.cost.usage import classes
from custody.cost.usage.counts import Counted

_DATED = re.compile(r"(?<!\d)(20\d\d)-?(\d\d)-?(\d\d)(?!\d)")
_CONTEXT = {"batch": "processing"}


def bill(call: Call, rates: UserRates | None = None) -> CostRecord:
    """What a call costs, with everything that the amount rests on."""
    made: Bill | None = None
    try:
        reported = _reported(call)
        counts = _counts(call) if reported is None else []
        asked = quotes.key(call, counts, rates)
        quoted = quotes.find(asked, counts)
        if quoted is not None:
            return quoted
        made = _opened(call)
        _fill(made, call, reported, counts, rates, asked)
        return made.record()
    except Unpriced as none:
        return (made or _opened(call)).unpriced(none.reason, none.detail)
    except Inexact:
        return (made or _opened(call)).unpriced("unit_unpriced", "the amount is no exact decimal")


def _opened(call: Call) -> Bill:
    made = Bill()
    made.resolved |= {
        "vendor": call.vendor,
        "api": call.operation or None,
        "model": call.model or None,
        "date": call.when.day.isoformat(),
    }
    return made


def _counts(call: Call) -> list[Counted]:
    counts = classes(call.usage, vendor=call.vendor, operation=call.operation, model=call.model)
    if not call.model:
        raise Unpriced("model_unresolved")
    return counts


def _fill(
    made: Bill,
    call: Call,
    reported: Decimal | None,
    counts: list[Counted],
    rates: UserRates | None,
    asked: Hashable | None,
) -> None:
    if reported is not None:
        made.reported = reported
        made.source = {"kind": "vendor"}
        return
    found = terms(call)
    made.resolved |= {"tier": found.tier, "region": found.region}
    made.estimated, made.beyond = found.estimated, found.beyond
    if found.free is not None:
        made.use(found.free["id"])
        made.source = {"kind": "overlay", "overlay_sha256": overlay().sha256}
        made.free = found.free["id"]
        return
    if not any(counted.classes for counted in counts):
        raise Unpriced("usage_missing", "every count is 0")  # no answer uses nothing: somebody did not count
    for name, extra in found.extra.items():
        counts[0].add(name, extra)
    for counted in counts:
        run = call._replace(model=names.model(call.vendor, counted.model) or call.model)
        reach = _charge(made, run, found if run.model == call.model else terms(run), counted, rates)
    if not found.extra:
        quotes.keep(asked, made, counts, reach)


def _reported(call: Call) -> Decimal | None:
    """The vendor's own figure, where it gives one."""
    if call.vendor not in ("openrouter", "perplexity") or call.usage.get("cost") is None:
        return None
    cost = call.usage["cost"]
    amount = dollars(cost.get("total_cost") if isinstance(cost, dict) else cost)
    if amount is None:
        raise Unpriced("usage_inconsistent", "the vendor's own figure is no amount")
    if call.usage.get("is_byok") is True:  # the model's vendor sends a bill of its own
        details = call.usage.get("cost_details")
        upstream = dollars(details.get("upstream_inference_cost")) if isinstance(details, dict) else None
        if upstream is None:
            raise Unpriced("unit_unpriced", "with a key of your own, the router's figure is its fee only")
        amount += upstream
    return amount


def _charge(made: Bill, call: Call, found: Terms, counted: Counted, rates: UserRates | None) -> Reach:
    """For which other counts of these classes, at any time of the day, the same rates hold."""
    name = found.model
    agreed = rates.find(call.vendor, name, call.when.day, found.tier, found.region) if rates else None
    if agreed is not None and rates is not None:
        made.source |= {"kind": "user", "rates_sha256": rates.sha256, "agreement": agreed.source or None}
        made.items += [_item(c, n, agreed.rates, call, name, ()) for c, n in counted.classes.items()]
        return Reach()
    table = library.table()
    made.source |= {
        "kind": "library",
        "library": "genai-prices",
        "version": table.version,
        "data_sha256": table.sha256,
        "overlay_version": overlay().version,
        "overlay_sha256": overlay().sha256,
        "known_until": table.known_until.isoformat(),
    }
    model = _known(call, name)
    made.resolved["price_model"] = made.resolved["price_model"] or model.id
    _covered(call, name)
    standard = library.standard(model, call.when)
    if not standard:
        raise Unpriced("price_not_found", "the library has the model without a rate")
    if "output_image_mtok" in standard and "output" in counted.classes and "output_image" not in counted.classes:
        raise Unpriced("unit_unpriced", "how much of the output is an image is not said")
    if "requests_kcount" in standard:
        made.at_least("unit_unpriced")  # a fee for each request that varies
    ceiling = overlay().first("ceiling", call.vendor, name, call.when.day)
    flat = not any(map(library.is_stepped, standard.values()))
    if ceiling is not None and flat and counted.input_tokens > ceiling["input_tokens"]:
        raise Unpriced("price_not_found", ceiling["source"])
    tier = _Tier(made, call, found, name, model, standard)
    for unit, count in counted.classes.items():
        if units.is_token(unit):
            made.items.append(tier.item(unit, count, counted.input_tokens))
        else:
            made.items.append(_fee(made, call, name, unit, count, standard))
    for factor in found.factors:
        made.use(factor.entry)
    return quotes.reach(model, (standard, tier.own or {}), ceiling)


def _known(call: Call, name: str) -> Any:
    try:
        return library.table().model(call.vendor, name)
    except Unpriced:
        if call.vendor == "azure" and not call.response.get("model"):
            raise Unpriced("model_unresolved", f"{name} may be a deployment's name; the body has the model's") from None
        raise


def _item(
    unit: str, count: Decimal, rates: dict[str, Any], call: Call, model: str, factors: tuple[Factor, ...]
) -> Item:
    if units.is_token(unit):
        key = units.token_rate(unit, rates, call.vendor, model)
        return Item(f"{unit}_tokens", count, rates[key], units.PER_TOKENS, factors)
    found = units.counted_rate(unit, rates)
    if found is None:
        raise Unpriced("unit_unpriced", f"no rate for {unit}")
    return Item(unit, count, rates[found[0]], found[1])


def _covered(call: Call, name: str) -> None:
    """Whether the standard rate of the model is known for the day. Raises ``Unpriced``."""
    day = call.when.day
    entry = overlay().first("coverage", call.vendor, name)
    first, last = (entry["from"], entry.get("until", date.max)) if entry else (overlay().library["since"], date.max)
    first = max(first, _date_in(name))
    if not first <= day <= min(last, library.fresh_until()):
        raise Unpriced("date_out_of_range", f"the rates of {name} are not known for {day.isoformat()}")


def _date_in(name: str) -> date:
    """The date in a model's name: nothing was asked of it before."""
    dated = _DATED.search(name)
    try:
        return date(int(dated[1]), int(dated[2]), int(dated[3])) if dated else date.min
    except ValueError:
        return date.min


def _fee(made: Bill, call: Call, name: str, unit: str, count: Decimal, standard: dict[str, Any]) -> Item:
    """Units that are no tokens; no tier and no region changes their price."""
    if call.vendor == "groq" and unit == "audio_seconds":
        count = max(count, Decimal(10))  # Groq's minimum
    found = units.counted_rate(unit, standard)
    if found is not None and not (call.vendor == "openai" and unit == "web_searches"):
        return Item(unit, count, standard[found[0]], found[1])
    entry = overlay().first("fee", call.vendor, name, unit=unit)
    if entry is None:
        raise Unpriced("unit_unpriced", f"no rate for {unit}")
    made.use(entry["id"])
    return Item(unit.removesuffix("_preview"), count, Decimal(entry["rate"]), entry["per"])


class _Tier:
    """The rates of a call's tier."""

    def __init__(self, made: Bill, call: Call, found: Terms, name: str, model: Any, standard: dict[str, Any]) -> None:
        self.made, self.call, self.found, self.name, self.standard = made, call, found, name, standard
        self.own: dict[str, Any] | None = None
        self.entry: dict[str, Any] | None = None
        tier, day, vendor = found.tier, call.when.day, call.vendor
        if tier == "standard":
            return
        ends = overlay().first("tier_ends", vendor, name, tier=tier)
        if ends is not None and day > ends["until"]:
            raise Unpriced("tier_unpriced", ends["source"])
        history = overlay().first("tier_history", vendor, name, tier=tier)
        context = (_CONTEXT.get(tier, "speed" if vendor == "anthropic" else "service_tier"), tier)
        if vendor in ("azure", "bedrock") and tier != "batch":
            raise Unpriced("tier_unpriced", f"{vendor}'s rates for {tier} are not known")
        self.own = library.variant(model, call.when, context, history["since"] if history else None)
        if self.own is None:
            self.entry = overlay().first("tier_rate", vendor, name, day, tier=tier)
            if self.entry is None:
                raise Unpriced("tier_unpriced", f"no rates of {name} for {tier}")
            made.use(self.entry["id"])
        elif history is not None:
            made.use(history["id"])

    def item(self, unit: str, count: Decimal, input_tokens: Decimal) -> Item:
        """A line of tokens. Raises ``Unpriced``."""
        key = units.token_rate(unit, {**self.standard, **(self.own or {})}, self.call.vendor, self.name)
        rate, factors = self.standard.get(key), list(self.found.factors)
        kept = overlay().first("tier_keeps", self.call.vendor, self.name, tier=self.found.tier)
        if self.entry is not None:
            if unit.replace("_search", "") not in self.entry["classes"]:
                raise Unpriced("tier_unpriced", f"what {unit} costs as {self.found.tier} is not known")
            factors.insert(0, Factor(self.found.tier, Decimal(self.entry["factor"]), self.entry["id"]))
        elif self.own:
            if key in self.own:
                long = library.is_stepped(rate) and input_tokens > library.first_step(rate)
                if long and not library.is_stepped(self.own[key]):
                    raise Unpriced("tier_unpriced", f"{self.found.tier} has no rates for long prompts")
                rate = self.own[key]
            elif kept is not None and unit in kept["classes"]:
                self.made.use(kept["id"])
            else:
                raise Unpriced("tier_unpriced", f"what {unit} costs as {self.found.tier} is not known")
        return Item(f"{unit}_tokens", count, library.at(rate, input_tokens), units.PER_TOKENS, tuple(factors))
