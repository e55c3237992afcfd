"""What an exchange answered, whole or streamed, in one form. Nothing of a body's types is taken for granted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from custody.plugin import Exchange, Outcome

_WHOLE = "id", "model", "usage", "object", "conversation_id", "service_tier"
_BY_REASON: dict[str, Outcome] = {
    "length": "truncated",
    "model_length": "truncated",
    "content_filter": "filtered",
    "error": "error",
}
_ANSWERS = frozenset("chat text_completion conversations embeddings moderation classification ocr".split())


@dataclass
class Answer:
    """``body`` holds the top-level fields; ``prefix`` is where they were found in a stream."""

    body: dict[str, Any] = field(default_factory=dict)
    model_field: str = "model"
    finish_reason: str | None = None
    outcome: Outcome | None = None
    error: bool = False
    prefix: str = ""


@dataclass
class _Said:
    reasons: set[str] = field(default_factory=set)
    content: bool = False


def answer_of(exchange: Exchange) -> Answer:
    """The answer of an exchange; empty where there is none."""
    if exchange.events:
        return _streamed(exchange)
    body = exchange.response_json
    if not isinstance(body, dict):
        return Answer(error=_is_no_answer(exchange))
    answer = Answer(body, error=body.get("object") == "error" or bool(body.get("error")))
    said = _Said()
    for choice in dicts(body.get("choices")):
        _add(said, choice, choice.get("message"))
    outputs = dicts(body.get("outputs"))
    for output in outputs:
        _add_output(said, answer, output)
    if outputs or isinstance(body.get("choices"), list):
        _judge(answer, said)
    return answer


def dicts(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; none where it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _is_no_answer(exchange: Exchange) -> bool:
    """A 200 with something else in it, a proxy's page for example."""
    if not exchange.succeeded or exchange.claim.operation not in _ANSWERS or exchange.content is None:
        return False
    return not exchange.content.lstrip().startswith((b"data:", b"event:", b":"))


def _streamed(exchange: Exchange) -> Answer:
    answer, said = Answer(prefix="chunk."), _Said()
    completions = False
    for event in exchange.event_json():
        kind = str(event.get("type"))
        if event.get("object") == "error" or event.get("error") or kind == "conversation.response.error":
            answer.error = True
        for name in _WHOLE:
            if event.get(name) not in (None, ""):
                answer.body[name] = event[name]
        if kind == "message.output.delta" or kind == "function.call.delta":
            _add_output(said, answer, event)
        completions = completions or "choices" in event or kind == "conversation.response.done"
        for choice in dicts(event.get("choices")):
            _add(said, choice, choice.get("delta"))
    if completions:
        _judge(answer, said)
    return answer


def _add(said: _Said, choice: dict[str, Any], message: Any) -> None:
    reason = choice.get("finish_reason")
    if isinstance(reason, str) and reason:
        said.reasons.add(reason)
    if isinstance(message, dict) and any(message.get(name) for name in ("content", "tool_calls", "prefix")):
        said.content = True


def _add_output(said: _Said, answer: Answer, output: dict[str, Any]) -> None:
    """One of a conversation's outputs. Each names its model; the last one is kept."""
    if any(output.get(name) for name in ("content", "arguments", "name")):
        said.content = True
    model = output.get("model")
    if isinstance(model, str) and model:
        answer.body, answer.model_field = {**answer.body, "model": model}, "outputs[].model"


def _judge(answer: Answer, said: _Said) -> None:
    reasons = sorted(said.reasons)
    answer.finish_reason = ",".join(reasons) or None
    found = [_BY_REASON[reason] for reason in reasons if reason in _BY_REASON]
    if found:
        answer.outcome = found[0]
    elif not said.content:
        answer.outcome = "empty"
