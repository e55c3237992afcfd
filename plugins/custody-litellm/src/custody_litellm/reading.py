"""Reads an exchange by its shape: OpenAI's, Anthropic's, Gemini's, Bedrock's, Cohere's, Ollama's. Pure.

For vendors without a plugin of their own. Every value is taken from where one of these protocols documents
it, with the field as its evidence; a body in none of these shapes gives nulls with their reason.
"""

from __future__ import annotations

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
from custody_litellm import usage
from custody_litellm.answer import Answer, answer_of

_MODEL_IN_PATH = re.compile(r"/(?:models|deployments|model|engines)/([^/:]+(?::\d\w*)*)")
_PARAMETERS = (
    "temperature top_p top_k max_tokens max_completion_tokens max_output_tokens seed n frequency_penalty "
    "presence_penalty stream response_format.type service_tier reasoning_effort dimensions encoding_format "
    "generationConfig.temperature generationConfig.topP generationConfig.topK generationConfig.maxOutputTokens "
    "generationConfig.seed inferenceConfig.temperature inferenceConfig.topP inferenceConfig.maxTokens "
    "options.temperature options.top_p options.num_predict options.seed"
).split()
_REGION = re.compile(r"/locations/([a-z0-9-]+)/")
_AWS_REGION = re.compile(r"\.([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com$")
_BY_REASON: dict[str, Outcome] = {
    "length": "truncated",
    "max_tokens": "truncated",
    "max_output_tokens": "truncated",
    "model_context_window_exceeded": "truncated",
    "content_filter": "filtered",
    "safety": "filtered",
    "content_filtered": "filtered",
    "guardrail_intervened": "filtered",
    "recitation": "filtered",
    "prohibited_content": "filtered",
    "blocklist": "filtered",
    "spii": "filtered",
    "refusal": "refused",
}
_TEXTUAL = "chat", "text_completion", "responses"
_NO_TOKENS = frozenset(("count_tokens", "moderation", "ocr"))


def read(exchange: Exchange) -> Forensics:
    """Everything that an exchange of a known shape says."""
    answer = answer_of(exchange)
    request = exchange.request_json
    model = _stated(exchange, answer, "model", "modelVersion")
    tokens = usage.read(answer)
    reason = absence(exchange)
    none = "not_applicable" if reason == "not_stated" and exchange.claim.operation in _NO_TOKENS else reason
    return Forensics(
        findings={
            "requested_model": _requested(exchange, request),
            "actual_model": model,
            "model_build_date": build_date(model),
            "api_version": _api_version(exchange),
            "deployment_region": _region(exchange),
            "provider_request_id": header_finding(
                exchange, "x-request-id", "request-id", "x-amzn-requestid", "apim-request-id"
            ),
            "response_id": _stated(exchange, answer, "id", "responseId"),
            "system_fingerprint": _stated(exchange, answer, "system_fingerprint"),
            "service_tier": _stated(exchange, answer, "service_tier"),
            "service_tier_requested": _from_request(request, "service_tier"),
            "finish_reason": body_finding(exchange, answer.finish_reason, answer.finish_field),
        },
        parameters=_parameters(request),
        usage=tokens,
        usage_reason=none,
        outcome=_outcome(exchange, answer),
    )


def _stated(exchange: Exchange, answer: Answer, *names: str) -> Finding:
    for name in names:
        value = answer.body.get(name)
        if isinstance(value, str) and value:
            return body_finding(exchange, value, answer.where(name))
    return unknown(absence(exchange))


def _requested(exchange: Exchange, request: Any) -> Finding:
    asked = _from_request(request, "model", "modelId")
    in_path = _MODEL_IN_PATH.search(exchange.request.parts.path)
    return found(unquote(in_path[1]), "url", "path") if asked.value is None and in_path else asked


def _from_request(request: Any, *names: str) -> Finding:
    for name in names:
        value = request.get(name) if isinstance(request, dict) else None
        if isinstance(value, str) and value:
            return found(value, "request_body", name)
    return unknown("not_stated")


def _api_version(exchange: Exchange) -> Finding:
    for name, value in exchange.request.query:
        if name == "api-version" and value:
            return found(value, "url", "query api-version")
    sent = exchange.request.header("anthropic-version")
    if sent:
        return found(sent, "request_header", "anthropic-version")
    parts = [part for part in exchange.request.parts.path.split("/") if part[:1] == "v" and part[1:2].isdigit()]
    return found(parts[0], "url", "path") if parts else unknown("not_stated")


def _region(exchange: Exchange) -> Finding:
    parts = exchange.request.parts
    location = _REGION.search(parts.path)
    if location:
        return found(location[1], "url", "path locations")
    aws = _AWS_REGION.search(parts.hostname or "")
    return found(aws[1], "url", "host") if aws else header_finding(exchange, "x-ms-region")


def _parameters(request: Any) -> dict[str, Any]:
    if not isinstance(request, dict):
        return {}
    kept = scalars(request, *_PARAMETERS)
    for name in ("messages", "contents", "tools"):
        if isinstance(request.get(name), list):
            kept["messages" if name == "contents" else name] = len(request[name])
    return kept


def _outcome(exchange: Exchange, answer: Answer) -> Outcome | None:
    if exchange.ending == "broken" and answer.error:
        return "error"
    if not exchange.succeeded:
        return None
    if answer.error:
        return "error"
    reasons = (answer.finish_reason or "").lower().split(",")
    said = next((_BY_REASON[reason] for reason in reasons if reason in _BY_REASON), None)
    if said is not None:
        return said
    return "empty" if answer.known and exchange.claim.operation in _TEXTUAL and not answer.content else None
