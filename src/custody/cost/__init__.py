"""What a call costs: an exact amount with everything that it rests on, or null and why.

The vendor's own figure wins, then the user's rates, then the price library at the day of the call with an
overlay of dated entries (``overlay.toml``), then null. Read ``pricing.py`` first.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from custody.cost import names
from custody.cost.answers import headers_of, known_of
from custody.cost.call import Call
from custody.cost.pricing import bill
from custody.cost.rates import UserRates, load
from custody.cost.record import Bill, CostRecord
from custody.cost.usage import bedrock

__all__ = ["CostRecord", "UserRates", "load", "price"]

_BY_HEADER = ("google", "vertexai")
"""Of their answers a header says the tier."""


def price(
    *,
    vendor: str | None = None,
    api: str | None = None,
    model: str | None = None,
    usage: Any = None,
    date: date | datetime | str | None = None,
    service_tier: Any = None,
    region: str | None = None,
    batch: bool | None = False,
    headers: Mapping[str, str] | Any = None,
    response: Any = None,
    deployment_type: str | None = None,
    rates: UserRates | None = None,
) -> CostRecord:
    """The price of a call from the vendor's own usage object.

    Args:
        vendor: who sends the bill ("openai", "azure", "anthropic", "gemini", "vertexai", "bedrock", "openrouter").
        api: what was asked for ("chat", "responses", "messages", "generate_content", "converse", "embeddings").
        model: as it was asked for; the response's own name of it wins where the vendor's rules say so.
        usage: the vendor's usage object; else it is looked for in ``response``.
        date: when the call was made; the time of day counts where a vendor bills by it. Without it: today.
        service_tier: as the caller knows it; what the response says wins.
        region: where it was computed: an API's location, a profile, a region of residency, Azure's data zone.
        batch: it was part of a batch.
        headers: of the response.
        response: its body: tools, refusals, grounding and tiers are in there.
        deployment_type: Azure's ("global", "datazone-us", "provisioned").
        rates: the user's own, from ``load``.

    Returns:
        The record as it stands on a call line under ``cost`` (docs/format.md).
    """
    found = known_of(vendor, usage, response)
    made = names.when(date if date is not None else datetime.now(UTC))
    who = names.vendor(vendor) or (rates.vendor_of(str(vendor)) if rates else None)
    if who == "google" and _is_vertex(found.usage, region):
        who = "vertexai"
    if who == "bedrock" and not found.usage:
        found = found._replace(usage=bedrock.from_headers(headers_of(headers)))
    if who is None or made is None:
        bare = Bill()
        bare.resolved |= {"vendor": who or vendor, "api": api, "model": model}
        if who is None:
            return bare.unpriced("price_not_found", "no prices of this vendor are known")
        return bare.unpriced("date_out_of_range", "the date cannot be read")
    return bill(
        Call(
            vendor=who,
            operation=_operation(api),
            model=_model(who, model, found.response),
            usage=found.usage,
            when=made,
            tier=service_tier,
            region=str(region) if region else None,
            batch=bool(batch),
            headers=headers_of(headers) if who in _BY_HEADER else {},
            response=found.response,
            deployment=deployment_type,
        ),
        rates,
    )


def _model(vendor: str, asked: str | None, response: dict[str, Any]) -> str:
    """The served model. Bedrock's bodies leave out the profile, by which the price differs."""
    answered = response.get("model") or response.get("modelVersion") or response.get("model_version")
    if vendor in ("bedrock", "vertexai") and asked:
        answered = None
    return names.model(vendor, answered) or names.model(vendor, asked) or ""


def _is_vertex(usage: dict[str, Any], region: str | None) -> bool:
    """Only Vertex AI has locations and kinds of traffic."""
    return bool(usage.get("trafficType") or usage.get("traffic_type") or names.is_location(region))


def _operation(api: str | None) -> str:
    word = names.squeezed(api or "")
    if "embed" in word:
        return "embeddings"
    if "rerank" in word:
        return "rerank"
    return "moderations" if "moderation" in word else word
