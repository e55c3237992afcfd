"""Anthropic's Messages and Complete APIs; Bedrock's Claude models answer with the same bodies."""

from __future__ import annotations

from typing import Any

from wireplay.oracle.expected import Asked, Expected, date_in, server_sent, whole
from wireplay.recordings import Recorded


def expect(recorded: Recorded, asked: Asked) -> Expected:
    body, usage, says = message(server_sent(recorded), whole(recorded))
    model, reason = body.get("model"), body.get("stop_reason")
    geo = usage.get("inference_geo")
    return Expected(
        fields={
            "requested_model": asked.field("model"),
            "actual_model": model,
            "vendor": "Anthropic",
            "api_version": asked.headers.get("anthropic-version"),
            "model_build_date": date_in(model),
            "deployment_region": None if geo == "not_available" else geo,
            "finish_reason": reason,
            "provider_request_id": recorded.header("request-id"),
            "response_id": body.get("id"),
            "organization": recorded.header("anthropic-organization-id"),
            "project": recorded.header("anthropic-workspace-id"),
            "system_fingerprint": None,
            "service_tier_requested": asked.field("service_tier"),
            "service_tier": usage.get("service_tier"),
            "vendor_processing_ms": None,
        },
        usage=tokens(usage),
        raw_usage=usage or None,
        outcome=outcome(reason, says=says),
    )


def message(events: list[tuple[str, Any]], body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], bool]:
    """The message's fields, its usage, and whether it says anything."""
    if not events:
        blocks = body.get("content") or []
        says = any(block.get("text") or block["type"] in ("tool_use", "server_tool_use") for block in blocks)
        return body, body.get("usage") or {}, says or bool(body.get("completion"))
    merged: dict[str, Any] = {}
    usage: dict[str, Any] = {}
    says = False
    for name, event in events:
        if name == "message_start":
            merged |= event["message"]
            usage |= event["message"]["usage"]
        elif name == "message_delta":
            merged |= event["delta"]
            usage |= event.get("usage") or {}
        elif name == "content_block_start":
            says |= event["content_block"]["type"] in ("tool_use", "server_tool_use")
        elif name == "content_block_delta":
            says |= bool(event["delta"].get("text"))
        elif name == "completion":
            merged |= {k: v for k, v in event.items() if v is not None}
            says |= bool(event["completion"])
    return merged, usage, says


def outcome(reason: str | None, *, says: bool) -> str:
    """By the reason for which it stopped."""
    if reason in ("max_tokens", "model_context_window_exceeded"):
        return "truncated"
    if reason == "refusal":
        return "refused"
    return "success" if says else "empty"


def tokens(usage: dict[str, Any]) -> dict[str, int | None] | None:
    """Cached tokens are counted outside the input, thinking inside the output."""
    if not usage:
        return None
    thinking = (usage.get("output_tokens_details") or {}).get("thinking_tokens")
    return {
        "input": usage.get("input_tokens"),
        "output": usage["output_tokens"] - (thinking or 0),
        "cache_read": usage.get("cache_read_input_tokens"),
        "cache_write": usage.get("cache_creation_input_tokens"),
        "reasoning": thinking,
    }
