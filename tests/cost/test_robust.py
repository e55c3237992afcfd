"""Whatever a vendor sends: a record comes back, and it is consistent."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custody.cost import price
from custody.record import PRICE_REASONS, PRICE_STATUSES

NAMES = (
    "prompt_tokens completion_tokens total_tokens input_tokens output_tokens prompt_tokens_details cached_tokens "
    "audio_tokens completion_tokens_details reasoning_tokens cache_creation_input_tokens cache_read_input_tokens "
    "cache_creation ephemeral_1h_input_tokens iterations server_tool_use web_search_requests speed inference_geo "
    "service_tier promptTokenCount candidatesTokenCount thoughtsTokenCount totalTokenCount promptTokensDetails "
    "modality tokenCount trafficType inputTokens outputTokens cacheDetails ttl cost is_byok seconds type model "
    "billed_units output content stop_reason stop_details category candidates groundingMetadata tools usage"
).split()
WORDS = ["refusal", "batch", "fast", "us", "TEXT", "AUDIO", "1h", "web_search_call", "claude-opus-5", "\x00", "é"]
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-5, 10**7), st.floats(), st.sampled_from(WORDS))
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=6)),
    max_leaves=12,
)
OBJECT = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=8)
VENDORS = ["openai", "azure", "anthropic", "gemini", "vertexai", "bedrock", "openrouter", "cohere", "x-ai", "nobody"]
MODELS = ["gpt-5.4", "gpt-4o-mini", "claude-opus-4-8", "gemini-2.5-pro", "us.anthropic.claude-opus-5", "", None, 7]


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    vendor=st.sampled_from(VENDORS), model=st.sampled_from(MODELS), usage=st.one_of(OBJECT, JSON),
    response=st.one_of(OBJECT, JSON), tier=SCALARS, region=SCALARS, batch=st.booleans(),
)  # fmt: skip
def test_nothing_raises(
    vendor: str, model: Any, usage: Any, response: Any, tier: Any, region: Any, batch: bool
) -> None:
    record = price(vendor=vendor, api="chat", model=model, usage=usage, response=response, date="2026-11-05",
                   service_tier=tier, region=region, batch=batch)  # fmt: skip
    assert record["status"] in PRICE_STATUSES
    assert (record["cost_usd"] is None) == (record["status"] == "unknown")
    assert (record["reason"] in PRICE_REASONS) == (record["status"] in ("unknown", "lower_bound"))
    if record["cost_usd"] is not None:
        assert Decimal(record["cost_usd"]) >= 0
    assert json.loads(json.dumps(record)) == record
