"""Marked texts: nothing of a difference is lost, and each side can be read out of it."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.cli.marked import marked


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("Say hello to the harbour.", "Say hello to the harbor.", "Say hello to the [-harbour-]{+harbor+}."),
        ("a b c", "a c", "a [-b -]c"),
        ("", "new", "{+new+}"),
        ("gone", "", "[-gone-]"),
        ("same", "same", "same"),
    ],
)
def test_marks(old: str, new: str, expected: str) -> None:
    assert marked(old, new) == expected


def test_what_is_alike_is_cut_and_what_differs_is_not() -> None:
    long = "word " * 1000
    shown = marked(long + "x" + long, long + "y" * 500 + long)
    assert "[-x-]" in shown or "-]" in shown
    assert "y" * 500 in shown and "characters alike" in shown
    assert len(shown) < 1500


words = st.text(alphabet="ab \n", max_size=40)


@given(words, words)
def test_each_side_can_be_read_out(old: str, new: str) -> None:
    shown = marked(old, new)
    assert re.sub(r"\{\+.*?\+\}", "", shown, flags=re.DOTALL).replace("[-", "").replace("-]", "") == old
    assert re.sub(r"\[-.*?-\]", "", shown, flags=re.DOTALL).replace("{+", "").replace("+}", "") == new


def test_long_texts_without_anything_in_common_take_no_minutes() -> None:
    began = time.perf_counter()
    old, new = " ".join(f"a{n}" for n in range(40_000)), " ".join(f"b{n}" for n in range(40_000))
    assert marked(old, new).startswith("[-a0 ")
    assert time.perf_counter() - began < 20
