"""Sets of numbers that are mostly one range: which lines of a writer were seen."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator


class Ranges:
    """Whole numbers, kept as ranges that are apart from each other."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._ranges = [list(each) for each in ranges]  # first and last, ascending

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._ranges, number, key=lambda each: each[0])
        return at > 0 and number <= self._ranges[at - 1][1]

    def add(self, number: int) -> bool:
        """False where it was there before."""
        ranges = self._ranges
        if ranges and ranges[-1][1] == number - 1:  # nearly always the next one
            ranges[-1][1] = number
            return True
        return self.add_range(number, number)

    def add_range(self, first: int, last: int) -> bool:
        """False, and nothing added, where one of them was there before."""
        ranges = self._ranges
        at = len(ranges)
        while at and ranges[at - 1][0] > last:
            at -= 1
        if at and ranges[at - 1][1] >= first:
            return False
        joins_before = at > 0 and ranges[at - 1][1] == first - 1
        joins_after = at < len(ranges) and ranges[at][0] == last + 1
        if joins_before and joins_after:
            ranges[at - 1][1] = ranges.pop(at)[1]
        elif joins_before:
            ranges[at - 1][1] = last
        elif joins_after:
            ranges[at][0] = first
        else:
            ranges.insert(at, [first, last])
        return True

    def update(self, other: Ranges) -> None:
        """Add all of another set."""
        for first, last in other:
            if not self.add_range(first, last):
                for number in range(first, last + 1):
                    self.add(number)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """First and last of each range."""
        return ((first, last) for first, last in self._ranges)

    def missing(self) -> tuple[int, int]:
        """How many numbers from 1 to the highest are not there, and the first of them (0 where none is)."""
        count, first, expected = 0, 0, 1
        for begin, end in self._ranges:
            if begin > expected:
                count, first = count + begin - expected, first or expected
            expected = end + 1
        return count, first
