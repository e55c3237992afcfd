"""How the streams end. Gemini's have no last event: the one with a finish reason is the last, if the connection
then ends in peace. The Interactions API says ``[DONE]``."""

from __future__ import annotations

from typing import Any

from custody.plugin import Event, Terminal, parse_json

_OVER = ("interaction.completed", "interaction.complete")


def stream_end(event: Event) -> Terminal | None:
    """What one event says of the end of its stream."""
    if event.data == "[DONE]":
        return "complete"
    value = parse_json(event.data.encode())
    if not isinstance(value, dict):
        return None
    if value.get("error") or event.name == "error":
        return "error"
    if value.get("event_type") in _OVER or event.name in _OVER:
        return "complete_at_eof"
    return "complete_at_eof" if ended(value) else None


def ended(chunk: dict[str, Any]) -> bool:
    """Whether a chunk says why its answer ended."""
    feedback = chunk.get("promptFeedback")
    if isinstance(feedback, dict) and feedback.get("blockReason"):
        return True
    candidates = chunk.get("candidates")
    return isinstance(candidates, list) and any(isinstance(c, dict) and bool(c.get("finishReason")) for c in candidates)
