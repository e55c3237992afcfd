"""Masks what a pattern matches, and leaves JSON what it is.

A plugin's pattern is matched against the bytes of a line or a file, so one such as ``token.*`` takes the quotation
marks and braces behind the secret as well, and nobody could read the line again. Where that happens, a match is masked
in the text in which it begins, to that text's end at most. One that begins with a name (``"pin":"[0-9]*"``) is masked
in the value behind it.
"""

from __future__ import annotations

import json
import re
from typing import Any

MASK = "[REDACTED]"
_MASK = MASK.encode()
_DEEPEST = 8  # JSON within JSON within JSON
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*', re.DOTALL)
_NAME = re.compile(rb"\s*:")


def masked(pattern: re.Pattern[bytes], data: bytes, depth: int = 0) -> bytes:
    """``data`` with each match masked: JSON stays JSON, also where its last brace is still to come."""
    found, count = pattern.subn(_MASK, data)
    if not count or data[:1] not in (b"{", b"["):
        return found
    tail = b""
    before = _parsed(data)
    if before is None:  # a line that is not sealed yet
        tail = b"}"
        before = _parsed(data + tail)
    if before is None or _same_shape(before, _parsed(found + tail)):
        return found
    return _within(pattern, data, depth)


def _within(pattern: re.Pattern[bytes], data: bytes, depth: int) -> bytes:
    """``data``, which is JSON, with each match masked in the text or number in which it begins."""
    tokens = [match.span() for match in _TOKEN.finditer(data)]
    pieces: list[bytes] = []
    done, at, search = 0, 0, 0
    while at < len(tokens) and (match := pattern.search(data, search)) is not None:
        begin, end = match.span()
        while at < len(tokens) and tokens[at][1] <= begin:
            at += 1
        if at == len(tokens) or tokens[at][0] >= end:  # it matches nothing but what stands between them
            search = max(end, begin + 1)
            continue
        start, stop = tokens[at]
        told = _told(data, tokens, at, end)
        if told is None or pattern.search(data[start:stop]):
            told = [at]
        search = stop
        for at in told:
            start, stop = tokens[at]
            # All matches within this text at once; the search goes on behind it.
            pieces += (data[done:start], _token(pattern, data, start, stop, max(begin, start), min(end, stop), depth))
            done = search = stop
        at += 1
    return b"".join((*pieces, data[done:]))


def _told(data: bytes, tokens: list[tuple[int, int]], at: int, end: int) -> list[int] | None:
    """Where the token ``at`` is a name: the texts and numbers of its value, as far as a match up to ``end`` goes."""
    name = _NAME.match(data, tokens[at][1])
    if name is None:
        return None
    found: list[int] = []
    place, open_brackets = name.end(), 0
    for number in range(at + 1, len(tokens)):
        start, stop = tokens[number]
        between = data[place:start]
        open_brackets += sum(map(between.count, (b"{", b"["))) - sum(map(between.count, (b"}", b"]")))
        # A value that is none of these (null), or that has ended, is followed by the next name.
        if start >= end or open_brackets < 0 or (not open_brackets and between.strip()):
            break
        if _NAME.match(data, stop) is None:
            found.append(number)
        if not open_brackets:
            break
        place = stop
    return found


def _token(
    pattern: re.Pattern[bytes], data: bytes, start: int, stop: int, begin: int, end: int, depth: int
) -> bytes:  # fmt: skip
    """One text or number in which, or before which, a match begins; it covers ``begin`` to ``end``."""
    token = data[start:stop]
    if token[:1] != b'"':
        return b'"%b"' % _MASK
    text = _parsed(token)
    if isinstance(text, str) and text[:1] in ("{", "[") and depth < _DEEPEST:
        inner = text.encode("utf-8", "backslashreplace")
        made = masked(pattern, inner, depth + 1)
        if made != inner and _parsed(inner) is not None:
            return json.dumps(made.decode("utf-8", "replace"), ensure_ascii=False).encode("utf-8", "backslashreplace")
    begin, end = max(begin, start + 1), min(end, stop - 1)
    rest = pattern.sub(_MASK, data[end : stop - 1])
    made = b'%b%b%b"' % (data[start:begin], _MASK, rest)
    return made if isinstance(_parsed(made), str) else b'"%b"' % _MASK


def _same_shape(before: Any, after: Any) -> bool:
    """Whether only texts have changed: a pattern may take a field with it and leave JSON all the same."""
    if isinstance(before, dict):
        return (
            isinstance(after, dict)
            and len(before) == len(after)
            and all(map(_same_shape, before.values(), after.values()))
        )
    if isinstance(before, list):
        return isinstance(after, list) and len(before) == len(after) and all(map(_same_shape, before, after))
    if not isinstance(before, str):
        return bool(before == after)
    if not isinstance(after, str):
        return False
    # A body is JSON within a line's text, and is to be read again as such.
    return before == after or before[:1] not in ("{", "[") or _same_within(_parsed(before), after)


def _same_within(before: Any, after: str) -> bool:
    return before is None or _same_shape(before, _parsed(after))


def _parsed(data: bytes | str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
