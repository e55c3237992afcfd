"""Reads a finished exchange: model, vendor's ids, usage, outcome. Pure functions of the exchange.

Sources: the references of the Gemini API and of Vertex AI for bodies; model, version, project and region in the
URL; the headers ``x-gemini-service-tier`` and ``server-timing``. Google sends no request id; ``responseId`` is in
the body. The Developer API does not say where it runs.
"""

from __future__ import annotations

import math
import re
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
from custody_google import paths, usage
from custody_google.answer import Answer, answer_of, traffic

_NO_TOKENS = frozenset("count_tokens models files caches batches operations tuning".split())
_NO_MODEL = _NO_TOKENS - {"count_tokens"}
_CONFIG = (
    "temperature topP topK candidateCount maxOutputTokens seed presencePenalty frequencyPenalty responseMimeType "
    "responseLogprobs logprobs mediaResolution audioTimestamp thinkingConfig.thinkingBudget "
    "thinkingConfig.thinkingLevel thinkingConfig.includeThoughts thinkingConfig.thinking_budget "
    "thinkingConfig.thinking_level thinkingConfig.include_thoughts"
).split()
_PARAMETERS = (
    *(f"generationConfig.{name}" for name in _CONFIG),
    "toolConfig.functionCallingConfig.mode",
    "serviceTier",
    "store",
    "outputDimensionality",
    "taskType",
    "parameters.outputDimensionality",
    "parameters.sampleCount",
    "parameters.aspectRatio",
    "stream",
    "background",
    "service_tier",
    "generation_config.temperature",
    "generation_config.top_p",
    "generation_config.seed",
    "generation_config.max_output_tokens",
    "generation_config.thinking_level",
    "generation_config.thinking_summaries",
    "generation_config.tool_choice",
)
_DURATION = re.compile(r"(?:^|[,\s])gfet4t7;\s*dur=([0-9]+(?:\.[0-9]+)?)")
_REQUESTED_TIER = "x-vertex-ai-llm-shared-request-type"


def read(exchange: Exchange) -> Forensics:
    """Everything that an exchange with Google says."""
    place, answer, request = paths.of(exchange.request), answer_of(exchange), exchange.request_json
    model = _actual_model(exchange, answer)
    identity = _response_id(exchange, answer)
    header = header_finding(exchange, "x-goog-request-id")
    return Forensics(
        findings={
            "requested_model": _requested(place, request),
            "actual_model": model,
            "model_build_date": build_date(model),
            "api_version": _from_url(place.version, "path"),
            "deployment_region": _from_url(place.location, "path locations"),
            "provider_request_id": header if header.value is not None else identity,
            "response_id": identity,
            "organization": unknown("not_applicable"),
            "project": _from_url(place.project, "path projects"),
            "system_fingerprint": unknown("not_applicable"),
            "service_tier_requested": _tier_requested(exchange, request),
            "service_tier": _tier(exchange, answer),
            "finish_reason": answer.finish or unknown(absence(exchange)),
            "vendor_processing_ms": _processing(exchange),
        },
        parameters=_parameters(request),
        usage=usage.read(exchange, answer),
        usage_reason=_no_usage(exchange),
        outcome=_outcome(exchange, answer),
    )


def _from_url(value: str | None, where: str) -> Finding:
    return found(value, "url", where) if value else unknown("not_stated")


def _requested(place: paths.Place, request: Any) -> Finding:
    if place.model:
        return found(place.model, "url", "path models")
    name = request.get("model") if isinstance(request, dict) else None
    return found(name, "request_body", "model") if isinstance(name, str) and name else unknown("not_stated")


def _actual_model(exchange: Exchange, answer: Answer) -> Finding:
    operation = exchange.claim.operation
    names = ("model",) if operation in ("interactions", "caches") else ("modelVersion", "modelVersionId")
    name = next((n for n in names if isinstance(answer.body.get(n), str) and answer.body[n]), names[0])
    if exchange.succeeded and operation in _NO_MODEL and not answer.body.get(name):
        return unknown("not_applicable")
    return body_finding(exchange, answer.body.get(name) or None, answer.where(name))


def _response_id(exchange: Exchange, answer: Answer) -> Finding:
    name = "id" if exchange.claim.operation == "interactions" else "responseId"
    return body_finding(exchange, answer.body.get(name) or None, answer.where(name))


def _tier_requested(exchange: Exchange, request: Any) -> Finding:
    body = request if isinstance(request, dict) else {}
    for name in ("serviceTier", "service_tier"):
        if isinstance(body.get(name), str) and body[name]:
            return found(body[name], "request_body", name)
    header = exchange.request.header(_REQUESTED_TIER)
    return found(header, "request_header", _REQUESTED_TIER) if header else unknown("not_stated")


def _tier(exchange: Exchange, answer: Answer) -> Finding:
    """The tier that served it. Vertex AI calls it the traffic's type."""
    stated = header_finding(exchange, "x-gemini-service-tier")
    if stated.value is not None:
        return stated
    for holder, name, where in (
        (answer.usage, "serviceTier", f"{answer.usage_place}.serviceTier"),
        (answer.body, "service_tier", answer.where("service_tier")),
        (answer.usage, "trafficType", f"{answer.usage_place}.trafficType"),
    ):
        value = holder.get(name)
        if name == "trafficType" and isinstance(value, int) and (kind := traffic(value)):
            return found(kind, "derived", f"{where}, an enumeration's number")
        if isinstance(value, str) and value:
            return body_finding(exchange, value, where)
    return unknown(absence(exchange))


def _processing(exchange: Exchange) -> Finding:
    """Milliseconds at Google's front end."""
    stated = header_finding(exchange, "server-timing")
    if stated.value is None:
        return stated
    found_in = _DURATION.search(str(stated.value))
    value = float(found_in[1]) if found_in else math.nan
    return Finding(value, stated.evidence) if math.isfinite(value) else unknown("unreadable")


def _no_usage(exchange: Exchange) -> str:
    free = exchange.succeeded and exchange.claim.operation in _NO_TOKENS
    return "not_applicable" if free else absence(exchange)


def _parameters(request: Any) -> dict[str, Any]:
    if not isinstance(request, dict):
        return {}
    kept = scalars(request, *_PARAMETERS)
    system = request.get("systemInstruction", request.get("system_instruction"))
    texts = [system]
    if isinstance(system, dict) and isinstance(system.get("parts"), list):
        texts = [part.get("text") for part in system["parts"] if isinstance(part, dict)]
    lengths = [len(text) for text in texts if isinstance(text, str)]
    if lengths:
        kept["system_prompt_chars"] = sum(lengths)
    for name in ("contents", "tools", "safetySettings"):
        if isinstance(request.get(name), list):
            kept[name] = len(request[name])
    return kept


def _outcome(exchange: Exchange, answer: Answer) -> Outcome | None:
    if answer.error:
        return "error"
    return answer.outcome if exchange.succeeded else None
