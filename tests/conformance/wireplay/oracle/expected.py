"""What a recording says, read from its body and headers by the vendors' documented field names.

Nothing of custody is imported here: this is the second opinion that its plugins are compared with.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wireplay.recordings import Recorded

CLASSES = ("input", "output", "cache_read", "cache_write", "reasoning")


@dataclass(frozen=True)
class Asked:
    """The request that was answered: what the SDK sent or, where none was driven, what was recorded."""

    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def field(self, name: str) -> Any:
        """A field of the body; None where there is none."""
        return self.json.get(name) if isinstance(self.json, dict) else None


@dataclass
class Expected:
    """Values that must stand on the call line; None is a value: that nothing was stated.

    Attributes:
        fields: of ``model_forensics`` and ``response_metadata``, by name.
        usage: by class; None where no usage was stated.
        raw_usage: the vendor's object; compared by its numbers. ``...`` where counts lie in more than one place.
        outcome: one of the outcomes of docs/format.md.
    """

    fields: dict[str, Any]
    usage: dict[str, int | None] | None
    raw_usage: Any
    outcome: str


def content(recorded: Recorded) -> bytes:
    """The body without gzip."""
    return gzip.decompress(recorded.body) if recorded.header("content-encoding") == "gzip" else recorded.body


def whole(recorded: Recorded) -> dict[str, Any]:
    """The body as one JSON object, or an empty one."""
    try:
        value = json.loads(content(recorded))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def server_sent(recorded: Recorded) -> list[tuple[str, Any]]:
    """Name and JSON data of the events of a stream, in order; those that are no JSON object are left out."""
    if recorded.content_type != "text/event-stream":
        return []
    found = []
    for block in re.split(r"\r?\n\r?\n", content(recorded).decode()):
        name, data = "", []
        for line in block.splitlines():
            key, _, value = line.partition(":")
            if key == "event":
                name = value.strip()
            elif key == "data":
                data.append(value.removeprefix(" "))
        try:
            value = json.loads("\n".join(data))
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append((name, value))
    return found


def lines(recorded: Recorded) -> Iterator[Any]:
    """The values of a body of one JSON value a line."""
    for line in content(recorded).splitlines():
        if line.strip():
            yield json.loads(line)


def date_in(model: str | None) -> str | None:
    """The date in a model's name: 2024-07-18 or 20240229."""
    match = re.search(r"(?<!\d)(20[12]\d)-?([01]\d)-?([0-3]\d)(?!\d)", model or "")
    return "-".join(match.groups()) if match else None


def version_in(path: str) -> str | None:
    """``v1`` of ``/v1/chat/completions``."""
    match = re.search(r"/(v\d\w*)(?=/)", path)
    return match[1] if match else None


def numbers(value: Any, at: str = "") -> dict[str, Any]:
    """All numbers in ``value``, by their place."""
    if isinstance(value, dict):
        return {k: v for name, inner in value.items() for k, v in numbers(inner, f"{at}.{name}").items()}
    if isinstance(value, list):
        return {k: v for n, inner in enumerate(value) for k, v in numbers(inner, f"{at}[{n}]").items()}
    return {at: value} if isinstance(value, (int, float)) and not isinstance(value, bool) else {}
