"""What a caller may hand over as a response: an object, JSON text, or the events of a stream."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

READ = frozenset(
    (
        "model modelVersion model_version service_tier serviceTier stop_reason stop_details category content output "
        "tools candidates performanceConfig inference_geo speed"
    ).split()
)
"""What the rules read of a body besides its usage."""

_IN_ORDER = ("usage", "usageMetadata", "usage_metadata")
_USAGES = frozenset(_IN_ORDER)
_KEPT = READ | _USAGES
_INSIDE = frozenset(("response", "message", "delta"))
_CONTENT = ("content_block_start", "content_block_delta")


class Known(NamedTuple):
    """The usage object and the body, as plain objects; empty where they are not known."""

    usage: dict[str, Any]
    response: dict[str, Any]


def known_of(vendor: str | None, usage: Any, response: Any) -> Known:
    """Of a stream's events, later statements win: vendors' counts are cumulative."""
    body = dict(response) if type(response) is dict else _body(_plain(response))
    if type(usage) is dict and usage and _USAGES.isdisjoint(usage):
        return Known(usage, body)
    stated = _plain(usage)
    if isinstance(stated, list):
        stated = _merged([part for part in stated if isinstance(part, dict)])
    if not isinstance(stated, dict) or not stated:
        stated = _usage_in(body)
    elif inner := _usage_in(stated):  # a whole body in place of its usage
        stated = inner
    return Known(stated, body)


def _usage_in(body: dict[str, Any]) -> dict[str, Any]:
    for inner in map(body.get, _IN_ORDER):
        if isinstance(inner, dict):
            return inner
    return {}


def headers_of(headers: Any) -> dict[str, str]:
    """Headers by lower-case name."""
    pairs = headers.items() if isinstance(headers, Mapping) or hasattr(headers, "items") else headers or ()
    return {str(name).lower(): str(value) for name, value in pairs if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, (str, bytes)):
        try:
            return json.loads(value, parse_float=Decimal)
        except ValueError:
            return None
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if callable(dump) else value


def _body(response: Any) -> dict[str, Any]:
    if isinstance(response, Mapping):
        return dict(response)
    if not isinstance(response, list):
        return {}
    merged: dict[str, Any] = {}
    for event in response:
        if isinstance(event, dict):
            _take(merged, event)
    return merged


def _take(merged: dict[str, Any], event: dict[str, Any]) -> None:
    """One event of a stream."""
    _take_part(merged, event)
    for name in sorted(_INSIDE.intersection(event), reverse=True):  # what is further inside was said later
        part = event[name]
        if isinstance(part, dict):
            _take_part(merged, part)
    if not merged.get("content") and event.get("type") in _CONTENT:
        merged["content"] = [event["type"]]  # that there is any is all that is asked


def _take_part(merged: dict[str, Any], part: dict[str, Any]) -> None:
    for name in _KEPT.intersection(part):
        value = part[name]
        if value is None:
            continue
        if name == "usage" and isinstance(value, dict):
            value = _merged([merged.get("usage") or {}, value])
        elif name == "candidates" and isinstance(value, list):  # grounding may stand in any chunk
            value = [*merged.get("candidates", []), *value]
        merged[name] = value


def _merged(parts: list[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for part in parts:
        merged |= {name: value for name, value in part.items() if value is not None}
    return merged
