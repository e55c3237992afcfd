"""The price library, wrapped strictly. It is imported when the first price is asked for.

Of ``genai-prices`` only the table is used: its arithmetic gives the standard rate for a context that it does not
know, and nothing for a unit without a rate. Both are refused here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, DecimalException
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from custody.cost.matching import means
from custody.cost.money import EXACT, times
from custody.cost.names import When
from custody.cost.overlay import overlay
from custody.cost.record import Unpriced

Rates = dict[str, Any]
"""By the library's price key: a Decimal, or its tiered prices."""

_REMEMBERED = 1024  # models whose entry is not looked for again
_PROVIDERS = {"vertexai": ("google", "anthropic"), "bedrock": ("aws",)}


@dataclass(frozen=True)
class Table:
    """The library's data.

    Attributes:
        known_until: the day up to which they are known to be right.
    """

    providers: dict[str, Any]
    version: str
    sha256: str
    known_until: date
    _known: dict[tuple[str, str], Any] = field(default_factory=dict, compare=False, repr=False)

    def model(self, vendor: str, name: str) -> Any:
        """The library's entry for a model. Raises ``Unpriced``."""
        known = self._known.get((vendor, name))
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[vendor, name] = self._find(vendor, name)
        return known

    def _find(self, vendor: str, name: str) -> Any:
        asked = list(_PROVIDERS.get(vendor, (vendor,)))
        first = self.providers.get(asked[0])
        asked += [p for p in (getattr(first, "fallback_model_providers", None) or ()) if p not in asked]
        for provider in asked:
            models = self.providers[provider].models if provider in self.providers else ()
            for model in models:
                if name == model.id or means(model.match, name):
                    return model
        raise Unpriced("price_not_found", f"no rates for {name} at {vendor}")


@cache
def table() -> Table:
    """The installed library's data, bundled with it; nothing is fetched."""
    from genai_prices import data, data_units

    digest = hashlib.sha256()
    for module in (data, data_units):
        digest.update(Path(str(module.__file__)).read_bytes())
    installed = version("genai-prices")
    providers = {provider.id: provider for provider in data.providers}
    return Table(providers, installed, digest.hexdigest(), _known_until(installed, providers))


def _known_until(installed: str, providers: dict[str, Any]) -> date:
    released: dict[str, date] = overlay().library["released"]
    if installed in released:
        return released[installed]
    today = datetime.now(UTC).date()
    starts = [
        day
        for provider in providers.values()
        for model in provider.models
        for part in (*(model.prices if isinstance(model.prices, list) else ()), *(model.price_variants or ()))
        if (day := getattr(part.constraint, "start_date", None)) is not None and day <= today
    ]
    return max(starts, default=max(released.values()))


def fresh_until() -> date:
    """The last day for which the library's prices are taken to hold."""
    return table().known_until + timedelta(days=overlay().library["fresh_days"])


def standard(model: Any, when: When) -> Rates:
    """The standard rates of a model at a time. Raises ``Unpriced``."""
    if not isinstance(model.prices, list):
        return _rates(model.prices)
    for price in reversed(model.prices):
        constraint = price.constraint
        if constraint is None:
            return _rates(price.prices)
        start = getattr(constraint, "start_date", None)
        if start is not None:
            if when.day >= start:
                return _rates(price.prices)
        elif when.at is None:
            raise Unpriced("date_out_of_range", "the rate depends on the time of day, which is not known")
        elif constraint.active(when.at):
            return _rates(price.prices)
    raise Unpriced("date_out_of_range", "the library has no rate that early")


def variant(model: Any, when: When, context: tuple[str, str], since: date | None) -> Rates | None:
    """The rates of a tier, only those it has of its own; None where the library does not know the tier.

    Its first rates are dated by the day on which somebody looked. ``since`` is since when they have been
    charged; where the standard rates were others then, the tier's have the same ratio to them.
    Raises ``Unpriced``.
    """
    own = [v for v in model.price_variants or () if v.when == {context[0]: context[1]}]
    if not own:
        return None
    for entry in own:
        if entry.constraint is None or when.day >= entry.constraint.start_date:
            return _rates(entry.prices)
    first = min(own, key=lambda v: v.constraint.start_date)
    if since is None or when.day < since:
        raise Unpriced("tier_unpriced", f"{context[1]} has no rates that early")
    then = standard(model, When(first.constraint.start_date, None))
    now = standard(model, when)
    return {key: _carried(rate, then.get(key), now.get(key)) for key, rate in _rates(first.prices).items()}


def _carried(rate: Any, then: Any, now: Any) -> Any:
    if then is None or now is None:
        raise Unpriced("tier_unpriced", "the standard table had other units then")
    if _parts(then) == _parts(now):
        return rate
    try:
        ratios = {EXACT.divide(a, b) for (_, a), (_, b) in zip(_parts(rate), _parts(then), strict=True)}
    except (DecimalException, ValueError):
        ratios = set()
    if len(ratios) != 1:
        raise Unpriced("tier_unpriced", "the standard rates were others then")
    return scaled(now, ratios.pop())


def scaled(rate: Any, factor: Decimal) -> Any:
    """A rate, plain or tiered, times a factor."""
    if isinstance(rate, Decimal):
        return times(rate, factor)
    return Steps(tuple((start, times(price, factor)) for start, price in _parts(rate)))


@dataclass(frozen=True)
class Steps:
    """A rate that changes for the whole request above a number of input tokens (exclusive)."""

    steps: tuple[tuple[int, Decimal], ...]


def at(rate: Any, input_tokens: Decimal) -> Decimal:
    """The rate for a request with that many input tokens."""
    chosen: Decimal = _parts(rate)[0][1]
    for start, price in _parts(rate)[1:]:
        if input_tokens > start:
            chosen = price
    return chosen


def is_stepped(rate: Any) -> bool:
    """Whether the rate depends on the number of input tokens."""
    return not isinstance(rate, Decimal)


def first_step(rate: Any) -> int:
    """The lowest threshold of a stepped rate."""
    return int(_parts(rate)[1][0])


def _parts(rate: Any) -> tuple[tuple[int, Decimal], ...]:
    if isinstance(rate, Decimal):
        return ((0, rate),)
    if isinstance(rate, Steps):
        return rate.steps
    return ((0, rate.base), *((tier.start, tier.price) for tier in rate.tiers))


_listed: dict[int, tuple[Any, Rates]] = {}  # by the identity of the library's own objects, which are held with them


def _rates(prices: Any) -> Rates:
    """Never to be changed: it is given to whoever asks."""
    listed = _listed.get(id(prices))
    if listed is None:
        if len(_listed) >= _REMEMBERED:
            _listed.clear()
        listed = _listed[id(prices)] = prices, _read(prices)
    return listed[1]


def _read(prices: Any) -> Rates:
    return {key: value for key, value in vars(prices).items() if not key.startswith("_") and value is not None}
