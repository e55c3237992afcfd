"""Anthropic's usage object. Cached tokens lie beside the input, thinking inside the output.

Where ``iterations`` are listed, they are what is billed, each at its own model, and the figures above them are not.
"""

from __future__ import annotations

from typing import Any

from custody.cost.record import Unpriced
from custody.cost.usage.counts import Counted, count, part, unknown_fields

_KNOWN = frozenset(
    (
        "input_tokens output_tokens cache_creation_input_tokens cache_read_input_tokens cache_creation "
        "output_tokens_details server_tool_use service_tier inference_geo speed iterations type model"
    ).split()
)
_TTLS = {"ephemeral_5m_input_tokens": "cache_write_5m", "ephemeral_1h_input_tokens": "cache_write_1h"}
_KNOWN_TTLS = frozenset(_TTLS)


def read(raw: dict[str, Any]) -> list[Counted]:
    """One for each model run that is billed. Raises ``Unpriced`` where usage is missing or does not add up."""
    iterations = raw.get("iterations")
    if not isinstance(iterations, list) or not iterations:
        return [_entry(raw)]
    return [_iteration(entry) for entry in iterations]


def _iteration(entry: Any) -> Counted:
    if not isinstance(entry, dict):
        raise Unpriced("usage_inconsistent", "an iteration is no object")
    counted = _entry(entry)
    model = entry.get("model")
    if isinstance(model, str) and model:
        counted.model = model
    elif str(entry.get("type") or "message") not in ("message", "compaction"):
        raise Unpriced("model_unresolved", f"an iteration of type {entry.get('type')} names no model")
    return counted


def _entry(raw: dict[str, Any]) -> Counted:
    given, made = count(raw, "input_tokens"), count(raw, "output_tokens")
    if given is None or made is None:
        raise Unpriced("usage_missing")
    counted = Counted()
    thinking = count(part(raw, "output_tokens_details"), "thinking_tokens", "reasoning_tokens") or 0
    counted.add("input", given)
    counted.add("reasoning", thinking)
    counted.add("output", made - thinking)
    counted.add("cache_read", count(raw, "cache_read_input_tokens") or 0)
    written, split = count(raw, "cache_creation_input_tokens"), part(raw, "cache_creation")
    by_ttl = {name: count(split, field) or 0 for field, name in _TTLS.items()} if split else {}
    if any(by_ttl.values()):
        if written is not None and sum(by_ttl.values()) != written:
            raise Unpriced("usage_inconsistent", "the cache writes by lifetime are not all cache writes")
        for name, tokens in by_ttl.items():
            counted.add(name, tokens)
    else:
        counted.add("cache_write_5m", written or 0)  # the default lifetime, and the only one without the split
    counted.unknown += unknown_fields(raw, _KNOWN)
    counted.unknown += unknown_fields(split, _KNOWN_TTLS, "cache_creation.")
    return counted
