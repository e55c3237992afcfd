"""OpenAI's usage object and its kin. Cached tokens lie inside the input, reasoning inside the output.

Chat, Responses, Embeddings, Realtime, images and audio write it in slightly different words; DeepSeek, Groq,
Mistral, Together and others have taken it over, each with a field or two of its own.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from custody.cost.money import dollars
from custody.cost.record import Unpriced
from custody.cost.usage.counts import MODALITIES, Counted, count, part, unknown_fields
from custody.cost.usage.text import INSIDE, OUTSIDE, text_only

_INSIDE = ("prompt_tokens_details", "input_tokens_details", "prompt_token_details", "input_token_details")
_OUTSIDE = ("completion_tokens_details", "output_tokens_details", "completion_token_details", "output_token_details")
_KNOWN = (
    "prompt_tokens input_tokens completion_tokens output_tokens total_tokens cached_tokens prompt_cache_hit_tokens "
    "prompt_cache_miss_tokens reasoning_tokens seconds type queue_time prompt_time completion_time total_time "
    "cost cost_details is_byok cost_in_usd_ticks prompt_audio_seconds characters input_characters num_sources_used "
    "server_side_tool_usage_details pages_processed search_context_size num_cached_tokens"
).split()
_SECONDS = ("seconds", "audio_seconds", "duration_seconds", "duration", "prompt_audio_seconds")
_CHARACTERS = ("input_characters", "characters", "character_count")
_OTHER_UNITS = frozenset((*_SECONDS, *_CHARACTERS, "pages_processed"))
_FIELDS = tuple((kind, f"{kind}_tokens") for kind in MODALITIES)
_AT_TOP = frozenset((*_KNOWN, *_INSIDE, *_OUTSIDE, *_SECONDS, *_CHARACTERS))
_NO_OUTPUT = ("embeddings", "rerank", "moderations")


def read(raw: dict[str, Any], vendor: str, operation: str) -> Counted:
    """Raises ``Unpriced`` where usage is missing or does not add up."""
    return text_only(raw) or _read(raw, vendor, operation)


def _read(raw: dict[str, Any], vendor: str, operation: str) -> Counted:
    counted = Counted()
    if _other_units(raw, counted):
        return counted
    given = count(raw, "prompt_tokens", "input_tokens")
    made = count(raw, "completion_tokens", "output_tokens")
    total = count(raw, "total_tokens")
    if given is None and made is None and total is not None and (operation in _NO_OUTPUT or vendor == "voyageai"):
        given = total
    if made is None and given is not None and (operation in _NO_OUTPUT or total == given):
        made = 0
    if given is None or made is None:
        raise Unpriced("usage_missing")
    inside, outside = part(raw, *_INSIDE), part(raw, *_OUTSIDE)
    _input(raw, inside, given, counted)
    reasoning = count(outside, "reasoning_tokens") or count(raw, "reasoning_tokens") or 0
    beside = vendor == "x-ai" and reasoning > 0 and total == given + made + reasoning
    if vendor == "x-ai" and reasoning > 0 and total is None:
        raise Unpriced("usage_inconsistent", "without a total it is unknown whether reasoning is in the output")
    _output(outside, made + reasoning if beside else made, reasoning, counted)
    counted.must_be(total)
    counted.unknown += unknown_fields(raw, _AT_TOP)
    counted.unknown += unknown_fields(inside, INSIDE, "input.")
    counted.unknown += unknown_fields(outside, OUTSIDE, "output.")
    if count(raw, "num_sources_used"):
        counted.unknown.append("num_sources_used")
    return counted


def _other_units(raw: dict[str, Any], counted: Counted) -> bool:
    """Seconds, characters and pages; True where they are all there is."""
    if _OTHER_UNITS.isdisjoint(raw):
        return False
    seconds = _seconds(raw)
    if seconds is not None:
        counted.add("audio_seconds", seconds)
    characters = count(raw, *_CHARACTERS)
    if characters is not None:
        counted.add("input_characters", characters)
    pages = count(raw, "pages_processed")
    if pages is not None:
        counted.add("input_pages", pages)
    alone = seconds is not None or characters is not None or pages is not None
    return alone and not any(name in raw for name in ("prompt_tokens", "input_tokens"))


def _seconds(raw: dict[str, Any]) -> Decimal | None:
    value = next((raw[name] for name in _SECONDS if raw.get(name) is not None), None)
    if value is None or isinstance(value, (dict, list)):
        return None
    seconds = dollars(value)  # a decimal of at least 0, as it was written
    if seconds is None:
        raise Unpriced("usage_inconsistent", "seconds are no number")
    return seconds


def _input(raw: dict[str, Any], inside: dict[str, Any], given: int, counted: Counted) -> None:
    cached = count(inside, "cached_tokens")
    if cached is None:
        cached = count(raw, "cached_tokens", "prompt_cache_hit_tokens", "num_cached_tokens") or 0
    missed = count(raw, "prompt_cache_miss_tokens")
    if missed is not None and cached + missed != given:
        raise Unpriced("usage_inconsistent", "cache hits and misses are not the input")
    written = count(inside, "cache_write_tokens") or 0
    cached_details = part(inside, "cached_tokens_details")
    rest = given - cached - written
    uncached_text = cached
    for kind, field in _FIELDS:
        if _none(inside.get(field)) and _none(cached_details.get(field)):
            continue
        tokens = count(inside, field) or 0
        read = count(cached_details, field) or 0
        if tokens and cached and not cached_details:
            raise Unpriced("usage_inconsistent", f"it is not said how many of the cached tokens are {kind}")
        counted.add(f"input_{kind}", tokens - read)
        counted.add(f"cache_read_{kind}", read)
        rest -= tokens - read
        uncached_text -= read
    counted.add("cache_read", uncached_text)
    counted.add("cache_write", written)
    counted.add("input", rest)
    _text_is(inside, given)


def _output(outside: dict[str, Any], made: int, reasoning: int, counted: Counted) -> None:
    rest = made - reasoning
    for kind, field in _FIELDS:
        if _none(outside.get(field)):
            continue
        tokens = count(outside, field) or 0
        counted.add(f"output_{kind}", tokens)
        rest -= tokens
    counted.add("reasoning", reasoning)
    counted.add("output", rest)


def _none(value: Any) -> bool:
    return value is None or (type(value) is int and value == 0)


def _text_is(details: dict[str, Any], whole: int) -> None:
    """Where text is counted as well, the kinds are the whole."""
    text = count(details, "text_tokens")
    if not text:
        return
    kinds = sum(count(details, f"{kind}_tokens") or 0 for kind in MODALITIES)
    if text + kinds != whole:
        raise Unpriced("usage_inconsistent", f"text and other kinds add up to {text + kinds} of {whole} input tokens")
