"""The price of an exchange, from what its vendor's plugin read and what its body says besides."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from custody.cost import CostRecord, names, price
from custody.cost.answers import READ
from custody.cost.rates import UserRates
from custody.exchange import Exchange
from custody.record import Forensics, unknown

_BY_REGION = ("openai", "azure", "anthropic", "google", "vertexai", "bedrock")
"""Others say where they computed as well, and charge the same everywhere."""

_BESIDE = READ - {"model_version", "category"}

_UNSAID = unknown("not_stated")


def price_exchange(exchange: Exchange, forensics: Forensics, rates: UserRates | None = None) -> CostRecord:
    """Usage as the plugin read it; tools, refusals, grounding and tiers from the body."""
    said = forensics.findings.get
    body = exchange.response_json
    return price_answer(
        vendor=said("vendor", _UNSAID).value or exchange.claim.vendor,
        operation=exchange.claim.operation,
        requested=said("requested_model", _UNSAID).value,
        actual=said("actual_model", _UNSAID).value,
        usage=forensics.usage.raw if forensics.usage is not None else {},
        sent=exchange.sent,
        tier=said("service_tier", _UNSAID).value,
        region=said("deployment_region", _UNSAID).value,
        headers=exchange.head.headers if exchange.head is not None else (),
        body=body if isinstance(body, dict) else list(exchange.event_json()),
        rates=rates,
    )


def price_answer(
    *,
    vendor: Any,
    operation: str,
    requested: Any,
    actual: Any,
    usage: dict[str, Any],
    sent: datetime,
    tier: Any,
    region: Any,
    headers: Any,
    body: Any,
    rates: UserRates | None = None,
) -> CostRecord:
    """The price of an answer by what is on record of it. ``body``: the response, or the events of a stream."""
    asked, answered = _text(requested), _text(actual)
    beside: Any = {}
    if isinstance(body, dict):
        beside = {name: body[name] for name in _BESIDE.intersection(body)}
    if answered is not None:
        beside["model"] = answered
    if isinstance(body, list):
        beside = [*body, beside]
    return price(
        vendor=str(vendor),
        api=operation,
        model=asked or answered,
        usage=usage,
        date=sent,
        service_tier=tier,
        region=_text(region) if names.vendor(str(vendor)) in _BY_REGION else None,
        headers=headers,
        response=beside,
        deployment_type=rates.deployment(asked) if rates else None,
        rates=rates,
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
