"""Prices every call that no other plugin has priced."""

from __future__ import annotations

from decimal import Decimal

from custody import cost
from custody.cost.exchanges import price_exchange
from custody.cost.rates import UserRates, from_environment
from custody.exchange import Exchange
from custody.hookspecs import Record, hookimpl
from custody.record import Forensics, Price


class Plugin:
    def __init__(self) -> None:
        self._rates: UserRates | None = None

    @hookimpl
    def session_opened(self, session: Record) -> None:
        self._rates = from_environment()

    @hookimpl(trylast=True)
    def price_call(self, forensics: Forensics, exchange: Exchange) -> Price:
        return as_price(price_exchange(exchange, forensics, self._rates))


def as_price(made: cost.CostRecord) -> Price:
    """A record of ``custody.cost`` as the hook answers it."""
    usd = Decimal(made["cost_usd"]) if made["cost_usd"] is not None else None
    details = {"resolved": made["resolved"], "items": made["items"], "source": made["source"]}
    return Price(usd, made["reason"], _evidence(made), made["status"], details)


def _evidence(made: cost.CostRecord) -> str | None:
    """Where the amount is from; None where there is none."""
    if made["cost_usd"] is None:
        return None
    source = made["source"]
    kind = source.get("kind")
    if kind == "library":
        return f"{source['library']} {source['version']}:{made['resolved'].get('price_model')}"
    if kind == "user":
        return f"rates:sha256 {source['rates_sha256'][:16]}"
    if kind == "vendor":
        return "response_body:usage.cost"
    return f"overlay:{source.get('overlay_sha256', '')[:16]}"
