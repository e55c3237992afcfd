"""Events of Bedrock's streams: what they hold, and which one is the last.

ConverseStream's events have names and end with ``metadata``. InvokeModelWithResponseStream's are all called
``chunk``; in each is an event of the model's own, in base64, and Bedrock puts its metrics into the last one.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from custody.plugin import Event, Exchange, Terminal, parse_json

METRICS = "amazon-bedrock-invocationMetrics"
_STOPS = ("completionReason", "totalOutputTextTokenCount", "stop_reason", "finish_reason", "messageStop")


def inner(event: Event) -> dict[str, Any]:
    """What an event says, as one object: of a named one under its name, of a chunk the model's own event."""
    value = parse_json(event.data.encode())
    if not isinstance(value, dict):
        return {}
    if event.name != "chunk":
        return {event.name: value}
    try:
        value = parse_json(base64.b64decode(value.get("bytes") or "", validate=True))
    except (binascii.Error, TypeError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def failed(event: Event) -> bool:
    """An exception (``throttlingException``) or an error by its code (``InternalFailure``): events are lower camel."""
    return event.name.endswith("Exception") or event.name[:1].isupper()


def documents(exchange: Exchange) -> list[dict[str, Any]]:
    """All that was said: the events' contents, or the one body; failures are left out."""
    if exchange.events:
        return [inner(event) for event in exchange.events if not failed(event)]
    body = exchange.response_json
    return [body] if isinstance(body, dict) else []


def end(event: Event) -> Terminal | None:
    """``metadata``, or a chunk with Bedrock's metrics, ends a stream; a blocked prompt's one chunk has none."""
    if failed(event):
        return "error"
    if event.name == "metadata":
        return "complete"
    if event.name != "chunk":
        return None
    said = inner(event)
    if METRICS in said or said.get("type") == "message_stop":
        return "complete"
    return "complete_at_eof" if any(said.get(name) is not None for name in _STOPS) else None
