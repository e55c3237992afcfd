"""What a caller may hand over as a response: an object, JSON text, or the events of a stream."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple


class Known(NamedTuple):
    """The usage object and the body, as plain objects; empty where they are not known."""

    usage: dict[str, Any]
    response: dict[str, Any]


def known_of(vendor: str | None, usage: Any, response: Any) -> Known:
    """Of a stream's events, later statements win: vendors' counts are cumulative."""
    body = _body(_plain(response))
    stated = _plain(usage)
    if isinstance(stated, list):
        stated = _merged([part for part in stated if isinstance(part, dict)])
    if not isinstance(stated, dict) or not stated:
        stated = _usage_in(body)
    elif inner := _usage_in(stated):  # a whole body in place of its usage
        stated = inner
    return Known(stated, body)


def _usage_in(body: dict[str, Any]) -> dict[str, Any]:
    return next((body[n] for n in ("usage", "usageMetadata", "usage_metadata") if isinstance(body.get(n), dict)), {})


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
    for part in (event, event.get("response"), event.get("message"), event.get("delta")):
        if not isinstance(part, dict):
            continue
        fields = {name: value for name, value in part.items() if value is not None and name != "delta"}
        if isinstance(fields.get("usage"), dict):
            fields["usage"] = _merged([merged.get("usage") or {}, fields["usage"]])
        if isinstance(fields.get("candidates"), list):  # grounding may stand in any chunk
            fields["candidates"] = [*merged.get("candidates", []), *fields["candidates"]]
        merged |= fields
    if event.get("type") in ("content_block_start", "content_block_delta"):
        merged["content"] = [*(merged.get("content") or []), event["type"]]


def _merged(parts: list[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for part in parts:
        merged |= {name: value for name, value in part.items() if value is not None}
    return merged
