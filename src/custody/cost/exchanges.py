"""The price of an exchange, from what its vendor's plugin read and what its body says besides."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from custody.cost import CostRecord, names, price
from custody.cost.rates import UserRates
from custody.exchange import Exchange
from custody.record import Forensics

_BY_REGION = ("openai", "azure", "anthropic", "google", "vertexai", "bedrock")
"""Others say where they computed as well, and charge the same everywhere."""

_BESIDE = (
    "model modelVersion service_tier serviceTier stop_reason stop_details content output tools candidates "
    "performanceConfig inference_geo speed"
).split()


def price_exchange(exchange: Exchange, forensics: Forensics, rates: UserRates | None = None) -> CostRecord:
    """Usage as the plugin read it; tools, refusals, grounding and tiers from the body."""
    value = {name: finding.value for name, finding in forensics.findings.items()}
    body = exchange.response_json
    return price_answer(
        vendor=value.get("vendor") or exchange.claim.vendor,
        operation=exchange.claim.operation,
        requested=value.get("requested_model"),
        actual=value.get("actual_model"),
        usage=forensics.usage.raw if forensics.usage is not None else {},
        sent=exchange.sent,
        tier=value.get("service_tier"),
        region=value.get("deployment_region"),
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
    model = _text(requested) or _text(actual)
    named = {"model": actual} if _text(actual) else {}
    beside: Any = [*body, named] if isinstance(body, list) else named
    if isinstance(body, dict):
        beside = {**{name: body[name] for name in _BESIDE if name in body}, **named}
    return price(
        vendor=str(vendor),
        api=operation,
        model=model,
        usage=usage,
        date=sent,
        service_tier=tier,
        region=_text(region) if names.vendor(str(vendor)) in _BY_REGION else None,
        headers=headers,
        response=beside,
        deployment_type=rates.deployment(_text(requested)) if rates else None,
        rates=rates,
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
