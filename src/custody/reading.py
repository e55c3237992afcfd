"""What readers of every vendor need: small, pure, and forgiving of what vendors send."""

from __future__ import annotations

import math
import re
from datetime import date
from functools import lru_cache
from typing import Any

from custody.exchange import Exchange
from custody.record import LONGEST, Finding, found, unknown

_NOT_STATED = unknown("not_stated")
_DATED = re.compile(r"(?<!\d)(20\d\d)(-?)(\d\d)\2(\d\d)(?!\d)", re.ASCII)


@lru_cache(maxsize=1024)
def build_date(model: Finding) -> Finding:
    """A model's build date from the date in its name; the name's other digits are no date."""
    if not isinstance(model.value, str):
        return unknown("response_incomplete" if model.evidence.endswith("incomplete") else "not_stated")
    for match in _DATED.finditer(model.value):
        try:
            day = date(int(match[1]), int(match[3]), int(match[4]))
        except ValueError:
            continue
        return found(day.isoformat(), "derived", "date in actual_model")
    return unknown("alias_undated")


def header_finding(exchange: Exchange, *names: str) -> Finding:
    """The first of these response headers that is there."""
    head = exchange.head
    if head is None:
        return unknown("no_response")
    for name in names:
        value = head.header(name)
        if value:
            return Finding(value[:LONGEST], f"response_header:{name}")
    return _NOT_STATED


def body_finding(exchange: Exchange, value: Any, field: str) -> Finding:
    """A value that was read at ``field`` of the response body, or the reason for its absence."""
    if type(value) is str:
        return Finding(value[:LONGEST], f"response_body:{field}")
    if isinstance(value, (str, int, float)) and not isinstance(value, bool) and _finite(value):
        return found(value, "response_body", field)
    return unknown(absence(exchange))


def absence(exchange: Exchange) -> str:
    """Why a response does not say what it should."""
    if exchange.head is None:
        return "no_response"
    if exchange.ending != "complete":
        return "response_incomplete"
    if exchange.head.status == 101:  # a conversation: frames, not a body
        return "not_stated"
    if exchange.content is None or (exchange.response_json is None and not exchange.events):
        return "unreadable"
    return "not_stated"


def scalars(body: Any, *names: str) -> dict[str, Any]:
    """Request parameters by dotted name: numbers, booleans and short words, never text."""
    kept: dict[str, Any] = {}
    if not isinstance(body, dict):
        return kept
    order, beginnings = _order(names)
    if beginnings.isdisjoint(body):
        return kept
    wanted = sorted({at for name in beginnings & body.keys() for at in order[name]})
    for name in map(names.__getitem__, wanted):
        if name in body:
            value = body[name]
        elif "." in name:
            value = body
            for part in name.split("."):
                value = value.get(part) if isinstance(value, dict) else None
        else:
            continue
        if (isinstance(value, (bool, int, float)) and _finite(value)) or (isinstance(value, str) and _is_word(value)):
            kept[name] = value
    return kept


@lru_cache(maxsize=64)
def _order(names: tuple[str, ...]) -> tuple[dict[str, list[int]], frozenset[str]]:
    """At which places of ``names`` stand those that a top-level name can answer."""
    order: dict[str, list[int]] = {}
    for at, name in enumerate(names):
        for top in {name, name.partition(".")[0]}:
            order.setdefault(top, []).append(at)
    return order, frozenset(order)


def count(value: Any) -> int | None:
    """A token count, if it is one."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _is_word(value: str) -> bool:
    # In ASCII, because a sentence in Chinese has no spaces either.
    return 0 < len(value) <= 64 and value.isascii() and value.isprintable() and " " not in value


def _finite(value: str | int | float) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
