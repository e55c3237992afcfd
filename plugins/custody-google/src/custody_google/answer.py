"""What a Gemini exchange answered, whole or streamed, in one form. Nothing of a body's types is taken for granted.

Where gRPC is transcoded with ``enum-encoding=int``, enumerations are numbers; their names are those of
``google.cloud.aiplatform.v1beta1`` (Candidate.FinishReason, PromptFeedback.BlockedReason, TrafficType).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from custody.plugin import Exchange, Finding, Outcome, body_finding, found
from custody_google import streams

_FINISH = (
    "FINISH_REASON_UNSPECIFIED STOP MAX_TOKENS SAFETY RECITATION OTHER BLOCKLIST PROHIBITED_CONTENT SPII "
    "MALFORMED_FUNCTION_CALL MODEL_ARMOR"
).split()
_BLOCKED = "BLOCKED_REASON_UNSPECIFIED SAFETY OTHER BLOCKLIST PROHIBITED_CONTENT MODEL_ARMOR JAILBREAK".split()
_TRAFFIC = "TRAFFIC_TYPE_UNSPECIFIED ON_DEMAND PROVISIONED_THROUGHPUT".split()
_FILTERED = frozenset(
    "SAFETY RECITATION BLOCKLIST PROHIBITED_CONTENT SPII MODEL_ARMOR IMAGE_SAFETY IMAGE_PROHIBITED_CONTENT "
    "IMAGE_RECITATION".split()
)
_SILENT = frozenset("text thought thoughtSignature videoMetadata partMetadata mediaResolution".split())
_INTERACTION: dict[str, Outcome] = {
    "incomplete": "truncated",
    "requires_continuation": "truncated",
    "failed": "error",
    "budget_exceeded": "truncated",
    "in_progress": "incomplete",
}


@dataclass
class Answer:
    """``body`` holds the top-level fields, as a stream stated them last; ``ended``: it says why it ended."""

    body: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, Any] = field(default_factory=dict)
    usage_place: str = "usageMetadata"
    finish: Finding | None = None
    outcome: Outcome | None = None
    error: bool = False
    ended: bool = False
    prefix: str = ""

    def where(self, name: str) -> str:
        return self.prefix + name


def answer_of(exchange: Exchange) -> Answer:
    """The answer of an exchange; empty where there is none."""
    documents, prefix = _documents(exchange)
    answer = Answer(prefix=prefix)
    if exchange.claim.operation == "interactions":
        return _interaction(exchange, documents, answer)
    reasons: list[Any] = []
    blocked, content, answered = None, False, False
    for document in documents:
        answer.body |= {k: v for k, v in document.items() if v not in (None, "")}
        answer.error = answer.error or bool(document.get("error"))
        answer.ended = answer.ended or streams.ended(document)
        usage = document.get("usageMetadata")
        if isinstance(usage, dict):  # cumulative: what a chunk repeats, it restates
            answer.usage |= usage
            answer.usage_place = f"{prefix}usageMetadata"
        feedback = document.get("promptFeedback")
        blocked = (feedback.get("blockReason") if isinstance(feedback, dict) else None) or blocked
        for candidate in _dicts(document.get("candidates")):
            answered = True
            reasons.append(candidate.get("finishReason"))
            content = content or _says_something(candidate)
    answer.finish = _finish(exchange, reasons, blocked, prefix)
    if exchange.claim.operation == "generate_content":
        if not documents:
            answer.error = _is_no_answer(exchange)
        answer.outcome = _judge(answer, blocked, content, answered)
    return answer


def _documents(exchange: Exchange) -> tuple[list[dict[str, Any]], str]:
    """The response, the chunks of its stream, or those of a stream that came as one JSON array."""
    if exchange.events:
        return list(exchange.event_json()), "chunk."
    body = exchange.response_json
    if isinstance(body, list):
        return _dicts(body), "[]."
    return ([body] if isinstance(body, dict) else []), ""


def _dicts(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; none where it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _is_no_answer(exchange: Exchange) -> bool:
    """A 200 with something else in it, a proxy's page for example. A stream of another content type is one."""
    content = exchange.content
    if content is None or not exchange.succeeded or exchange.events:
        return False
    return not content.lstrip().startswith((b"data:", b"event:", b":", b"["))


def _says_something(candidate: dict[str, Any]) -> bool:
    """A text that is no thought, or any other part: a call, an image, code."""
    content = candidate.get("content")
    for part in _dicts(content.get("parts")) if isinstance(content, dict) else []:
        if (part.get("text") and part.get("thought") is not True) or set(part) - _SILENT:
            return True
    return False


def _finish(exchange: Exchange, reasons: list[Any], blocked: Any, prefix: str) -> Finding:
    """The finish reasons of all candidates; of a blocked prompt the reason of that."""
    names = {name for name in (_named(reason, _FINISH) for reason in reasons) if name}
    if not names and (why := _named(blocked, _BLOCKED)):
        spot = f"{prefix}promptFeedback.blockReason"
        return found(why, "derived" if isinstance(blocked, int) else "response_body", spot)
    spot = f"{prefix}candidates[].finishReason"
    if names and any(isinstance(reason, int) for reason in reasons):
        return found(",".join(sorted(names)), "derived", f"{spot}, an enumeration's number")
    return body_finding(exchange, ",".join(sorted(names)) or None, spot)


def traffic(value: Any) -> str | None:
    """A traffic type's name."""
    return _named(value, _TRAFFIC)


def _named(value: Any, names: list[str]) -> str | None:
    """An enumeration's name; None for the unspecified one, and for a number without a name."""
    if isinstance(value, int) and not isinstance(value, bool):
        return names[value] if 0 < value < len(names) else None
    return value if isinstance(value, str) and value and value != names[0] else None


def _judge(answer: Answer, blocked: Any, content: bool, answered: bool) -> Outcome | None:
    finish = answer.finish.value if answer.finish else None
    reasons = set(finish.split(",")) if isinstance(finish, str) else set()
    if _named(blocked, _BLOCKED) or reasons & _FILTERED:
        return "filtered"
    if reasons & {"MAX_TOKENS", "CONTINUATION"}:
        return "truncated"
    return None if content or not (answered or answer.body) else "empty"


def _interaction(exchange: Exchange, documents: list[dict[str, Any]], answer: Answer) -> Answer:
    """The Interactions API: a stream's events carry the interaction, its last one is whole but for its steps."""
    content = False
    for document in documents:
        kind = document.get("event_type")
        inner = document.get("interaction")
        if isinstance(inner, dict):
            answer.body |= inner
            answer.prefix = f"event {str(kind)[:64]}.interaction."
        elif kind is None:
            answer.body |= document
        delta = document.get("delta")
        step = document.get("step")
        content = content or (isinstance(delta, dict) and bool(delta.get("text")))
        content = content or (isinstance(step, dict) and step.get("type") not in ("thought", "model_output", None))
        answer.error = answer.error or bool(document.get("error")) or kind == "error"
    usage = answer.body.get("usage")
    if isinstance(usage, dict):
        answer.usage, answer.usage_place = usage, answer.where("usage")
        answer.ended = True
    status = answer.body.get("status")
    if status != "in_progress":  # it has not finished
        answer.finish = body_finding(exchange, status, answer.where("status"))
    for step in _dicts(answer.body.get("steps")):
        if step.get("type") == "model_output":
            content = content or any(part.get("text") or part.get("data") for part in _dicts(step.get("content")))
        else:
            content = content or step.get("type") not in ("thought", "user_input", None)
    if isinstance(status, str) and exchange.request.method == "POST":
        answer.outcome = _INTERACTION.get(status) or (None if content or status != "completed" else "empty")
    return answer
