"""Ranges are sets."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from custody.journal.ranges import Ranges

numbers = st.integers(1, 40)


@given(st.lists(st.tuples(numbers, numbers).map(sorted), max_size=30), st.lists(numbers, max_size=30))
def test_it_is_a_set(spans: list[list[int]], more: list[int]) -> None:
    ranges, known = Ranges(), set[int]()
    for first, last in spans:
        new = set(range(first, last + 1))
        assert ranges.add_range(first, last) == known.isdisjoint(new)
        if known.isdisjoint(new):
            known |= new
    other = Ranges()
    for number in more:
        other.add(number)
    ranges.update(other)
    known |= set(more)
    kept = list(ranges)
    assert {n for first, last in kept for n in range(first, last + 1)} == known
    assert all(before[1] + 1 < after[0] for before, after in pairwise(kept)), "apart, in order"
    missing = set(range(1, max(known, default=0) + 1)) - known
    assert ranges.missing() == (len(missing), min(missing, default=0))
