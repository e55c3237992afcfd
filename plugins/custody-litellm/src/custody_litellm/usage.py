"""Token counts in disjoint classes, by the shape of the vendor's usage object.

OpenAI and Gemini count cached tokens inside the input, Anthropic and Bedrock Converse beside it; OpenAI counts
reasoning inside the output, Gemini thoughts beside the candidates. Cohere and Ollama state two totals.
"""

from __future__ import annotations

from typing import Any

from custody.plugin import Usage, count, plain_numbers
from custody_litellm.answer import Answer


def read(answer: Answer) -> Usage | None:
    """None where the response states no usage in a known shape."""
    raw = answer.body.get("usageMetadata")
    if isinstance(raw, dict):
        return _gemini(raw, answer.where("usageMetadata"))
    raw = answer.body.get("usage")
    if isinstance(raw, dict):
        where = answer.where("usage")
        if isinstance(raw.get("tokens"), dict):
            return _cohere(raw["tokens"], f"{where}.tokens")
        if "inputTokens" in raw or "outputTokens" in raw:
            return _converse(raw, where)
        if "cache_read_input_tokens" in raw or "cache_creation_input_tokens" in raw:
            return _anthropic(raw, where)
        return _openai(raw, where)
    meta = answer.body.get("meta")
    if isinstance(meta, dict) and isinstance(meta.get("tokens"), dict):
        return _cohere(meta["tokens"], f"{answer.where('meta')}.tokens")
    return _ollama(answer)


def _openai(raw: dict[str, Any], where: str) -> Usage | None:
    given = count(raw.get("prompt_tokens", raw.get("input_tokens")))
    made = count(raw.get("completion_tokens", raw.get("output_tokens")))
    inside = _details(raw, "prompt_tokens_details", "input_tokens_details")
    outside = _details(raw, "completion_tokens_details", "output_tokens_details")
    cached, reasoning = count(inside.get("cached_tokens")), count(outside.get("reasoning_tokens"))
    # A part that exceeds its whole is no part of it; then the whole is all that is known.
    if given is None or (cached or 0) > given:
        cached = None
    if made is None or (reasoning or 0) > made:
        reasoning = None
    less_in = None if given is None else given - (cached or 0)
    less_out = None if made is None else made - (reasoning or 0)
    return _usage(less_in, less_out, raw, where, cache_read=cached, reasoning=reasoning)


def _anthropic(raw: dict[str, Any], where: str) -> Usage | None:
    return _usage(
        count(raw.get("input_tokens")),
        count(raw.get("output_tokens")),
        raw,
        where,
        cache_read=count(raw.get("cache_read_input_tokens")),
        cache_write=count(raw.get("cache_creation_input_tokens")),
    )


def _gemini(raw: dict[str, Any], where: str) -> Usage | None:
    given, cached = count(raw.get("promptTokenCount")), count(raw.get("cachedContentTokenCount"))
    if given is None or (cached or 0) > given:
        cached = None
    return _usage(
        None if given is None else given - (cached or 0),
        count(raw.get("candidatesTokenCount")),
        raw,
        where,
        cache_read=cached,
        reasoning=count(raw.get("thoughtsTokenCount")),
    )


def _converse(raw: dict[str, Any], where: str) -> Usage | None:
    return _usage(
        count(raw.get("inputTokens")),
        count(raw.get("outputTokens")),
        raw,
        where,
        cache_read=count(raw.get("cacheReadInputTokens")),
        cache_write=count(raw.get("cacheWriteInputTokens")),
    )


def _cohere(raw: dict[str, Any], where: str) -> Usage | None:
    return _usage(_whole(raw.get("input_tokens")), _whole(raw.get("output_tokens")), raw, where)


def _ollama(answer: Answer) -> Usage | None:
    raw: dict[str, Any] = {
        name: answer.body[name] for name in ("prompt_eval_count", "eval_count") if name in answer.body
    }
    where = answer.where("eval_count" if "eval_count" in raw else "prompt_eval_count")
    return _usage(count(raw.get("prompt_eval_count")), count(raw.get("eval_count")), raw, where)


def _usage(given: int | None, made: int | None, raw: dict[str, Any], where: str, **more: int | None) -> Usage | None:
    if given is None and made is None:
        return None
    return Usage(given, made, raw=plain_numbers(raw), evidence=f"response_body:{where}", **more)


def _whole(value: Any) -> int | None:
    """A count; Cohere writes its whole numbers as floats."""
    return count(int(value) if isinstance(value, float) and value.is_integer() else value)


def _details(raw: dict[str, Any], *names: str) -> dict[str, Any]:
    return next((raw[name] for name in names if isinstance(raw.get(name), dict)), {})
