"""Reads a finished exchange: vendor's ids, usage, outcome. Pure functions of the exchange.

Sources: the types of cohere 7.3 for bodies; recorded traffic for the header ``x-debug-trace-id``. No answer
names the model that gave it.
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
from custody_cohere.answer import Answer, answer_of, dicts

_NO_TOKENS = frozenset("models datasets connectors batches fine_tuning tokenize check_api_key".split())
_NO_USAGE = ("api_version", "warnings")
_PARAMETERS = tuple(
    "temperature max_tokens k p seed stream frequency_penalty presence_penalty logprobs safety_mode tool_choice "
    "strict_tools raw_prompting prompt_truncation citation_quality citation_options.mode response_format.type "
    "thinking.type thinking.token_budget priority input_type truncate output_dimension max_tokens_per_doc top_n "
    "num_generations return_likelihoods".split()
)


def read(exchange: Exchange) -> Forensics:
    """Everything that one of Cohere's exchanges says."""
    answer, request = answer_of(exchange), exchange.request_json
    model = unknown(absence(exchange))
    return Forensics(
        findings={
            "requested_model": _requested(request),
            "actual_model": model,
            "model_build_date": build_date(model),
            "api_version": _api_version(exchange),
            "deployment_region": unknown("not_stated"),
            "provider_request_id": header_finding(exchange, "x-debug-trace-id"),
            "response_id": _response_id(exchange, answer),
            "finish_reason": body_finding(exchange, answer.finish_reason, answer.finish_field),
        },
        parameters=_parameters(request),
        usage=_usage(answer),
        usage_reason=_no_usage(exchange),
        outcome=_outcome(exchange, answer),
    )


def _requested(request: Any) -> Finding:
    value = request.get("model") if isinstance(request, dict) else None
    return found(value, "request_body", "model") if isinstance(value, str) and value else unknown("not_stated")


def _api_version(exchange: Exchange) -> Finding:
    parts = [part for part in exchange.request.parts.path.split("/") if part[:1] == "v" and part[1:2].isdigit()]
    return found(parts[0], "url", "path") if parts else unknown("not_stated")


def _response_id(exchange: Exchange, answer: Answer) -> Finding:
    for name in ("response_id", "id", "generation_id"):
        if answer.body.get(name):
            return body_finding(exchange, answer.body[name], answer.field(name))
    return unknown(absence(exchange))


def _usage(answer: Answer) -> Usage | None:
    """What the model saw, where it is stated, else what is billed; cached tokens lie inside the input."""
    raw, name = answer.body.get("usage"), "usage"
    if not isinstance(raw, dict):
        raw, name = answer.body.get("meta"), "meta"
    if not isinstance(raw, dict):
        return None
    kept = plain_numbers({k: v for k, v in raw.items() if k not in _NO_USAGE})
    counted = next((raw[part] for part in ("tokens", "billed_units") if isinstance(raw.get(part), dict)), None)
    if counted is None:
        return None
    given, cached = _tokens(counted.get("input_tokens")), _tokens(raw.get("cached_tokens"))
    if given is None or (cached or 0) > given:
        cached = None
    return Usage(
        input=None if given is None else given - (cached or 0),
        output=_tokens(counted.get("output_tokens")),
        cache_read=cached,
        raw=kept,
        evidence=f"response_body:{answer.field(name)}",
    )


def _tokens(value: Any) -> int | None:
    """A count; the API's schema has them as floating-point numbers."""
    return count(int(value) if isinstance(value, float) and value.is_integer() else value)


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
    elif isinstance(request.get("preamble"), str):
        kept["system_prompt_chars"] = len(request["preamble"])
    for name in ("tools", "documents", "chat_history", "texts"):
        if isinstance(request.get(name), list):
            kept[name] = len(request[name])
    return kept


def _outcome(exchange: Exchange, answer: Answer) -> Outcome | None:
    if not exchange.succeeded:
        return None
    return "error" if answer.error else answer.outcome
