"""What a request asks for, by its path, and what ends its stream.

Sources: the paths and the models of events in mistralai 3.7; recorded traffic of 2024 and 2025.
"""

from __future__ import annotations

import re

from custody.plugin import Event, Terminal, parse_json

_BY_PATH = (
    ("awPredict", "chat"),  # Vertex AI: rawPredict, streamRawPredict
    ("/chat/completions", "chat"),
    ("/agents/completions", "chat"),
    ("/fim/completions", "text_completion"),
    ("/embeddings", "embeddings"),
    ("/moderations", "moderation"),
    ("/classifications", "classification"),
    ("/ocr", "ocr"),
    ("/audio/", "audio"),
    ("/conversations", "conversations"),
    ("/responses", "responses"),
    ("/agents", "agents"),
    ("/fine_tuning/", "fine_tuning"),
    ("/models", "models"),
    ("/files", "files"),
    ("/batch/", "batches"),
    ("/libraries", "libraries"),
)
_COMPLETE = {"conversation.response.done", "transcription.done", "speech.audio.done", "response.completed"}
_FAILED = {"conversation.response.error", "error"}
_FINISHED = re.compile(r'"finish_reason"\s*:\s*"')


def of(path: str) -> str:
    """The operation; "other" where the path says none."""
    return next((operation for part, operation in _BY_PATH if part in path), "other")


def stream_end(event: Event) -> Terminal | None:
    """``[DONE]`` for completions; a last event of a type of its own for conversations and audio."""
    if event.data.startswith("[DONE]"):
        return "complete"
    kind, value = event.name, None
    if '"type"' in event.data or '"error"' in event.data:
        value = parse_json(event.data.encode())
    if isinstance(value, dict):
        kind = kind or str(value.get("type"))
        if value.get("object") == "error" or value.get("error"):
            return "error"
    if kind in _COMPLETE:
        return "complete"
    if kind in _FAILED:
        return "error"
    return "complete_at_eof" if _FINISHED.search(event.data) else None
