"""A text as the answer of Anthropic's Messages API, whole and streamed. Fields: the anthropic SDK's types."""

from __future__ import annotations

from typing import Any

from custody.salvage.events import event

Json = dict[str, Any]


def message(name: str, model: str | None, text: str, tokens: tuple[int | None, int | None]) -> Json:
    """A message. Tokens that are not known are null."""
    given, made = tokens
    return {
        "id": name, "type": "message", "role": "assistant", "model": model or "unknown",
        "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": given, "output_tokens": made},
    }  # fmt: skip


def stream(whole: Json) -> list[bytes]:
    """The events of a message."""
    block = whole["content"][0]
    start = {**whole, "content": [], "stop_reason": None}
    told: list[Json] = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": {**block, "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": block["text"]}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": None},
            "usage": {"output_tokens": whole["usage"]["output_tokens"]},
        },
        {"type": "message_stop"},
    ]
    return [event(one, one["type"]) for one in told]
