"""What ends a stream: ``[DONE]`` for completions, a last event for everything newer.

Servers that only speak the protocol sometimes leave out ``[DONE]``: there the answer is complete when
a finish reason was given and the connection ends cleanly.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from custody.plugin import Event, Terminal, parse_json

_FINISHED = re.compile(r'"finish_reason"\s*:\s*"')
_COMPLETE = {
    "response.completed",
    "response.incomplete",
    "image_generation.completed",
    "image_edit.completed",
    "transcript.text.done",
    "speech.audio.done",
}
_FAILED = {"response.failed", "error"}


def completion(event: Event) -> Terminal | None:
    """Chat and text completions."""
    if event.data.startswith("[DONE]"):
        return "complete"
    if '"error"' in event.data and _has_error(event):
        return "error"
    return "complete_at_eof" if _FINISHED.search(event.data) else None


def typed(event: Event) -> Terminal | None:
    """Responses, images and audio: the event's type says it."""
    kind = event.name
    if not kind and '"type"' in event.data:
        value = parse_json(event.data.encode())
        kind = str(value.get("type")) if isinstance(value, dict) else ""
    if kind in _COMPLETE or event.data.startswith("[DONE]"):
        return "complete"
    return "error" if kind in _FAILED else None


def run(event: Event) -> Terminal | None:
    """Runs of Assistants: the stream's last event says that it is done."""
    if event.name == "done" or event.data.startswith("[DONE]"):
        return "complete"
    return "error" if event.name == "error" else None


ends: dict[str, Callable[[Event], Terminal | None]] = {
    "chat": completion,
    "text_completion": completion,
    "responses": typed,
    "image_generation": typed,
    "audio": typed,
    "threads": run,
}


def _has_error(event: Event) -> bool:
    value = parse_json(event.data.encode())
    return isinstance(value, dict) and bool(value.get("error"))
