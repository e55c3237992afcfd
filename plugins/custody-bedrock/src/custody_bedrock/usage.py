"""Tokens in disjoint classes. Bedrock counts cached tokens outside the input, whoever made the model.

The model's own counts come first; what it leaves out is taken from Bedrock's: headers of InvokeModel, the
metrics in the last event of its stream. Both are kept in ``raw``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from custody.plugin import Exchange, Usage, plain_numbers
from custody_bedrock.answer import Answer
from custody_bedrock.streams import METRICS

_NAMES = {
    "input": ("inputTokens", "input_tokens", "prompt_token_count", "inputTextTokenCount", "prompt_tokens"),
    "output": (
        "outputTokens",
        "output_tokens",
        "generation_token_count",
        "totalOutputTextTokenCount",
        "tokenCount",
        "completion_tokens",
    ),
    "cache_read": ("cacheReadInputTokens", "cacheReadInputTokenCount", "cache_read_input_tokens"),
    "cache_write": ("cacheWriteInputTokens", "cacheWriteInputTokenCount", "cache_creation_input_tokens"),
}
_METRICS = {
    "input": "inputTokenCount",
    "output": "outputTokenCount",
    "cache_read": "cacheReadInputTokenCount",
    "cache_write": "cacheWriteInputTokenCount",
}
_HEADERS = {
    "input": "x-amzn-bedrock-input-token-count",
    "output": "x-amzn-bedrock-output-token-count",
    "cache_read": "x-amzn-bedrock-cache-read-input-token-count",
    "cache_write": "x-amzn-bedrock-cache-write-input-token-count",
}


class _Count(NamedTuple):
    value: int
    evidence: str


def usage(exchange: Exchange, answer: Answer) -> Usage | None:
    """None where nobody counted."""
    counts = {name: _counted(exchange, answer, name) for name in _NAMES}
    if counts["input"] is None and counts["output"] is None:
        return None
    headers = {name: value for name in _HEADERS.values() if (value := _header(exchange, name)) is not None}
    raw = {
        **plain_numbers(answer.usage),
        **({METRICS: plain_numbers(answer.metrics)} if answer.metrics else {}),
        **headers,
    }
    # Titan and the like count every result apart; Anthropic states thinking inside the output.
    details = answer.usage.get("output_tokens_details")
    thinking = whole(details.get("thinking_tokens")) if isinstance(details, dict) else None
    output = _value(counts["output"])
    if output is None or (thinking or 0) > output:
        thinking = None
    return Usage(
        input=_value(counts["input"]),
        output=None if output is None else output - (thinking or 0),
        cache_read=_value(counts["cache_read"]),
        cache_write=_value(counts["cache_write"]),
        reasoning=thinking,
        raw=raw,
        evidence="+".join(dict.fromkeys(c.evidence for c in counts.values() if c is not None)),
    )


def whole(value: Any) -> int | None:
    """A count; Titan writes its counts as 28.0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return int(value) if value >= 0 and value == value // 1 and value < 2**53 else None


def _value(count: _Count | None) -> int | None:
    return count.value if count is not None else None


def _counted(exchange: Exchange, answer: Answer, name: str) -> _Count | None:
    own = next((n for key in _NAMES[name] if (n := whole(answer.usage.get(key))) is not None), None)
    begun = "message_start.message.usage" in answer.usage_places and "message_delta.usage" not in answer.usage_places
    if own is not None and not (name == "output" and begun):  # what message_start says of it is where it began
        return _Count(own, "response_body:" + "+".join(dict.fromkeys(answer.usage_places)))
    stated = whole(answer.metrics.get(_METRICS[name]))
    if stated is not None:
        return _Count(stated, f"response_body:{METRICS}")
    counted = _header(exchange, _HEADERS[name])
    return _Count(counted, f"response_header:{_HEADERS[name]}") if counted is not None else None


def _header(exchange: Exchange, name: str) -> int | None:
    value = exchange.head.header(name) if exchange.head else None
    return int(value) if value and value.isascii() and value.isdigit() and len(value) < 16 else None
