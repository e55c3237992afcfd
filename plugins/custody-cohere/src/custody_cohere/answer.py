"""What an exchange answered, whole or streamed, in one form. Nothing of a body's types is taken for granted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from custody.plugin import Exchange, Outcome

_BY_REASON: dict[str, Outcome] = {
    "MAX_TOKENS": "truncated",
    "ERROR_LIMIT": "truncated",
    "ERROR_TOXIC": "filtered",
    "ERROR": "error",
    "TIMEOUT": "incomplete",
}
_TALKS = "chat", "text_completion"
_ANSWERS = (*_TALKS, "embeddings", "rerank", "classification", "summarize", "tokenize")


@dataclass
class Answer:
    """``body`` holds the top-level fields; ``where`` says of a field in which part of a stream it was found."""

    body: dict[str, Any] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    finish_reason: str | None = None
    finish_field: str = "finish_reason"
    outcome: Outcome | None = None
    error: bool = False

    def field(self, name: str) -> str:
        """Where a field was found."""
        return self.where.get(name, "") + name


def answer_of(exchange: Exchange) -> Answer:
    """The answer of an exchange; empty where there is none."""
    if exchange.events:
        return _streamed(exchange)
    body = exchange.response_json
    if not isinstance(body, dict):
        return Answer(error=exchange.succeeded and exchange.claim.operation in _ANSWERS)
    answer = Answer(body)
    if exchange.claim.operation in _TALKS:
        _judge(answer, body, content=False)
    return answer


def dicts(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; none where it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _judge(answer: Answer, body: dict[str, Any], *, content: bool) -> None:
    generations = dicts(body.get("generations"))
    reasons = sorted({one["finish_reason"] for one in generations if isinstance(one.get("finish_reason"), str)})
    if isinstance(body.get("finish_reason"), str):
        reasons = [body["finish_reason"]]
        answer.finish_field = answer.field("finish_reason")
    elif reasons:
        answer.finish_field = answer.field("generations[].finish_reason")
    answer.finish_reason = ",".join(reasons) or None
    found = [_BY_REASON[reason] for reason in reasons if reason in _BY_REASON]
    message = body.get("message")
    parts = [body, *generations, *([message] if isinstance(message, dict) else [])]
    said = content or any(part.get(name) for part in parts for name in ("text", "content", "tool_calls"))
    if found:
        answer.outcome = found[0]
    elif not said:
        answer.outcome = "empty"


def _streamed(exchange: Exchange) -> Answer:
    """Version 1 repeats the whole answer in its last event; version 2 tells the id first and the usage last."""
    answer, content = Answer(), False
    for event in exchange.event_json():
        kind = event.get("event_type") or event.get("type")
        if kind == "stream-end":
            response = event.get("response")
            for name, value in (response if isinstance(response, dict) else {}).items():
                answer.body[name], answer.where[name] = value, "event stream-end.response."
            if isinstance(event.get("finish_reason"), str):
                answer.body["finish_reason"] = event["finish_reason"]
                answer.where["finish_reason"] = "event stream-end."
        elif kind == "message-start" and event.get("id"):
            answer.body["id"], answer.where["id"] = event["id"], "event message-start."
        elif kind == "message-end":
            delta = event.get("delta")
            for name, value in (delta if isinstance(delta, dict) else {}).items():
                answer.body[name], answer.where[name] = value, "event message-end.delta."
        elif kind in ("content-delta", "tool-call-start", "text-generation", "tool-calls-generation"):
            content = True
    _judge(answer, answer.body, content=content)
    return answer
