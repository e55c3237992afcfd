"""Reads a finished exchange: model, vendor's ids, usage, outcome. Pure functions of the exchange.

Sources: Anthropic's API reference for bodies and stream events; the headers ``request-id``,
``anthropic-organization-id`` and ``anthropic-workspace-id``; the request header ``anthropic-version``. On the
clouds' platforms model, project and region stand in the address, the version in the body; AWS adds an id of
its own, counts of tokens and the time it took, in headers of a whole answer and in a stream's last event.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
from custody_anthropic import events, platforms

_PARAMETERS = (
    "max_tokens",
    "max_tokens_to_sample",
    "temperature",
    "top_p",
    "top_k",
    "stream",
    "service_tier",
    "inference_geo",
    "speed",
    "thinking.type",
    "thinking.budget_tokens",
    "tool_choice.type",
    "output_config.effort",
    "output_config.format.type",
)

_ANSWERING = "chat", "text_completion"
_NO_TOKENS = frozenset("count_tokens models files batches".split())

_BY_REASON: dict[str, Outcome] = {
    "max_tokens": "truncated",
    "model_context_window_exceeded": "truncated",
    "refusal": "refused",
}


@dataclass
class Message:
    """A message, whole or put together from its stream.

    Attributes:
        places: by top-level field, the event that stated it last; empty for a whole message.
        usage_places: the events that stated usage, in order.
        metrics: Bedrock's own counts and times, in a stream's last event.
        intervened: a guardrail of Bedrock's changed or blocked it.
    """

    body: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, Any] = field(default_factory=dict)
    content: bool = False
    error: bool = False
    places: dict[str, str] = field(default_factory=dict)
    usage_places: list[str] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    intervened: bool = False

    def where(self, name: str) -> str:
        return self.places.get(name, "") + name

    def take(self, event: str, fields: Any) -> None:
        """Top-level fields that an event of the stream states."""
        if isinstance(fields, dict):
            stated = {k: v for k, v in fields.items() if v is not None}
            self.body |= stated
            self.places |= dict.fromkeys(stated, f"{event}.")

    def take_usage(self, place: str, usage: Any) -> None:
        """Counts are cumulative: the last ones win."""
        if isinstance(usage, dict):
            self.usage |= {k: v for k, v in usage.items() if v is not None}
            self.usage_places.append(place)


def read(exchange: Exchange) -> Forensics:
    """Everything that an Anthropic exchange says."""
    message = message_of(exchange)
    request = exchange.request_json
    body = message.body
    model = body_finding(exchange, body.get("model"), message.where("model"))
    return Forensics(
        findings={
            "requested_model": _requested(exchange, request),
            "actual_model": model,
            "model_build_date": build_date(model),
            "api_version": _api_version(exchange),
            "deployment_region": _region(exchange, message),
            "provider_request_id": header_finding(exchange, "request-id", "x-amzn-requestid"),
            "response_id": body_finding(exchange, body.get("id"), message.where("id")),
            "organization": header_finding(exchange, "anthropic-organization-id"),
            "project": _project(exchange),
            "system_fingerprint": unknown("not_applicable"),
            "service_tier_requested": _from_request(request, "service_tier"),
            "service_tier": body_finding(
                exchange, message.usage.get("service_tier"), f"{_usage_place(message)}.service_tier"
            ),
            "finish_reason": body_finding(exchange, body.get("stop_reason"), message.where("stop_reason")),
            "vendor_processing_ms": _processing(exchange, message),
        },
        parameters=_parameters(request),
        usage=_usage(exchange, message),
        usage_reason=_no_usage(exchange),
        outcome=_outcome(exchange, message),
    )


def message_of(exchange: Exchange) -> Message:
    """The message of an exchange; empty where there is none."""
    if exchange.events:
        return _streamed(exchange)
    body = exchange.response_json
    if not isinstance(body, dict):
        return Message(error=_is_no_answer(exchange))
    usage = body.get("usage")
    content = body.get("content")
    return Message(
        body,
        usage if isinstance(usage, dict) else {},
        content=bool(body.get("completion")) or (isinstance(content, list) and any(map(_says_something, content))),
        error=body.get("type") == "error",
        intervened=body.get(_GUARDRAIL) == "INTERVENED",
    )


_GUARDRAIL = "amazon-bedrock-guardrailAction"
_OF_BEDROCK = frozenset((_GUARDRAIL, events.METRICS))


def _is_no_answer(exchange: Exchange) -> bool:
    """A 200 with something else in it, a proxy's page for example. A stream of another content type is one."""
    content = exchange.content
    if content is None or not exchange.succeeded or exchange.claim.operation not in _ANSWERING:
        return False
    return not content.lstrip().startswith((b"data:", b"event:", b":"))


def _streamed(exchange: Exchange) -> Message:
    message = Message()
    for event in events.documents(exchange):
        kind = event.get("type") or ("completion" if "completion" in event else None)
        if not _OF_BEDROCK.isdisjoint(event):
            message.intervened = message.intervened or event.get(_GUARDRAIL) == "INTERVENED"
            if isinstance(metrics := event.get(events.METRICS), dict):
                message.metrics |= metrics
        if kind == "message_start" and isinstance(event.get("message"), dict):
            start = event["message"]
            message.take("message_start.message", start)
            message.take_usage("message_start.message.usage", start.get("usage"))
        elif kind == "content_block_start":
            block = event.get("content_block")
            message.content = message.content or (isinstance(block, dict) and _says_something(block))
        elif kind == "content_block_delta":
            if not message.content:
                delta = event.get("delta")
                message.content = isinstance(delta, dict) and bool(delta.get("text"))
        elif kind == "message_delta":
            message.take("message_delta.delta", event.get("delta"))
            message.take_usage("message_delta.usage", event.get("usage"))
        elif kind == "error":
            message.error = True
        elif kind == "completion":
            message.take("completion", event)
            message.content = message.content or bool(event.get("completion"))
    return message


_SILENT = ("text", "thinking", "redacted_thinking")


def _says_something(block: Any) -> bool:
    if not isinstance(block, dict):
        return False
    kind = block.get("type")
    return bool(block.get("text")) or (isinstance(kind, str) and kind not in _SILENT)


def _from_request(request: Any, name: str) -> Finding:
    value = request.get(name) if isinstance(request, dict) else None
    return found(value, "request_body", name) if isinstance(value, str) and value else unknown("not_stated")


def _requested(exchange: Exchange, request: Any) -> Finding:
    address = platforms.address(exchange.request)
    if address is not None and address.model:
        return found(address.model, "url", "model")
    return _from_request(request, "model")


def _project(exchange: Exchange) -> Finding:
    address = platforms.address(exchange.request)
    if address is not None and address.project:
        return found(address.project, "url", "project")
    return header_finding(exchange, "anthropic-workspace-id")


def _api_version(exchange: Exchange) -> Finding:
    version = exchange.request.header("anthropic-version")
    if version:
        return found(version, "request_header", "anthropic-version")
    return _from_request(exchange.request_json, "anthropic_version")


def _region(exchange: Exchange, message: Message) -> Finding:
    geo = message.usage.get("inference_geo")
    if isinstance(geo, str) and geo and geo != "not_available":
        return found(geo, "response_body", f"{_usage_place(message)}.inference_geo")
    place = platforms.region(exchange.request)
    return place if place.value is not None else unknown(absence(exchange))


def _processing(exchange: Exchange, message: Message) -> Finding:
    """Only AWS states it."""
    taken = count(message.metrics.get("invocationLatency"))
    if taken is not None:
        return found(taken, "response_body", f"{events.METRICS}.invocationLatency")
    name = "x-amzn-bedrock-invocation-latency"
    stated = _header_count(exchange, name)
    return unknown("not_applicable") if stated is None else found(stated, "response_header", name)


def _header_count(exchange: Exchange, name: str) -> int | None:
    value = exchange.head.header(name) if exchange.head is not None else None
    return int(value) if value and value.isascii() and value.isdigit() and len(value) < 16 else None


def _usage(exchange: Exchange, message: Message) -> Usage | None:
    """Anthropic counts cached tokens outside the input, and thinking inside the output."""
    raw = message.usage
    given, made = count(raw.get("input_tokens")), count(raw.get("output_tokens"))
    if exchange.events and "message_delta.usage" not in message.usage_places:
        made = None  # what message_start says of the output is where the count began
    if given is None and made is None:
        return _counted_by_aws(exchange, message)
    details = raw.get("output_tokens_details")
    thinking = count(details.get("thinking_tokens")) if isinstance(details, dict) else None
    if made is None or (thinking or 0) > made:
        thinking = None
    return Usage(
        input=given,
        output=None if made is None else made - (thinking or 0),
        cache_read=count(raw.get("cache_read_input_tokens")),
        cache_write=count(raw.get("cache_creation_input_tokens")),
        reasoning=thinking,
        raw=plain_numbers(raw),
        evidence=f"response_body:{_usage_place(message)}",
    )


def _counted_by_aws(exchange: Exchange, message: Message) -> Usage | None:
    """What Bedrock counts of an answer that states no usage of its own, such as a text completion."""
    given, made = count(message.metrics.get("inputTokenCount")), count(message.metrics.get("outputTokenCount"))
    if given is not None or made is not None:
        return Usage(given, made, raw=plain_numbers(message.metrics), evidence=f"response_body:{events.METRICS}")
    names = ("x-amzn-bedrock-input-token-count", "x-amzn-bedrock-output-token-count")
    given, made = (_header_count(exchange, name) for name in names)
    if given is None and made is None:
        return None
    stated = {name: value for name, value in zip(names, (given, made), strict=True) if value is not None}
    return Usage(given, made, raw=stated, evidence="response_header:" + "+".join(stated))


def _usage_place(message: Message) -> str:
    return "+".join(dict.fromkeys(message.usage_places)) or "usage"


def _no_usage(exchange: Exchange) -> str:
    """Counting tokens, and listing models, uses none."""
    reason = absence(exchange)
    return "not_applicable" if reason == "not_stated" and exchange.claim.operation in _NO_TOKENS else reason


def _parameters(request: Any) -> dict[str, Any]:
    if not isinstance(request, dict):
        return {}
    kept = scalars(request, *_PARAMETERS)
    system = request.get("system")
    if isinstance(system, str):
        kept["system_prompt_chars"] = len(system)
    elif isinstance(system, list):
        kept["system_prompt_chars"] = sum(
            len(b["text"]) for b in system if isinstance(b, dict) and isinstance(b.get("text"), str)
        )
    for name in ("messages", "tools"):
        if isinstance(request.get(name), list):
            kept[name] = len(request[name])
    return kept


def _outcome(exchange: Exchange, message: Message) -> Outcome | None:
    if message.error:
        return "error"
    if not exchange.succeeded or exchange.claim.operation not in _ANSWERING:
        return None
    if message.intervened:
        return "filtered"
    if exchange.content is None or (not message.body and not exchange.events):
        return None  # not in a form that can be judged
    reason = message.body.get("stop_reason")
    if isinstance(reason, str) and reason in _BY_REASON:
        return _BY_REASON[reason]
    return None if message.content else "empty"
