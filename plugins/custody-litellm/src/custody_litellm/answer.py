"""What an exchange answered, whole or streamed, in one form. Nothing of a body's types is taken for granted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from custody.plugin import Exchange

_TOP = "id responseId model modelVersion system_fingerprint service_tier".split()
_COUNTS = "usage", "usageMetadata", "meta"
_OLLAMA = "prompt_eval_count", "eval_count"
_KINDS = ("choices", "candidates", "content", "output", "message", "data", "embeddings", "response", "results",
          "generations", "embedding")  # fmt: skip


@dataclass
class Answer:
    """What the vendor said.

    Attributes:
        body: top-level fields; ``places``: where a stream stated them.
        known: the body is in one of the known shapes.
        content: there is text or a tool call in it.
    """

    body: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    finish_reason: str | None = None
    finish_field: str = ""
    known: bool = False
    content: bool = False
    error: bool = False

    def where(self, name: str) -> str:
        return self.places.get(name, "") + name


def answer_of(exchange: Exchange) -> Answer:
    """The answer of an exchange; empty where there is none."""
    answer = Answer()
    if exchange.events:
        for event in exchange.event_json():
            _take(answer, event, "event.")
        return answer
    body = exchange.response_json
    for one in body if isinstance(body, list) else [body]:  # Gemini's stream without SSE is one list
        if isinstance(one, dict):
            _take(answer, one, "")
    return answer


def _take(answer: Answer, said: dict[str, Any], prefix: str) -> None:
    answer.error = answer.error or bool(said.get("error")) or said.get("type") == "error"
    answer.known = answer.known or any(name in said for name in _KINDS)
    for place, holder in _holders(said, prefix):
        for name in _TOP:
            if isinstance(holder.get(name), str) and holder[name]:
                answer.body[name], answer.places[name] = holder[name], place
        for name in _COUNTS:
            if isinstance(holder.get(name), dict):
                held = answer.body.get(name)
                answer.body[name] = {**(held if isinstance(held, dict) else {}), **_stated(holder[name])}
                answer.places[name] = place
        for name in _OLLAMA:
            if name in holder:
                answer.body[name], answer.places[name] = holder[name], place
        for where, reason in _reasons(holder):
            answer.finish_reason, answer.finish_field = reason, f"{place}{where}"
        answer.content = answer.content or _says_something(holder)


def _holders(said: dict[str, Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The object itself, and those that Anthropic's, OpenAI's and Cohere's events wrap it in."""
    yield prefix, said
    for name in ("message", "delta", "response"):
        if isinstance(said.get(name), dict):
            yield f"{prefix}{name}.", said[name]


def _stated(counts: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in counts.items() if v is not None}


def _reasons(said: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("stop_reason", "stopReason", "finish_reason", "done_reason"):
        if isinstance(said.get(name), str) and said[name]:
            yield name, said[name]
    for name, reason in (("choices", "finish_reason"), ("candidates", "finishReason")):
        found = sorted({p[reason] for p in _dicts(said.get(name)) if isinstance(p.get(reason), str) and p[reason]})
        if found:
            yield f"{name}[].{reason}", ",".join(found)
    if said.get("object") == "response" and isinstance(said.get("status"), str):
        yield "status", said["status"]


def _says_something(said: dict[str, Any]) -> bool:
    for choice in _dicts(said.get("choices")):
        inner = [choice, *(choice[n] for n in ("message", "delta") if isinstance(choice.get(n), dict))]
        if any(part.get(name) for part in inner for name in ("content", "text", "tool_calls", "reasoning_content")):
            return True
    for candidate in _dicts(said.get("candidates")):
        content = candidate.get("content")
        if isinstance(content, dict) and content.get("parts"):
            return True
    if isinstance(said.get("response"), str) and said["response"]:
        return True  # Ollama's; another's "response" is an object
    return any(said.get(name) for name in ("content", "text", "tool_calls", "output", "generations", "partial_json"))


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
