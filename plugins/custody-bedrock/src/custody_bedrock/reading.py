"""Reads a finished exchange: model, ids, region, usage, outcome. Pure functions of the exchange."""

from __future__ import annotations

from typing import Any

from custody.plugin import (
    Exchange,
    Finding,
    Forensics,
    Outcome,
    absence,
    body_finding,
    build_date,
    found,
    header_finding,
    scalars,
    unknown,
)
from custody_bedrock import address, streams
from custody_bedrock import answer as answers
from custody_bedrock.answer import Answer
from custody_bedrock.usage import usage, whole

_PARAMETERS = (
    "inferenceConfig.maxTokens",
    "inferenceConfig.temperature",
    "inferenceConfig.topP",
    "inferenceConfig.topK",
    "inferenceConfig.max_new_tokens",
    "textGenerationConfig.maxTokenCount",
    "textGenerationConfig.temperature",
    "textGenerationConfig.topP",
    "max_tokens",
    "max_tokens_to_sample",
    "max_gen_len",
    "maxTokens",
    "temperature",
    "top_p",
    "topP",
    "top_k",
    "p",
    "k",
    "seed",
    "thinking.type",
    "thinking.budget_tokens",
    "tool_choice.type",
    "performanceConfig.latency",
    "serviceTier.type",
    "guardrailConfig.guardrailIdentifier",
    "guardrailConfig.guardrailVersion",
    "dimensions",
    "normalize",
    "input_type",
)
_HEADER_PARAMETERS = (
    "x-amzn-bedrock-guardrailidentifier",
    "x-amzn-bedrock-guardrailversion",
    "x-amzn-bedrock-performanceconfig-latency",
    "x-amzn-bedrock-service-tier",
)

_ANSWERING = ("chat", "text_completion", "embeddings", "invoke", "image_generation")
_COUNTLESS = ("count_tokens", "apply_guardrail", "async_invoke")

_BY_REASON: dict[str, Outcome] = {
    "max_tokens": "truncated",
    "length": "truncated",
    "model_context_window_exceeded": "truncated",
    "refusal": "refused",
    "guardrail_intervened": "filtered",
    "content_filtered": "filtered",
    "content_filter": "filtered",
    "error_toxic": "filtered",
    "malformed_model_output": "error",
    "malformed_tool_use": "error",
}


def read(exchange: Exchange) -> Forensics:
    """Everything that an exchange with Bedrock says."""
    where = address.of(exchange.request)
    model = where.model if where else ""
    answer = answers.of(streams.documents(exchange))
    actual = _actual(exchange, answer, model)
    tokens = usage(exchange, answer) if exchange.claim.operation not in _COUNTLESS else None
    return Forensics(
        findings={
            "requested_model": found(model, "url", "model") if model else unknown("not_applicable"),
            "actual_model": actual,
            "model_build_date": build_date(actual),
            "api_version": _api_version(exchange),
            "deployment_region": address.region(exchange.request, model),
            "provider_request_id": header_finding(exchange, "x-amzn-requestid"),
            "response_id": _stated(exchange, answer, "id"),
            "organization": unknown("not_stated"),
            "project": unknown("not_stated"),
            "system_fingerprint": _stated(exchange, answer, "fingerprint"),
            "service_tier_requested": _tier_requested(exchange),
            "service_tier": _or(
                _stated(exchange, answer, "tier"), header_finding(exchange, "x-amzn-bedrock-service-tier")
            ),
            "finish_reason": _stated(exchange, answer, "finish"),
            "vendor_processing_ms": _latency(exchange, answer),
        },
        parameters=_parameters(exchange),
        usage=tokens,
        usage_reason=_no_usage(exchange),
        outcome=_outcome(exchange, answer),
    )


def _stated(exchange: Exchange, answer: Answer, name: str) -> Finding:
    value, where = answer.stated.get(name, (None, ""))
    return body_finding(exchange, value, where)


def _or(first: Finding, second: Finding) -> Finding:
    return second if first.value is None and second.value is not None else first


def _actual(exchange: Exchange, answer: Answer, model: str) -> Finding:
    """What the answer names; else the model that the address leads to, if it answered."""
    stated = _stated(exchange, answer, "model")
    head = exchange.head
    if stated.value is not None or head is None or not 200 <= head.status < 300 or not model:
        return stated
    return _or(stated, address.served(model))


def _api_version(exchange: Exchange) -> Finding:
    """Only Anthropic's models are asked for one, in the body."""
    request = exchange.request_json
    version = request.get("anthropic_version") if isinstance(request, dict) else None
    return (
        found(version, "request_body", "anthropic_version")
        if isinstance(version, str) and version
        else unknown("not_stated")
    )


def _tier_requested(exchange: Exchange) -> Finding:
    request = exchange.request_json
    tier = request.get("serviceTier") if isinstance(request, dict) else None
    kind = tier.get("type") if isinstance(tier, dict) else None
    if isinstance(kind, str) and kind:
        return found(kind, "request_body", "serviceTier.type")
    name = "x-amzn-bedrock-service-tier"
    value = exchange.request.header(name)
    return found(value, "request_header", name) if value else unknown("not_stated")


def _latency(exchange: Exchange, answer: Answer) -> Finding:
    value, where = answer.stated.get("latency", (None, ""))
    stated = body_finding(exchange, whole(value), where)
    if stated.value is not None:
        return stated
    name = "x-amzn-bedrock-invocation-latency"
    header = header_finding(exchange, name)
    text = str(header.value)
    if header.value is None or not (text.isascii() and text.isdigit() and len(text) < 16):
        return stated
    return found(int(text), "response_header", name)


def _parameters(exchange: Exchange) -> dict[str, Any]:
    request = exchange.request_json
    kept: dict[str, Any] = {}
    if isinstance(request, dict):
        kept = scalars(request, *_PARAMETERS)
        system = request.get("system")
        if isinstance(system, str):
            kept["system_prompt_chars"] = len(system)
        elif isinstance(system, list):
            texts = [block.get("text") for block in system if isinstance(block, dict)]
            kept["system_prompt_chars"] = sum(len(text) for text in texts if isinstance(text, str))
        tools = request.get("toolConfig")
        for name, value in (
            ("messages", request.get("messages")),
            ("tools", tools.get("tools") if isinstance(tools, dict) else request.get("tools")),
        ):
            if isinstance(value, list):
                kept[name] = len(value)
    headers = {name: exchange.request.header(name) for name in _HEADER_PARAMETERS}
    return kept | scalars({name: value for name, value in headers.items() if value}, *headers)


def _no_usage(exchange: Exchange) -> str:
    reason = absence(exchange)
    return "not_applicable" if reason == "not_stated" and exchange.claim.operation in _COUNTLESS else reason


def _outcome(exchange: Exchange, answer: Answer) -> Outcome | None:
    if answer.error or any(streams.failed(event) for event in exchange.events):
        return "error"
    if not exchange.succeeded:
        return None
    if answer.intervened:
        return "filtered"
    if exchange.claim.operation not in _ANSWERING:
        return None
    if exchange.content is None:
        return None  # not in a form that can be judged
    if exchange.response_json is None and not exchange.events:
        return "error"  # a 200 with something else in it, a proxy's page for example
    reason, _ = answer.stated.get("finish", (None, ""))
    if isinstance(reason, str) and reason.lower() in _BY_REASON:
        return _BY_REASON[reason.lower()]
    return None if answer.content else "empty"
