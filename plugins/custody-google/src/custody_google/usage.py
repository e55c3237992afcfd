"""Token counts in disjoint classes. Google counts cached tokens inside the prompt; thoughts, and what tools read,
outside of it and of the candidates. ``totalTokenCount`` is the sum."""

from __future__ import annotations

from typing import Any

from custody.plugin import Exchange, Usage, count, plain_numbers
from custody_google.answer import Answer

_GEMINI = (
    "promptTokenCount cachedContentTokenCount toolUsePromptTokenCount candidatesTokenCount thoughtsTokenCount "
    "totalTokenCount"
).split()
_INTERACTIONS = (
    "total_input_tokens total_cached_tokens total_tool_use_tokens total_output_tokens total_thought_tokens total_tokens"
).split()


def read(exchange: Exchange, answer: Answer) -> Usage | None:
    """None where the response states no usage."""
    operation = exchange.claim.operation
    if operation == "embeddings" and (counted := _embedded(answer.body)):
        return counted
    if operation not in ("generate_content", "interactions", "embeddings"):
        return None  # a cache's size, say
    raw = answer.usage
    names = _INTERACTIONS if operation == "interactions" else _GEMINI
    given, cached, tool, made, thought, total = (count(raw.get(name)) for name in names)
    if given is None and made is None:
        return None
    if given is not None and (cached or 0) > given:
        cached = None  # a part that exceeds its whole is not a part of it
    if made is None and None not in (given, total) and exchange.succeeded:
        # Where nothing was said, the count is left out; the total tells that it is none.
        rest = (total or 0) - (given or 0) - (tool or 0) - (thought or 0)
        made = rest if rest >= 0 else None
    if exchange.events and not answer.ended:
        made = thought = None  # the last chunk would have them
    return Usage(
        input=None if given is None else given - (cached or 0) + (tool or 0),
        output=made,
        cache_read=cached,
        reasoning=thought,
        raw=plain_numbers(raw),
        evidence=f"response_body:{answer.usage_place}",
    )


def _embedded(body: dict[str, Any]) -> Usage | None:
    """Vertex AI's ``predict``: each embedding states its tokens."""
    counts = []
    predictions = body.get("predictions")
    for prediction in predictions if isinstance(predictions, list) else []:
        embeddings = prediction.get("embeddings") if isinstance(prediction, dict) else None
        statistics = embeddings.get("statistics") if isinstance(embeddings, dict) else None
        counts.append(count(statistics.get("token_count")) if isinstance(statistics, dict) else None)
    known = [n for n in counts if n is not None]
    if not known or len(known) < len(counts):
        return None
    where = "predictions[].embeddings.statistics.token_count"
    return Usage(input=sum(known), output=None, raw={"token_count": known[:64]}, evidence=f"response_body:{where}")
