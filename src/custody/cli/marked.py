"""Two texts in one, the differences marked: ``[-archived-]{+asked+}``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import groupby, takewhile

_WORDS = re.compile(r"\w+|\s+|[^\w\s]")
_LINES = re.compile(r"[^\n]*\n|[^\n]+")
_MOST = 4_000_000  # comparisons of one piece with another; beyond, pieces are lines, then the whole text
_AROUND = 60


def marked(old: str, new: str) -> str:
    """Every difference in full; what is alike by its ends."""
    parts = ((kind, text) for kind, text in _compared(old, new) if text)
    grouped = ((kind, "".join(text for _, text in same)) for kind, same in groupby(parts, key=lambda part: part[0]))
    return "".join(_shown(kind, text) for kind, text in grouped)


def _compared(old: str, new: str) -> Iterator[tuple[str, str]]:
    a, b = _WORDS.findall(old), _WORDS.findall(new)
    start = _alike(a, b)
    stop = _alike(a[start:][::-1], b[start:][::-1])
    yield "=", "".join(a[:start])
    yield from _aligned(a[start : len(a) - stop], b[start : len(b) - stop])
    yield "=", "".join(a[len(a) - stop :])


def _aligned(a: list[str], b: list[str]) -> Iterator[tuple[str, str]]:
    if len(a) * len(b) > _MOST:
        a, b = _LINES.findall("".join(a)), _LINES.findall("".join(b))
    if len(a) * len(b) > _MOST:
        a, b = ["".join(a)], ["".join(b)]
    for operation, i, j, k, m in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if operation == "equal":
            yield "=", "".join(a[i:j])
        else:
            yield "-", "".join(a[i:j])
            yield "+", "".join(b[k:m])


def _alike(a: list[str], b: list[str]) -> int:
    """How many pieces are the same from the beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


def _shown(kind: str, text: str) -> str:
    if kind != "=":
        return f"[-{text}-]" if kind == "-" else f"{{+{text}+}}"
    hidden = len(text) - 2 * _AROUND
    return text if hidden < _AROUND else f"{text[:_AROUND]} ...({hidden} characters alike)... {text[-_AROUND:]}"
