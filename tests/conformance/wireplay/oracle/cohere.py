"""Cohere's API, versions 1 and 2."""

from __future__ import annotations

from typing import Any

from wireplay.oracle.expected import Asked, Expected, lines, server_sent, whole
from wireplay.recordings import Recorded


def expect(recorded: Recorded, asked: Asked) -> Expected:
    body = _merged(recorded)
    usage = body.get("usage") or {k: v for k, v in (body.get("meta") or {}).items() if k != "api_version"}
    tokens = usage.get("tokens") or usage.get("billed_units") or {}
    cached = usage.get("cached_tokens")
    given, made = tokens.get("input_tokens"), tokens.get("output_tokens")
    reasons = {part["finish_reason"] for part in body.get("generations", [body]) if part.get("finish_reason")}
    reason = ",".join(sorted(reasons)) or None
    return Expected(
        fields={
            "requested_model": asked.field("model"),
            "actual_model": None,  # no answer names it
            "vendor": "Cohere",
            "api_version": recorded.path.split("/")[1],
            "model_build_date": None,
            "deployment_region": None,
            "finish_reason": reason,
            "provider_request_id": recorded.header("x-debug-trace-id"),
            "response_id": body.get("response_id") or body.get("id"),
            "organization": None,
            "project": None,
            "system_fingerprint": None,
            "service_tier_requested": None,
            "service_tier": None,
            "vendor_processing_ms": None,
        },
        usage={
            "input": given - (cached or 0) if given is not None else None,
            "output": made,
            "cache_read": cached,
            "cache_write": None,
            "reasoning": None,
        }
        if given is not None or made is not None
        else None,
        raw_usage=usage or None,
        outcome=_outcome(recorded, reason),
    )


def _outcome(recorded: Recorded, reason: str | None) -> str:
    if recorded.status >= 400:
        return "error"
    return {"MAX_TOKENS": "truncated", "ERROR_TOXIC": "filtered", "ERROR": "error"}.get(reason or "", "success")


def _merged(recorded: Recorded) -> dict[str, Any]:
    if recorded.content_type == "text/event-stream":
        merged: dict[str, Any] = {}
        for name, event in server_sent(recorded):
            merged |= {"id": event["id"]} if name == "message-start" else {}
            merged |= event["delta"] if name == "message-end" else {}
        return merged
    if recorded.content_type == "application/stream+json":
        return dict(list(lines(recorded))[-1]["response"])
    return whole(recorded)
