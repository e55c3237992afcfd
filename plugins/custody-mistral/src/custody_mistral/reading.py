"""Reads a finished exchange: model, vendor's ids, usage, outcome. Pure functions of the exchange.

Sources: the models of mistralai 3.7 for bodies; recorded traffic for the header ``mistral-correlation-id``;
the SDK's list of servers for the regions.
"""

from __future__ import annotations

from typing import Any

from custody.plugin import (
    Exchange,
    Finding,
    Forensics,
    Outcome,
    Usage,
    absence,
    body_finding,
    build_date,
    count,
    found,
    header_finding,
    plain_numbers,
    scalars,
    unknown,
)
from custody_mistral.answer import Answer, answer_of, dicts

_REGIONS = ("eu", "us")
_NO_TOKENS = frozenset("models files batches agents libraries fine_tuning".split())
_PARAMETERS = tuple(
    "temperature top_p max_tokens min_tokens random_seed n stream safe_prompt presence_penalty frequency_penalty "
    "response_format.type tool_choice parallel_tool_calls prompt_mode reasoning_effort service_tier store agent_id "
    "encoding_format output_dtype output_dimension include_image_base64 language handoff_execution "
    "completion_args.temperature completion_args.top_p completion_args.max_tokens completion_args.random_seed "
    "completion_args.response_format.type completion_args.tool_choice".split()
)


def read(exchange: Exchange) -> Forensics:
    """Everything that one of Mistral's exchanges says."""
    answer = answer_of(exchange)
    body, request = answer.body, exchange.request_json
    model = body_finding(exchange, body.get("model") or None, answer.prefix + answer.model_field)
    usage = _usage(answer)
    return Forensics(
        findings={
            "requested_model": _from_request(request, "model"),
            "actual_model": model,
            "model_build_date": build_date(model),
            "api_version": _api_version(exchange),
            "deployment_region": _region(exchange),
            "provider_request_id": header_finding(exchange, "mistral-correlation-id", "x-kong-request-id"),
            "response_id": _response_id(exchange, answer),
            "service_tier": _tier(exchange, answer),
            "service_tier_requested": _from_request(request, "service_tier"),
            "finish_reason": body_finding(exchange, answer.finish_reason, f"{answer.prefix}choices[].finish_reason"),
        },
        parameters=_parameters(request),
        usage=usage,
        usage_reason=_no_usage(exchange),
        outcome=_outcome(exchange, answer),
    )


def _from_request(request: Any, name: str) -> Finding:
    value = request.get(name) if isinstance(request, dict) else None
    return found(value, "request_body", name) if isinstance(value, str) and value else unknown("not_stated")


def _api_version(exchange: Exchange) -> Finding:
    parts = [part for part in exchange.request.parts.path.split("/") if part[:1] == "v" and part[1:2].isdigit()]
    return found(parts[0], "url", "path") if parts else unknown("not_stated")


def _region(exchange: Exchange) -> Finding:
    host = exchange.request.parts.hostname or ""
    for name in _REGIONS:
        if host == f"api.{name}.mistral.ai":
            return found(name, "url", "host")
    return unknown("not_stated")


def _response_id(exchange: Exchange, answer: Answer) -> Finding:
    for name in ("id", "conversation_id"):
        if answer.body.get(name):
            return body_finding(exchange, answer.body[name], answer.prefix + name)
    return unknown(absence(exchange))


def _tier(exchange: Exchange, answer: Answer) -> Finding:
    usage = answer.body.get("usage")
    stated = usage.get("service_tier") if isinstance(usage, dict) else None
    return body_finding(exchange, stated or None, f"{answer.prefix}usage.service_tier")


def _usage(answer: Answer) -> Usage | None:
    """Tokens in disjoint classes. Cached ones lie inside the prompt's, connectors' beside them.

    OCR counts pages, which are kept as they are.
    """
    pages = answer.body.get("usage_info")
    if isinstance(pages, dict):
        return Usage(None, None, raw=plain_numbers(pages), evidence="response_body:usage_info")
    raw = answer.body.get("usage")
    if not isinstance(raw, dict):
        return None
    given, made = count(raw.get("prompt_tokens")), count(raw.get("completion_tokens"))
    if given is None and made is None:
        return None
    cached = count(_details(raw, "prompt_tokens_details", "prompt_token_details").get("cached_tokens"))
    reasoning = count(_details(raw, "completion_tokens_details").get("reasoning_tokens"))
    if given is None or (cached or 0) > given:
        cached = None
    if made is None or (reasoning or 0) > made:
        reasoning = None
    connectors = count(raw.get("connector_tokens")) or 0
    return Usage(
        input=None if given is None else given - (cached or 0) + connectors,
        output=None if made is None else made - (reasoning or 0),
        cache_read=cached,
        reasoning=reasoning,
        raw=plain_numbers(raw),
        evidence=f"response_body:{answer.prefix}usage",
    )


def _details(raw: dict[str, Any], *names: str) -> dict[str, Any]:
    return next((raw[name] for name in names if isinstance(raw.get(name), dict)), {})


def _no_usage(exchange: Exchange) -> str:
    reason = absence(exchange)
    return "not_applicable" if reason == "not_stated" and exchange.claim.operation in _NO_TOKENS else reason


def _parameters(request: Any) -> dict[str, Any]:
    if not isinstance(request, dict):
        return {}
    kept = scalars(request, *_PARAMETERS)
    messages = request.get("messages")
    if isinstance(messages, list):
        kept["messages"] = len(messages)
        system = [m.get("content") for m in dicts(messages) if m.get("role") == "system"]
        kept["system_prompt_chars"] = sum(len(text) for text in system if isinstance(text, str))
    elif isinstance(request.get("instructions"), str):
        kept["system_prompt_chars"] = len(request["instructions"])
    if isinstance(request.get("tools"), list):
        kept["tools"] = len(request["tools"])
    return kept


def _outcome(exchange: Exchange, answer: Answer) -> Outcome | None:
    if exchange.ending == "broken" and answer.error:
        return "error"
    if not exchange.succeeded:
        return None
    return "error" if answer.error else answer.outcome
