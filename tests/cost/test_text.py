"""The short reading of a usage object is the long one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.cost.record import Unpriced
from custody.cost.usage import openai
from custody.cost.usage.counts import Counted
from custody.cost.usage.text import INSIDE, OUTSIDE, text_only

COUNTS = st.one_of(st.integers(-1, 9), st.sampled_from([0, 0, 0, None, True, False, 2.0, "", {}, 10**30]))
TOP = ("total_tokens", "cached_tokens", "reasoning_tokens", "prompt_cache_hit_tokens", "surprise_tokens", "queue_time")
DIALECTS = [("prompt", "completion"), ("input", "output"), ("prompt", "output")]


def details(names: frozenset[str]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.none(), st.just([]), st.dictionaries(st.sampled_from([*sorted(names), "surprise"]), COUNTS, max_size=3)
    )


@st.composite
def usages(draw: st.DrawFn) -> dict[str, Any]:
    before, after = draw(st.sampled_from(DIALECTS))
    asked, made = draw(COUNTS), draw(COUNTS)
    raw = {f"{before}_tokens": asked, f"{after}_tokens": made}
    if type(asked) is int and type(made) is int and draw(st.booleans()):
        raw["total_tokens"] = asked + made
    raw |= draw(st.dictionaries(st.sampled_from(TOP), COUNTS, max_size=1))
    if draw(st.booleans()):
        raw[f"{before}_tokens_details"] = draw(details(INSIDE))
    if draw(st.booleans()):
        raw[f"{after}_tokens_details"] = draw(details(OUTSIDE))
    return raw


def long(raw: dict[str, Any], vendor: str) -> Counted | str:
    try:
        return openai._read(raw, vendor, "chat")
    except Unpriced as none:
        return none.reason


@given(usages(), st.sampled_from(["openai", "groq", "x-ai", "voyageai"]))
def test_short_is_as_long(raw: dict[str, Any], vendor: str) -> None:
    short = text_only(raw)
    if short is not None:
        right = long(raw, vendor)
        assert short == right
        assert isinstance(right, Counted) and list(short.classes) == list(right.classes), (
            "items of a bill have an order"
        )


@pytest.mark.parametrize(
    ("raw", "classes"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}, {"input": 3, "output": 2}),
        (
            {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13, "input_tokens_details": {"cached_tokens": 5},
             "output_tokens_details": {"reasoning_tokens": 1, "audio_tokens": 0}},
            {"cache_read": 5, "input": 4, "reasoning": 1, "output": 3},
        ),
    ],
)  # fmt: skip
def test_what_is_usual_is_short(raw: dict[str, Any], classes: dict[str, int]) -> None:
    assert text_only(raw) == Counted(classes)
    assert long(raw, "openai") == Counted(classes)
