"""Amazon Bedrock: Converse and the bodies of each maker's models, whole and in event streams.

The frames are taken apart here: 4 bytes length, 4 bytes length of the headers, 4 bytes CRC-32 of these;
headers as (1 byte length, name, type 7, 2 bytes length, value); the payload; 4 bytes CRC-32 of everything.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterator
from typing import Any

from wireplay.oracle import anthropic
from wireplay.oracle.expected import Asked, Expected, date_in, whole
from wireplay.recordings import Recorded

_MAKER_REASONS = {
    "truncated": {"max_tokens", "length", "LENGTH", "MAX_TOKENS", "model_context_window_exceeded"},
    "filtered": {"guardrail_intervened", "content_filtered", "CONTENT_FILTERED", "ERROR_TOXIC"},
    "refused": {"refusal"},
}


def expect(recorded: Recorded, asked: Asked) -> Expected:
    named = re.search("/model/(.+)/[^/]+$", recorded.path)
    model = named[1] if named else None
    events = list(_events(recorded)) if recorded.content_type == "application/vnd.amazon.eventstream" else []
    body = _of_events(events) if events else whole(recorded)
    reason = _reason(body)
    geography, plain = _profile(model or "")
    actual = body.get("model") or plain if model and recorded.status < 400 else None
    latency = (
        (body.get("metrics") or {}).get("latencyMs")
        or (body.get("amazon-bedrock-invocationMetrics") or {}).get("invocationLatency")
        or recorded.header("x-amzn-bedrock-invocation-latency")
    )
    return Expected(
        fields={
            "requested_model": model,
            "actual_model": actual,
            "vendor": "Amazon Bedrock",
            "api_version": asked.field("anthropic_version"),
            "model_build_date": date_in(actual),
            "deployment_region": geography or recorded.host.split(".")[1],
            "finish_reason": reason,
            "provider_request_id": recorded.header("x-amzn-requestid"),
            "response_id": next(
                (body[k] for k in ("id", "response_id") if isinstance(body.get(k), str) and body[k]), None
            ),
            "organization": None,
            "project": None,
            "system_fingerprint": body.get("system_fingerprint"),
            "service_tier_requested": asked.field("serviceTier"),
            "service_tier": body.get("serviceTier"),
            "vendor_processing_ms": float(latency) if latency else None,
        },
        usage=_usage(recorded, body),
        raw_usage=...,
        outcome="error" if recorded.status >= 400 else _outcome(body, reason),
    )


def _profile(model: str) -> tuple[str | None, str]:
    """Bedrock's names are the models' own, and only few answers repeat one. The name of an inference profile,
    by itself or at the end of its ARN, begins with the geography in which the request may be served."""
    geography, dot, rest = model.rpartition("/")[2].partition(".")
    return (geography, rest) if dot and geography in ("us", "eu", "apac", "global") else (None, model)


def _events(recorded: Recorded) -> Iterator[dict[str, Any]]:
    """The payloads: of Converse under the event's name, of an invocation what its ``bytes`` hold."""
    rest = recorded.body
    while rest:
        size, head = int.from_bytes(rest[:4], "big"), int.from_bytes(rest[4:8], "big")
        frame, rest = rest[:size], rest[size:]
        assert zlib.crc32(frame[:-4]) == int.from_bytes(frame[-4:], "big")
        payload = json.loads(frame[12 + head : -4])
        names = _headers(frame[12 : 12 + head])
        yield json.loads(base64.b64decode(payload["bytes"])) if "bytes" in payload else {names[":event-type"]: payload}


def _headers(data: bytes) -> dict[str, str]:
    found = {}
    while data:
        end = 1 + data[0]
        assert data[end] == 7
        size = int.from_bytes(data[end + 1 : end + 3], "big")
        found[data[1:end].decode()] = data[end + 3 : end + 3 + size].decode()
        data = data[end + 3 + size :]
    return found


def _of_events(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The fields of a whole answer, put together."""
    if any(event.get("type") == "message_start" for event in events):
        body, usage, says = anthropic.message([(event["type"], event) for event in events], {})
        return {**body, "usage": usage, "says": says, **_metrics(events)}
    merged: dict[str, Any] = {"says": False}
    for event in events:
        merged["says"] |= bool(event.get("outputText") or "contentBlockDelta" in event or "contentBlockStart" in event)
        merged |= event.get("messageStop") or {}
        merged |= event.get("metadata") or {}
        merged |= {k: v for k, v in event.items() if v is not None and not isinstance(v, dict)}
    return {**merged, **_metrics(events)}


def _metrics(events: list[dict[str, Any]]) -> dict[str, Any]:
    name = "amazon-bedrock-invocationMetrics"
    found = [event[name] for event in events if name in event]
    return {name: found[-1]} if found else {}


def _parts(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Where a maker's answer may lie inside of its body."""
    inside = [body.get(name) for name in ("results", "generations", "completions", "outputs", "choices")]
    return [body, *(part for parts in inside if isinstance(parts, list) for part in parts if isinstance(part, dict))]


def _reason(body: dict[str, Any]) -> str | None:
    names = ("stopReason", "stop_reason", "completionReason", "finish_reason", "finishReason")
    found = [part[name] for part in _parts(body) for name in names if part.get(name)]
    reason = found[0] if found else None
    return reason["reason"] if isinstance(reason, dict) else reason


def _outcome(body: dict[str, Any], reason: str | None) -> str:
    if body.get("amazon-bedrock-guardrailAction") == "INTERVENED" or body.get("action") == "GUARDRAIL_INTERVENED":
        return "filtered"
    words = [word for word, reasons in _MAKER_REASONS.items() if reason in reasons]
    return words[0] if words else "success"


def _usage(recorded: Recorded, body: dict[str, Any]) -> dict[str, int | None] | None:
    """Cached tokens are counted outside the input. Where the body counts nothing, headers or metrics do."""
    if recorded.path.endswith("/apply"):
        return None
    raw = body.get("usage") or {}
    metrics = body.get("amazon-bedrock-invocationMetrics") or {}
    results = [part for part in _parts(body) if "tokenCount" in part]
    given = _first(
        raw.get("inputTokens"),
        raw.get("input_tokens"),
        raw.get("prompt_tokens"),
        body.get("prompt_token_count"),
        body.get("inputTextTokenCount"),
        metrics.get("inputTokenCount"),
        _number(recorded, "x-amzn-bedrock-input-token-count"),
    )
    made = _first(
        raw.get("outputTokens"),
        raw.get("output_tokens"),
        raw.get("completion_tokens"),
        body.get("generation_token_count"),
        sum(part["tokenCount"] for part in results) if results else None,
        metrics.get("outputTokenCount"),
        body.get("totalOutputTextTokenCount"),
        _number(recorded, "x-amzn-bedrock-output-token-count"),
    )
    if given is None and made is None:
        return None
    return {
        "input": given,
        "output": made,
        "cache_read": _first(
            raw.get("cacheReadInputTokens"),
            raw.get("cacheReadInputTokenCount"),
            raw.get("cache_read_input_tokens"),
            metrics.get("cacheReadInputTokenCount"),
            _number(recorded, "x-amzn-bedrock-cache-read-input-token-count"),
        ),
        "cache_write": _first(
            raw.get("cacheWriteInputTokens"),
            raw.get("cacheWriteInputTokenCount"),
            raw.get("cache_creation_input_tokens"),
            metrics.get("cacheWriteInputTokenCount"),
            _number(recorded, "x-amzn-bedrock-cache-write-input-token-count"),
        ),
        "reasoning": None,
    }


def _number(recorded: Recorded, header: str) -> int | None:
    value = recorded.header(header)
    return int(value) if value else None


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
