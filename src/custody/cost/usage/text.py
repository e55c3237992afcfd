"""The usage object of most answers of OpenAI's kind, which are text: read in a few steps, or left to ``openai``.

What is read here is read as ``openai`` reads it; a property test holds the one to the other.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

from custody.cost.usage.counts import Counted

INSIDE = frozenset(
    "cached_tokens cache_write_tokens text_tokens audio_tokens image_tokens video_tokens cached_tokens_details".split()
)
OUTSIDE = frozenset(
    (
        "reasoning_tokens text_tokens audio_tokens image_tokens video_tokens accepted_prediction_tokens "
        "rejected_prediction_tokens"
    ).split()
)
"""What the details of the input and of the output may hold."""


class _Names(NamedTuple):
    """What one of the two great dialects calls its counts, and its details."""

    given: str
    made: str
    inside: str
    outside: str
    total: str = "total_tokens"


_CHAT = _Names("prompt_tokens", "completion_tokens", "prompt_tokens_details", "completion_tokens_details")
_RESPONSES = _Names("input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details")
_TIMES = ("queue_time", "prompt_time", "completion_time", "total_time")  # Groq's, and nothing that is billed
_OF_CHAT, _OF_RESPONSES = frozenset((*_CHAT, *_TIMES)), frozenset(_RESPONSES)
_INT = frozenset((int,))
_BEYOND = 10**27  # a sum of decimals would be rounded


def text_only(raw: dict[str, Any]) -> Counted | None:
    """Text, some of it cached, some of it thought, and a total that is the sum; None where there is more to read."""
    if _OF_CHAT.issuperset(raw):
        names = _CHAT
    elif _OF_RESPONSES.issuperset(raw):
        names = _RESPONSES
    else:
        return None
    stated: tuple[Any, ...] = (
        raw.get(names.given),
        raw.get(names.made),
        raw.get(names.total),
        _only(raw.get(names.inside), "cached_tokens", INSIDE),
        _only(raw.get(names.outside), "reasoning_tokens", OUTSIDE),
    )
    if not _INT.issuperset(map(type, stated)):
        return None
    given, made, total, cached, reasoning = stated
    if not (0 <= cached <= given and 0 <= reasoning <= made and total == given + made < _BEYOND):
        return None
    classes = {}
    if cached:
        classes["cache_read"] = Decimal(cached)
    if given > cached:
        classes["input"] = Decimal(given - cached)
    if reasoning:
        classes["reasoning"] = Decimal(reasoning)
    if made > reasoning:
        classes["output"] = Decimal(made - reasoning)
    return Counted(classes)


def _only(details: Any, name: str, known: frozenset[str]) -> Any:
    """A count beside which all others are 0, itself 0 where it is not there; None where that is not so."""
    if details is None:
        return 0
    if type(details) is not dict or not known.issuperset(details):
        return None
    counts = details.values()
    if not _INT.issuperset(map(type, counts)):
        return None
    if not any(counts):
        return 0
    found = details.get(name, 0)
    return found if sum(counts) == found and min(counts) >= 0 else None
