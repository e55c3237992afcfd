"""Token counts in disjoint classes. OpenAI counts cached tokens inside the input, reasoning inside the output.

Dialects, as recorded: Assistants' runs write ``prompt_token_details``; Together puts ``cached_tokens``, and
DeepSeek ``prompt_cache_hit_tokens``, beside the totals; Groq's streams have their usage in ``x_groq``.
"""

from __future__ import annotations

from typing import Any

from custody.plugin import Usage, count, plain_numbers
from custody_openai.answer import Answer


def read(answer: Answer, *, no_output: bool = False) -> Usage | None:
    """None where the response states no usage: a chat stream without ``include_usage``.

    ``no_output``: embeddings and rankings, whose total is their input.
    """
    raw, where = answer.body.get("usage"), "usage"
    if not isinstance(raw, dict):
        groq = answer.body.get("x_groq")
        raw, where = groq.get("usage") if isinstance(groq, dict) else None, "x_groq.usage"
    if not isinstance(raw, dict):
        return None
    given = count(raw.get("prompt_tokens", raw.get("input_tokens")))
    made = count(raw.get("completion_tokens", raw.get("output_tokens")))
    if no_output and given is None:
        given = count(raw.get("total_tokens"))
    if given is None and made is None:
        return None
    inside = _details(
        raw, "prompt_tokens_details", "input_tokens_details", "prompt_token_details", "input_token_details"
    )
    outside = _details(raw, "completion_tokens_details", "output_tokens_details")
    cached = count(inside.get("cached_tokens", raw.get("cached_tokens", raw.get("prompt_cache_hit_tokens"))))
    written = count(inside.get("cache_write_tokens"))
    reasoning = count(outside.get("reasoning_tokens"))
    # Parts that exceed their whole are not parts of it; then the whole is all that is known.
    if given is None or (cached or 0) + (written or 0) > given:
        cached = written = None
    if made is None or (reasoning or 0) > made:
        reasoning = None
    return Usage(
        input=None if given is None else given - (cached or 0) - (written or 0),
        output=None if made is None else made - (reasoning or 0),
        cache_read=cached,
        cache_write=written,
        reasoning=reasoning,
        raw=plain_numbers(raw),
        evidence=f"response_body:{answer.field(where)}",
    )


def _details(raw: dict[str, Any], *names: str) -> dict[str, Any]:
    for inner in map(raw.get, names):
        if isinstance(inner, dict):
            return inner
    return {}
