"""A text as the answer of Gemini's generateContent, whole and streamed. Fields: the API's own names."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def content(name: str, text: str, tokens: tuple[int | None, int | None]) -> Json:
    """A response. What is not known is left out, the model's version among it."""
    part = {"role": "model", "parts": [{"text": text}]}
    whole: Json = {"candidates": [{"content": part, "finishReason": "STOP", "index": 0}], "responseId": name}
    given, made = tokens
    if given is not None and made is not None:
        usage = {"promptTokenCount": given, "candidatesTokenCount": made, "totalTokenCount": given + made}
        whole["usageMetadata"] = usage
    return whole
