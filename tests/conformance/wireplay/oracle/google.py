"""Google's Gemini API and Vertex AI: generateContent, its stream, embeddings, caches, interactions."""

from __future__ import annotations

import json
import re
from typing import Any

from wireplay.oracle.expected import Asked, Expected, content, date_in, server_sent
from wireplay.recordings import Recorded

# Enums as numbers, where the request asked for them: google.cloud.aiplatform.v1, Candidate.FinishReason
# and UsageMetadata.TrafficType.
_FINISH = ("FINISH_REASON_UNSPECIFIED", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER")
_TRAFFIC = ("TRAFFIC_TYPE_UNSPECIFIED", "ON_DEMAND", "PROVISIONED_THROUGHPUT")


def expect(recorded: Recorded, asked: Asked) -> Expected:
    parts = [event for _, event in server_sent(recorded)] or _whole(recorded)
    said = _interaction(parts) if recorded.path.endswith("/interactions") else _generated(parts)
    vertex = "aiplatform" in recorded.host
    named = re.search("/models/([^:/]+)", recorded.path)
    project = re.search("/projects/([^/]+)", recorded.path)
    location = re.search("/locations/([^/]+)", recorded.path)
    timing = re.search(r"dur=(\d+)", recorded.header("server-timing") or "")
    model, raw = said["model"], said["usage"]
    return Expected(
        fields={
            "requested_model": named[1] if named else asked.field("model"),
            "actual_model": model,
            "vendor": "Google Vertex AI" if vertex else "Google Gemini API",
            "api_version": recorded.path.split("/")[1],
            "model_build_date": date_in(model),
            "deployment_region": location[1] if location else None,
            "finish_reason": ",".join(sorted(set(said["reasons"]))) or None,
            "provider_request_id": said["id"],  # Google names requests in the body only
            "response_id": said["id"],
            "organization": None,
            "project": project[1] if project else None,
            "system_fingerprint": None,
            "service_tier_requested": asked.field("serviceTier") or asked.field("service_tier"),
            "service_tier": said["tier"],
            "vendor_processing_ms": float(timing[1]) if timing else None,
        },
        usage=_usage(raw or {}),
        raw_usage=raw or None,
        outcome="error" if recorded.status >= 400 else _outcome(recorded, said),
    )


def _whole(recorded: Recorded) -> list[dict[str, Any]]:
    """One object, or the array in which a stream without SSE comes."""
    value = json.loads(content(recorded))
    return value if isinstance(value, list) else [value]


def _generated(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the objects of a stream the last one counts; its counts are cumulative."""
    said: dict[str, Any] = {"model": None, "id": None, "reasons": [], "says": False, "usage": {}, "tier": None}
    for part in parts:
        said["model"] = part.get("modelVersion") or part.get("model") or said["model"]
        said["id"] = part.get("responseId") or said["id"]
        said["usage"] = {**said["usage"], **part.get("usageMetadata", {})}
        for candidate in part.get("candidates", []):
            reason = candidate.get("finishReason")
            said["reasons"] += [_FINISH[reason] if isinstance(reason, int) else reason] if reason else []
            said["says"] |= any(set(p) - {"thought", "thoughtSignature"} for p in candidate["content"].get("parts", []))
    traffic = said["usage"].get("trafficType")
    said["tier"] = said["usage"].get("serviceTier") or (_TRAFFIC[traffic] if isinstance(traffic, int) else traffic)
    return said


def _interaction(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """A stream's last event that repeats the interaction is final."""
    repeated = [part["interaction"] for part in parts if "interaction" in part]
    body = (repeated or parts)[-1]
    status = body["status"]
    return {
        "model": body.get("model"),
        "id": body["id"],
        "reasons": [status] if status in ("completed", "incomplete", "failed", "cancelled") else [],
        "says": status == "completed",
        "usage": body.get("usage"),
        "tier": body.get("service_tier"),
    }


def _outcome(recorded: Recorded, said: dict[str, Any]) -> str:
    if recorded.path.endswith("/interactions"):  # incomplete: as far as the tokens went
        return "success" if said["says"] else "truncated" if "incomplete" in said["reasons"] else "incomplete"
    if not recorded.path.endswith("enerateContent"):
        return "success"
    if "MAX_TOKENS" in said["reasons"]:
        return "truncated"
    if {"SAFETY", "RECITATION"} & set(said["reasons"]):
        return "filtered"
    return "success" if said["says"] else "empty"


def _usage(raw: dict[str, Any]) -> dict[str, int | None] | None:
    """Cached tokens are counted inside the prompt, thoughts outside the candidates, a tool's results beside both."""
    given = raw.get("promptTokenCount", raw.get("total_input_tokens"))
    made = raw.get("candidatesTokenCount", raw.get("total_output_tokens"))
    cached = raw.get("cachedContentTokenCount", raw.get("total_cached_tokens"))
    tools = raw.get("toolUsePromptTokenCount", raw.get("total_tool_use_tokens"))
    total = raw.get("totalTokenCount")
    if made is None and given is not None and total is not None:  # a zero is left out, and the sum shows it
        made = total - given - (tools or 0) - (raw.get("thoughtsTokenCount") or 0)
    if given is None and made is None:
        return None
    return {
        "input": given + (tools or 0) - (cached or 0) if given is not None else None,
        "output": made,
        "cache_read": cached,
        "cache_write": None,
        "reasoning": raw.get("thoughtsTokenCount", raw.get("total_thought_tokens")),
    }
