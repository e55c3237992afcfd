"""OpenAI's protocol, as OpenAI, Azure, Groq, DeepSeek, Together and Voyage speak it."""

from __future__ import annotations

import re
from typing import Any

from wireplay.oracle.expected import Asked, Expected, date_in, server_sent, version_in, whole
from wireplay.recordings import Recorded

_VENDORS = {
    "api.openai.com": "OpenAI",
    "api.groq.com": "Groq",
    "api.deepseek.com": "DeepSeek",
    "api.together.ai": "Together",
    "api.together.xyz": "Together",
    "api.mistral.ai": "Mistral",
    "api.voyageai.com": "Voyage AI",
}


def expect(recorded: Recorded, asked: Asked) -> Expected:
    completion = recorded.path.endswith("/completions")
    choices, body = _merged(recorded)
    azure = recorded.host.endswith(".openai.azure.com")
    deployment = re.search("/deployments/([^/]+)/", recorded.path)
    model = body.get("model") or None
    raw = body.get("usage") or (body.get("x_groq") or {}).get("usage")
    milliseconds = recorded.header("openai-processing-ms")
    reason, outcome = _ending(recorded, body, choices, completion=completion)
    return Expected(
        fields={
            "requested_model": deployment[1] if deployment else asked.field("model"),
            "actual_model": model,
            "vendor": "Azure OpenAI" if azure else _VENDORS[recorded.host],
            "api_version": recorded.query.get("api-version")
            or recorded.header("openai-version")
            or version_in(recorded.path),
            "model_build_date": date_in(model),
            "deployment_region": recorded.header("x-ms-region") or recorded.header("x-groq-region"),
            "finish_reason": reason,
            "provider_request_id": _request_id(recorded),
            "response_id": body.get("id"),
            "organization": recorded.header("openai-organization"),
            "project": recorded.header("openai-project"),
            "system_fingerprint": body.get("system_fingerprint") or None,
            "service_tier_requested": asked.field("service_tier"),
            "service_tier": body.get("service_tier") or None,
            "vendor_processing_ms": float(milliseconds) if milliseconds else None,
        },
        usage=_usage(raw),
        raw_usage=raw,
        outcome=outcome,
    )


def _request_id(recorded: Recorded) -> str | None:
    named = ("apim-request-id", "x-request-id", "x-ds-trace-id")
    return next((value for name in named if (value := recorded.header(name))), None)


def _merged(recorded: Recorded) -> tuple[dict[int, dict[str, Any]], dict[str, Any]]:
    """Finish reason and whether anything was said, by choice; and the fields beside the choices."""
    events = server_sent(recorded)
    parts = [event for _, event in events] or [whole(recorded)]
    for _, event in events:
        if "response" in event:  # the Responses API repeats the whole object; the last one is final
            parts = [event["response"]]
    runs = [event for _, event in events if event.get("object") == "thread.run"]  # so do the Assistants
    parts = runs[-1:] or parts
    choices: dict[int, dict[str, Any]] = {}
    body: dict[str, Any] = {}
    for part in parts:
        body |= {k: v for k, v in part.items() if k != "choices" and v not in (None, "")}
        for choice in part.get("choices") or []:
            kept = choices.setdefault(choice.get("index", 0), {"reason": None, "says": False, "refuses": False})
            said = choice.get("message") or choice.get("delta") or choice
            kept["reason"] = choice.get("finish_reason") or kept["reason"]
            kept["refuses"] |= bool(said.get("refusal"))
            kept["says"] |= any(
                said.get(k) for k in ("content", "text", "tool_calls", "function_call", "audio", "reasoning_content")
            )
    return choices, body


def _ending(
    recorded: Recorded, body: dict[str, Any], choices: dict[int, dict[str, Any]], *, completion: bool
) -> tuple[str | None, str]:
    """The finish reason, and how the call went."""
    if recorded.status >= 400:
        return None, "error"
    if body.get("error"):
        return None, "filtered" if body["error"].get("code") == "content_filter" else "error"
    if completion:
        if not body:
            return None, "error"  # a 200 without an answer in it
        reasons = sorted({choice["reason"] for choice in choices.values() if choice["reason"]})
        outcome = "success" if any(choice["says"] for choice in choices.values()) else "empty"
        for reason, word in (("content_filter", "filtered"), ("length", "truncated")):
            outcome = word if reason in reasons else outcome
        if any(choice["refuses"] for choice in choices.values()):
            outcome = "refused"
        return ",".join(reasons) or None, outcome
    if body.get("object") == "response":
        cut = (body.get("incomplete_details") or {}).get("reason")
        outcome = "success" if body["status"] == "completed" else "incomplete"
        if body["status"] == "completed" and not body.get("output"):
            outcome = "empty"
        if cut in ("max_output_tokens", "content_filter"):
            outcome = {"max_output_tokens": "truncated", "content_filter": "filtered"}[cut]
        return cut or body["status"], outcome
    return None, "success"


def _usage(raw: dict[str, Any] | None) -> dict[str, int | None] | None:
    """Cached tokens are counted inside the input, reasoning inside the output. Embeddings state a total only."""
    if not raw:
        return None
    given = raw.get("prompt_tokens", raw.get("input_tokens"))
    made = raw.get("completion_tokens", raw.get("output_tokens"))
    if given is None and made is None:
        given = raw.get("total_tokens")
    inside = (
        raw.get("prompt_tokens_details") or raw.get("input_tokens_details") or raw.get("prompt_token_details") or {}
    )
    outside = raw.get("completion_tokens_details") or raw.get("output_tokens_details") or {}
    cached = inside.get("cached_tokens", raw.get("cached_tokens", raw.get("prompt_cache_hit_tokens")))
    reasoning = outside.get("reasoning_tokens")
    return {
        "input": given - (cached or 0) if given is not None else None,
        "output": made - (reasoning or 0) if made is not None else None,
        "cache_read": cached,
        "cache_write": inside.get("cache_write_tokens"),
        "reasoning": reasoning,
    }
