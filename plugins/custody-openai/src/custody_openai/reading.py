"""Reads a finished exchange: model, vendor's ids, usage, outcome. Pure functions of the exchange.

Sources: OpenAI's API reference for bodies; the headers ``x-request-id``, ``openai-organization``,
``openai-project``, ``openai-processing-ms``, ``openai-version``; on Azure ``apim-request-id``, ``x-ms-region`` and
the deployment in the URL; on Groq ``x-groq-region``; on DeepSeek ``x-ds-trace-id``.
"""

from __future__ import annotations

import math
import re
from typing import Any
from urllib.parse import unquote

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
from custody_openai import hosts, realtime, usage
from custody_openai.answer import Answer, answer_of

_DEPLOYMENT = re.compile(r"/deployments/([^/]+)/")
_NO_TOKENS = frozenset("models files batches moderation".split())
_NO_OUTPUT = frozenset(("embeddings", "rerank"))

_PARAMETERS = (
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "seed",
    "n",
    "frequency_penalty",
    "presence_penalty",
    "stream",
    "stream_options.include_usage",
    "logprobs",
    "top_logprobs",
    "reasoning_effort",
    "reasoning.effort",
    "reasoning.summary",
    "verbosity",
    "text.verbosity",
    "text.format.type",
    "response_format.type",
    "service_tier",
    "store",
    "background",
    "truncation",
    "parallel_tool_calls",
    "tool_choice",
    "previous_response_id",
    "encoding_format",
    "dimensions",
)


def read(exchange: Exchange) -> Forensics:
    """Everything that an OpenAI-shaped exchange says."""
    conversation = exchange.claim.operation == "realtime"
    answer = realtime.answer_of(exchange) if conversation else answer_of(exchange)
    request = exchange.request_json
    body, prefix = answer.body, answer.prefix

    def stated(name: str) -> Finding:
        return body_finding(exchange, body.get(name) or None, prefix + name)

    model = stated("model")
    tokens = usage.read(answer, no_output=exchange.claim.operation in _NO_OUTPUT)
    return Forensics(
        findings={
            "requested_model": _requested(exchange, request),
            "actual_model": model,
            "model_build_date": build_date(model),
            "api_version": _api_version(exchange),
            "deployment_region": _region(exchange),
            "provider_request_id": header_finding(exchange, "apim-request-id", "x-request-id", "x-ds-trace-id"),
            "response_id": stated("id"),
            "organization": header_finding(exchange, "openai-organization"),
            "project": header_finding(exchange, "openai-project"),
            "vendor_processing_ms": _processing(exchange),
            "system_fingerprint": stated("system_fingerprint"),
            "service_tier": stated("service_tier"),
            "service_tier_requested": _from_request(request, "service_tier"),
            "finish_reason": body_finding(exchange, answer.finish_reason, answer.finish_field),
        },
        parameters=_parameters(request),
        usage=tokens,
        usage_reason=_no_usage(exchange),
        outcome=_outcome(exchange, answer),
    )


def _requested(exchange: Exchange, request: Any) -> Finding:
    # Azure answers by the deployment in the URL, whatever model the body names.
    deployment = _DEPLOYMENT.search(exchange.request.parts.path)
    if deployment:
        return found(unquote(deployment[1]), "url", "path deployments")
    for name, value in exchange.request.query if exchange.claim.operation == "realtime" else ():
        if name in ("model", "deployment"):  # the latter is Azure's
            return found(value, "url", f"query {name}")
    return _from_request(request, "model")


def _from_request(request: Any, name: str) -> Finding:
    value = request.get(name) if isinstance(request, dict) else None
    return found(value, "request_body", name) if isinstance(value, str) and value else unknown("not_stated")


def _api_version(exchange: Exchange) -> Finding:
    for name, value in exchange.request.query:
        if name == "api-version":
            return found(value, "url", "query api-version")
    stated = header_finding(exchange, "openai-version")
    if stated.value is not None:
        return stated
    parts = [part for part in exchange.request.parts.path.split("/") if part[:1] == "v" and part[1:2].isdigit()]
    return found(parts[0], "url", "path") if parts else stated


def _region(exchange: Exchange) -> Finding:
    named = hosts.region(exchange.request)
    return found(named[0], "url", named[1]) if named else header_finding(exchange, "x-ms-region", "x-groq-region")


def _processing(exchange: Exchange) -> Finding:
    stated = header_finding(exchange, "openai-processing-ms")
    if stated.value is None:
        return stated
    try:
        value = float(stated.value)
    except ValueError:
        value = math.nan
    return Finding(value, stated.evidence) if math.isfinite(value) and value >= 0 else unknown("unreadable")


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
        kept["system_prompt_chars"] = 0
        for message in messages:
            if isinstance(message, dict) and message.get("role") in ("system", "developer"):
                text = message.get("content")
                kept["system_prompt_chars"] += len(text) if isinstance(text, str) else 0
    elif isinstance(request.get("instructions"), str):
        kept["system_prompt_chars"] = len(request["instructions"])
    if isinstance(request.get("tools"), list):
        kept["tools"] = len(request["tools"])
    return kept


def _outcome(exchange: Exchange, answer: Answer) -> Outcome | None:
    if _prompt_filtered(answer):
        return "filtered"
    if exchange.ending == "broken" and answer.error:
        return "error"
    if not exchange.succeeded:
        return None
    return "error" if answer.error else answer.outcome


def _prompt_filtered(answer: Answer) -> bool:
    """Azure's content filter took offence at the prompt: an error, by status 400 or in a 200."""
    error = answer.body.get("error")
    return isinstance(error, dict) and error.get("code") == "content_filter"
