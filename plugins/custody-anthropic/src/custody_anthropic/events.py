"""The events of a stream: server-sent ones, and on Bedrock the same in base64 within AWS's frames."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from custody.plugin import Event, Exchange, Terminal, parse_json

METRICS = "amazon-bedrock-invocationMetrics"


def documents(exchange: Exchange) -> Iterator[dict[str, Any]]:
    """The events whose data is a JSON object, in order."""
    for event in exchange.events:
        name, data = _opened(event)
        value = parse_json(data.encode())
        if name == "error" and not isinstance(value, dict):
            yield {"type": "error"}
        elif isinstance(value, dict):
            yield {**value, "type": "error"} if name == "error" else value


def end(event: Event) -> Terminal | None:
    """``message_stop`` ends a message; ``error`` is a failure inside the stream; the older API stops in a field."""
    name, data = _opened(event)
    plain = data.replace(" ", "")
    if name == "message_stop" or '"type":"message_stop"' in plain or f'"{METRICS}":' in plain:
        return "complete"
    if name == "error":
        return "error"
    older = name == "completion" or '"completion":' in plain
    return "complete_at_eof" if older and '"stop_reason":"' in plain else None


def _opened(event: Event) -> tuple[str, str]:
    """Name and data of an event; what failed on AWS's side of a stream is called ``error``."""
    name = event.name
    if name == "chunk":
        value = parse_json(event.data.encode())
        try:
            inner = base64.b64decode(value["bytes"], validate=True) if isinstance(value, dict) else b""
        except (KeyError, TypeError, ValueError, binascii.Error):
            inner = b""
        return "", inner.decode("utf-8", "replace")
    if name.endswith("Exception") or name[:1].isupper():  # AWS's names of failures
        return "error", event.data
    return name, event.data
