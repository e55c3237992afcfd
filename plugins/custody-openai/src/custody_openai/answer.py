"""What an exchange answered, whole or streamed, in one form. Nothing of a body's types is taken for granted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from custody.plugin import Exchange, Outcome

_WHOLE = frozenset(("usage", "x_groq", "id", "model", "system_fingerprint", "service_tier"))
_TELLING = frozenset(("type", "error", "response"))
_CONTENT = "content", "text", "tool_calls", "function_call", "audio", "reasoning_content"
_BY_REASON: dict[str, Outcome] = {
    "length": "truncated",
    "max_output_tokens": "truncated",
    "max_tokens": "truncated",
    "content_filter": "filtered",
}
_ENDED = "completed", "incomplete", "failed", "cancelled"
_COMPLETIONS = "chat", "text_completion"


@dataclass
class Answer:
    """``body`` holds the top-level fields; ``prefix`` is where they were found in a stream."""

    body: dict[str, Any] = field(default_factory=dict)
    finish_reason: str | None = None
    finish_field: str = ""
    outcome: Outcome | None = None
    error: bool = False
    prefix: str = ""

    def field(self, name: str) -> str:
        """Where a top-level field was found."""
        return self.prefix + name


def answer_of(exchange: Exchange) -> Answer:
    """The answer of an exchange; empty where there is none."""
    if exchange.events:
        return _streamed(exchange)
    body = exchange.response_json
    if not isinstance(body, dict):
        return Answer(error=_is_no_answer(exchange))
    answer = Answer(body, error=bool(body.get("error")))
    if isinstance(body.get("choices"), list) or exchange.claim.operation in _COMPLETIONS:
        _judge_choices(answer, [_whole_choice(choice) for choice in _dicts(body.get("choices"))])
    elif body.get("object") == "response":
        _judge_response(answer)
    return answer


def _is_no_answer(exchange: Exchange) -> bool:
    """A 200 with something else in it, a proxy's page for example. A stream of another content type is one."""
    content = exchange.content
    if content is None or not exchange.succeeded:
        return False
    if exchange.claim.operation not in (*_COMPLETIONS, "responses", "embeddings"):
        return False
    return not content.lstrip().startswith((b"data:", b"event:", b":"))


@dataclass
class _Choice:
    reason: str | None = None
    content: bool = False
    refusal: bool = False


def _dicts(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; none where it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _whole_choice(choice: dict[str, Any]) -> _Choice:
    inner = choice.get("message")
    message = inner if isinstance(inner, dict) else choice
    return _Choice(choice.get("finish_reason"), _has_content(message), bool(message.get("refusal")))


def _has_content(part: dict[str, Any]) -> bool:
    return any(map(part.get, _CONTENT))


def _judge_choices(answer: Answer, choices: list[_Choice]) -> None:
    given: set[str] = set()
    content = refusal = False
    for choice in choices:
        content, refusal = content or choice.content, refusal or choice.refusal
        if isinstance(choice.reason, str) and choice.reason:
            given.add(choice.reason)
    answer.finish_reason = ",".join(sorted(given)) or None
    answer.finish_field = f"{answer.prefix}choices[].finish_reason"
    if refusal:
        answer.outcome = "refused"
    elif known := given & _BY_REASON.keys():
        answer.outcome = _BY_REASON[min(known)]
    elif not content:
        answer.outcome = "empty"


def _judge_response(answer: Answer) -> None:
    """The Responses API states a status, and why it is incomplete. A queued or running one has no end yet."""
    status = answer.body.get("status")
    details = answer.body.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    if isinstance(reason, str):
        answer.finish_reason, answer.finish_field = reason, answer.field("incomplete_details.reason")
    elif isinstance(status, str) and status in _ENDED:
        answer.finish_reason, answer.finish_field = status, answer.field("status")
    items = _dicts(answer.body.get("output"))
    parts = [part for item in items if item.get("type") == "message" for part in _dicts(item.get("content"))]
    if status == "failed":
        answer.error = True
    elif isinstance(reason, str) and reason in _BY_REASON:
        answer.outcome = _BY_REASON[reason]
    elif status != "completed":
        answer.outcome = "incomplete"
    elif any(part.get("type") == "refusal" for part in parts):
        answer.outcome = "refused"
    elif not any(part.get("text") for part in parts) and not _has_tool_items(items):
        answer.outcome = "empty"


def _has_tool_items(items: list[dict[str, Any]]) -> bool:
    return any(item.get("type") not in ("message", "reasoning") for item in items)


def _streamed(exchange: Exchange) -> Answer:
    answer = Answer(prefix="chunk.")
    choices: dict[int, _Choice] = {}
    after: list[dict[str, Any]] = []  # the last event with a whole response in it
    for event in exchange.event_json():
        if not _TELLING.isdisjoint(event):
            kind = event.get("type")
            if event.get("error") or kind in ("error", "response.failed"):
                answer.error = True
            if isinstance(event.get("response"), dict):
                answer.body, answer.prefix = event["response"], f"event {str(kind)[:64]}.response."
                after.clear()
                continue
        after.append(event)
        for part in event["choices"] if isinstance(event.get("choices"), list) else ():
            if isinstance(part, dict):
                index = part.get("index")
                _add_delta(choices, index if isinstance(index, int) else 0, part)
    answer.body.update(_last(after))
    if answer.body.get("object") == "response":
        _judge_response(answer)
    elif choices or exchange.claim.operation in _COMPLETIONS:
        _judge_choices(answer, list(choices.values()))
    return answer


def _last(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each top-level field what the last event says that says anything: Azure's first chunk has empty ones."""
    found: dict[str, Any] = {}
    missing = _WHOLE
    for event in reversed(events):
        for name in missing.intersection(event):
            value = event[name]
            if value is not None and value != "":
                found[name] = value
                missing = missing - {name}
    return found


def _add_delta(choices: dict[int, _Choice], index: int, part: dict[str, Any]) -> None:
    choice = choices.get(index)
    if choice is None:
        choice = choices[index] = _Choice()
    inner = part.get("delta")
    delta = inner if isinstance(inner, dict) else part
    reason = part.get("finish_reason")
    if reason:
        choice.reason = reason
    if not choice.content:
        choice.content = _has_content(delta)
    if delta.get("refusal"):
        choice.refusal = True
