"""The most that a call can cost, from its request: what a budget reserves before it is sent.

No token is shorter than a byte, so the body's bytes bound its tokens. What the body only points to (an image by
its address, an earlier answer) is bounded by the model's context, and the output by the limit that the request
states, else by the model's own.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from custody.cost import names, price
from custody.cost.ledger import Amount
from custody.cost.library import table
from custody.cost.money import dollars, times
from custody.cost.overlay import overlay
from custody.cost.rates import UserRates
from custody.cost.record import Unpriced
from custody.exchange import Exchange

_OVERHEAD = 512  # what vendors put around messages, tools and formats
_CONTEXT = 1_000_000  # of a model whose context is not known
_OUTPUT = 128_000  # of a model whose longest output is not known
_LIMITS = (
    "max_completion_tokens max_tokens max_output_tokens maxOutputTokens maxTokens max_tokens_to_sample "
    "max_new_tokens max_gen_len maxTokenCount"
).split()
_MANY = ("n", "best_of", "candidateCount", "num_generations")
_POINTS = re.compile(
    rb'"(previous_response_id|conversation|file_id|file_data|file_url|fileUri|file_uri|cachedContent|cached_content|'
    rb'image_url|imageUrl|inlineData|inline_data|prompt_id|container)"'
)
_IN_URL = re.compile(r"/(?:models?|deployments|engines)/([^/?]+?)(?::[A-Za-z]+)?(?:/|\?|$)")
_LOCATION = re.compile(r"/locations/([a-z0-9-]+)/")
_NO_OUTPUT = ("embeddings", "rerank", "moderations", "count_tokens")
_SEARCH_FEE = Decimal("0.25")  # ten of the dearest searches


class Bound:
    """What is known of a request before it is sent.

    Attributes:
        amount: the most that it can cost; ``usd`` is None where there is no price.
        reason: why there is none.
        stated: the request limits its output itself.
        output: the output tokens that are reserved.
    """

    def __init__(self, exchange: Exchange, rates: UserRates | None, assumed: int | None) -> None:
        body = exchange.request_json if isinstance(exchange.request_json, dict) else {}
        operation = exchange.claim.operation
        vendor = exchange.claim.vendor
        who = names.vendor(vendor) or (rates.vendor_of(vendor) if rates else None) or ""
        self.model = str(body.get("model") or body.get("modelId") or _from_url(exchange.request.url))
        given = len(exchange.request_body) + _OVERHEAD
        context, longest = _sizes(who, self.model)
        if _POINTS.search(exchange.request_body):
            given = max(given, context)
        limit = _stated(body)
        self.stated = limit is not None
        self.output = 0 if operation in _NO_OUTPUT else (limit or assumed or longest) * _times_asked(body)
        tier = body.get("service_tier") or body.get("serviceTier")
        record = price(
            vendor=vendor,
            api="embeddings" if operation in _NO_OUTPUT else "chat",
            model=self.model or None,
            usage={"prompt_tokens": given, "completion_tokens": self.output, "total_tokens": given + self.output},
            service_tier=None if tier in ("auto", "standard_only") else tier,
            region=_region(exchange, who),
            deployment_type=rates.deployment(self.model) if rates else None,
            rates=rates,
        )
        usd = dollars(record["cost_usd"])
        self.reason = record["reason"] if usd is None else None
        self.amount = Amount(None if usd is None else _most(usd, exchange.request_body, body), given + self.output)


def _most(usd: Decimal, raw: bytes, body: dict[str, Any]) -> Decimal:
    """With what may come on top: cache writes at twice the rate, a fast mode, searches by the vendor."""
    factor = Decimal(2) if b'"cache_control"' in raw else Decimal("1.25")
    factor *= Decimal(6) if body.get("speed") == "fast" else Decimal("1.1") if body.get("inference_geo") else 1
    searches = _SEARCH_FEE if b"web_search" in raw or b"google_search" in raw or b"googleSearch" in raw else Decimal(0)
    return times(usd, factor) + searches


def _stated(body: dict[str, Any]) -> int | None:
    for place in (body, body.get("generationConfig"), body.get("inferenceConfig"), body.get("textGenerationConfig")):
        for name in _LIMITS:
            value = place.get(name) if isinstance(place, dict) else None
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return None


def _times_asked(body: dict[str, Any]) -> int:
    config = body.get("generationConfig")
    wanted = [body.get(n) for n in _MANY] + [config.get(n) for n in _MANY if isinstance(config, dict)]
    return max([1, *(n for n in wanted if isinstance(n, int) and not isinstance(n, bool))])


def _sizes(vendor: str, model: str) -> tuple[int, int]:
    """The model's context and its longest output, in tokens."""
    name = names.model(vendor, model) or ""
    try:
        context = table().model(vendor, name).context_window or _CONTEXT
    except Unpriced:
        context = _CONTEXT
    longest = overlay().first("longest_output", vendor, name)
    return context, longest["tokens"] if longest else min(context, _OUTPUT)


def _from_url(url: str) -> str:
    found = _IN_URL.search(url)
    return found[1] if found else ""


def _region(exchange: Exchange, vendor: str) -> str | None:
    place = _LOCATION.search(exchange.request.parts.path)
    if place:
        return place[1]
    host = exchange.request.parts.hostname or ""
    if vendor == "openai" and re.fullmatch(r"[a-z]{2}\.api\.openai\.com", host):
        return host[:2]
    aws = re.search(r"\.([a-z]{2}-[a-z-]+-\d)\.", host)
    return aws[1] if vendor == "bedrock" and aws else None
