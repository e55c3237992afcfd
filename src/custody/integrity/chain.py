"""Follows a chronolog's chain, given in pieces: two lines for each of 10^6 calls are not held in memory."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable

GENESIS = "0" * 64
CUT = b"\x18"
"""How a shared log ends a line that a crash cut (``storage.SharedLog``)."""

_LINKED = re.compile(rb'\{"seq":([1-9]\d{0,17}),"time":"[^"\\]*","event":".*,"previous_sha256":"([0-9a-f]{64})"\}')


class Chain:
    """One pass over a chronolog.

    Args:
        bound: the number of an event to look out for.

    Attributes:
        problems: what is wrong with the chain, the first wrong line first. A torn line is no problem.
        lines: whole ones.
        torn: the last line has no end, as a crash leaves it.
        last: which line is the last one that is an event.
        met: which line has the number that is bound, and its SHA-256.
    """

    def __init__(self, bound: int | None = None) -> None:
        self.problems: list[str] = []
        self.lines = self.last = 0
        self.torn = False
        self.met: tuple[int, str] | None = None
        self._bound = bound
        self._previous, self._number = GENESIS, 0
        self._rest = b""
        self._held: bytes | None = None  # the last whole line, until it is known whether another one follows

    def follow(self, blocks: Iterable[bytes]) -> Chain:
        """Go through all of it."""
        for block in blocks:
            self.feed(block)
        return self.end()

    def feed(self, block: bytes) -> None:
        """The next piece of it."""
        whole, newline, rest = block.rpartition(b"\n")
        if not newline:
            self._rest += rest
            return
        *earlier, last = (self._rest + whole).split(b"\n")
        self._rest = rest
        for line in earlier if self._held is None else (self._held, *earlier):
            self._line(line, followed=True)
        self._held = last

    def end(self) -> Chain:
        """Nothing follows."""
        if self._held is not None:
            self._line(self._held, followed=False)
            self._held = None
        self.torn = bool(self._rest)
        return self

    def _line(self, line: bytes, *, followed: bool) -> None:
        self.lines += 1
        plain = _LINKED.fullmatch(line) if followed else None
        digest = hashlib.sha256(line).hexdigest()
        if plain is not None and plain[2].decode() == self._previous and int(plain[1]) == self._number + 1:
            # As it is written here, and the next line covers all of it.
            self._number += 1
            self._event(self._number, digest)
            self._previous = digest
            return
        try:
            event = json.loads(line)
            claimed, linked = event["seq"], event.get("previous_sha256")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            if not line.endswith(CUT):
                self.problems.append(f"line {self.lines} is not an event")
            return
        if type(claimed) is int:
            self._event(claimed, digest)
        if linked is None:
            self.problems.append(f"line {self.lines} is not an event")
            return
        self._number += 1
        if linked != self._previous:
            self.problems.append(f"line {self.lines} does not follow the line before it (changed, removed or swapped)")
        elif claimed != self._number or type(claimed) is not int:
            self.problems.append(f"line {self.lines} has number {claimed}, expected {self._number}")
        self._previous, self._number = digest, claimed if type(claimed) is int else self._number

    def _event(self, number: int, digest: str) -> None:
        self.last = self.lines
        if number == self._bound and self.met is None:
            self.met = self.lines, digest


__all__ = ["CUT", "GENESIS", "Chain"]
