"""From a vendor's usage object to counts in disjoint classes that add up to the vendor's own total."""

from __future__ import annotations

from typing import Any

from custody.cost.record import Unpriced
from custody.cost.usage import anthropic, bedrock, cohere, gemini, openai
from custody.cost.usage.counts import Counted

_GEMINI = {"promptTokenCount", "candidatesTokenCount", "totalTokenCount", "prompt_token_count", "total_token_count"}
_GEMINI_INTERACTIONS = {"total_input_tokens", "total_output_tokens"}
_CACHED_BESIDE = {"cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation", "iterations"}


def classes(raw: dict[str, Any], *, vendor: str, operation: str, model: str) -> list[Counted]:
    """What was used, one entry for each model run that is billed.

    Raises:
        Unpriced: ``usage_missing`` where it does not say, ``usage_inconsistent`` where it contradicts itself.
    """
    if not raw:
        raise Unpriced("usage_missing")
    counted = _read(raw, vendor, operation, model)
    for entry in counted:
        if entry.unknown:
            raise Unpriced("unit_unpriced", f"nothing is known of the price of {', '.join(entry.unknown[:4])}")
    return counted


def _read(raw: dict[str, Any], vendor: str, operation: str, model: str) -> list[Counted]:
    if vendor == "bedrock" and (own := bedrock.models_own(raw)).keys() & {"input_tokens", "prompt_tokens"}:
        raw = own
    if vendor in ("google", "vertexai") and (raw.keys() & _GEMINI or raw.keys() & _GEMINI_INTERACTIONS):
        return [gemini.read(raw, operation)]
    if vendor == "cohere":
        return [cohere.read(raw)]
    if "prompt_tokens" in raw or "completion_tokens" in raw or _is_openai_model(vendor, model):
        return [openai.read(raw, vendor, operation)]
    of_anthropic = vendor == "anthropic" or "claude" in model or raw.keys() & _CACHED_BESIDE
    if of_anthropic and "inputTokens" not in raw and "input_tokens" in raw:
        return anthropic.read(raw)
    if vendor == "bedrock":
        return [bedrock.read(raw)]
    if vendor in ("google", "vertexai"):
        return [gemini.read(raw, operation)]
    return [openai.read(raw, vendor, operation)]


def _is_openai_model(vendor: str, model: str) -> bool:
    """Azure serves Claude as well, in Anthropic's words."""
    return vendor == "openai" or (vendor == "azure" and "claude" not in model)
