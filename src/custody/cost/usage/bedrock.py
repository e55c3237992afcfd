"""Bedrock's own counts. Cached tokens lie beside the input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from custody.cost.record import Unpriced
from custody.cost.usage.counts import Counted, count, unknown_fields

_NAMES = {
    "input": ("inputTokens", "inputTokenCount", "inputTextTokenCount", "prompt_token_count", "input_tokens"),
    "output": (
        "outputTokens",
        "outputTokenCount",
        "totalOutputTextTokenCount",
        "tokenCount",
        "generation_token_count",
        "output_tokens",
    ),
    "cache_read": ("cacheReadInputTokens", "cacheReadInputTokenCount", "cache_read_input_tokens"),
    "cache_write": ("cacheWriteInputTokens", "cacheWriteInputTokenCount", "cache_creation_input_tokens"),
}
_HEADERS = {
    "input": "x-amzn-bedrock-input-token-count",
    "output": "x-amzn-bedrock-output-token-count",
    "cache_read": "x-amzn-bedrock-cache-read-input-token-count",
    "cache_write": "x-amzn-bedrock-cache-write-input-token-count",
}
_METRICS = "amazon-bedrock-invocationMetrics"
_KNOWN = frozenset(
    (
        *(name for names in _NAMES.values() for name in names),
        *_HEADERS.values(),
        *("totalTokens", "totalTokenCount", "cacheDetails", "invocationLatency", "firstByteLatency", "latencyMs"),
        *("results", "serverToolUsage", _METRICS, "cache_creation"),
    )
)
_TTL = {"5m": "cache_write_5m", "1h": "cache_write_1h"}


def read(raw: dict[str, Any]) -> Counted:
    """Raises ``Unpriced`` where usage is missing or does not add up."""
    metrics = raw.get(_METRICS)
    own = models_own(raw)
    stated = {name: raw[header] for name, header in _HEADERS.items() if header in raw}
    every = {**{_NAMES[n][0]: v for n, v in stated.items()}, **(metrics if isinstance(metrics, dict) else {}), **own}
    given, made = count(every, *_NAMES["input"]), count(every, *_NAMES["output"])
    if given is None or made is None:
        raise Unpriced("usage_missing")
    counted = Counted()
    counted.add("input", given)
    counted.add("output", made)
    counted.add("cache_read", count(every, *_NAMES["cache_read"]) or 0)
    written = count(every, *_NAMES["cache_write"]) or 0
    for name, tokens in _by_lifetime(every.get("cacheDetails"), written).items():
        counted.add(name, tokens)
    total = count(every, "totalTokens", "totalTokenCount")
    if total != given + made:  # some models leave the cached tokens out of the total
        counted.must_be(total)
    counted.unknown += unknown_fields(every, _KNOWN)
    return counted


def models_own(raw: dict[str, Any]) -> dict[str, Any]:
    """What the model itself counted, without Bedrock's headers and metrics."""
    return {name: value for name, value in raw.items() if name not in (_METRICS, *_HEADERS.values())}


def from_headers(headers: Mapping[str, str]) -> dict[str, Any]:
    """InvokeModel's counts; empty where they are not there."""
    found = {name: headers[header] for name, header in _HEADERS.items() if header in headers}
    return {_NAMES[name][0]: int(value) for name, value in found.items() if value.isascii() and value.isdigit()}


def _by_lifetime(details: Any, written: int) -> dict[str, int]:
    by_ttl: dict[str, int] = {}
    for entry in details if isinstance(details, list) else []:
        ttl = str(entry.get("ttl")) if isinstance(entry, dict) else ""
        if ttl not in _TTL:
            raise Unpriced("unit_unpriced", f"cache writes that live for {ttl}")
        by_ttl[_TTL[ttl]] = by_ttl.get(_TTL[ttl], 0) + (count(entry, "inputTokens") or 0)
    if by_ttl and sum(by_ttl.values()) != written:
        raise Unpriced("usage_inconsistent", "the cache writes by lifetime are not all cache writes")
    return by_ttl or {"cache_write_5m": written}
