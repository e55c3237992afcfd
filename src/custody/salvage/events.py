"""One server-sent event."""

from __future__ import annotations

import json
from typing import Any


def event(data: dict[str, Any], name: str | None = None, end: str = "\n\n") -> bytes:
    """The bytes of an event with JSON for its data."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"{f'event: {name}' + chr(10) if name else ''}data: {text}{end}".encode("utf-8", "replace")
