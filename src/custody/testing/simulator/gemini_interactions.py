"""The Gemini dialect's Interactions API: steps instead of candidates, named events, an explicit end of stream."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from custody.testing.simulator.answers import Answers, Json, Reply, pieces, sse, tokens

if TYPE_CHECKING:
    from custody.testing.simulator import Seen


def answer(seen: Seen, name: str, body: Json, answers: Answers) -> Reply:
    """Create, whole or streamed; get one by its name; delete one."""
    if seen.method == "DELETE":
        return Reply(200, b"{}")
    limit = (body.get("generation_config") or {}).get("max_output_tokens")
    text = answers.text(limit)
    short = limit is not None and limit < 5
    spent, made, thought = tokens(body.get("input") or ""), tokens(text), 17
    whole: Json = {
        "id": name or answers.id("v1_", 40),
        "status": "incomplete" if short else "completed",
        "usage": {
            "total_tokens": spent + made + thought,
            "total_input_tokens": spent,
            "input_tokens_by_modality": [{"modality": "text", "tokens": spent}],
            "total_cached_tokens": 0,
            "total_output_tokens": made,
            "total_tool_use_tokens": 0,
            "total_thought_tokens": thought,
        },
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "updated": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "service_tier": "standard",
        "object": "interaction",
        "model": body.get("model", "gemini-2.5-flash"),
    }
    if not body.get("stream"):
        output = {"content": [{"text": text, "type": "text"}], "type": "model_output"}
        return Reply(200, json.dumps({**whole, "steps": [output]}, ensure_ascii=False).encode())
    start = {k: whole[k] for k in ("id", "object", "model")}
    events: list[Json] = [
        {"interaction": {**start, "status": "in_progress"}, "event_type": "interaction.created"},
        {"index": 0, "step": {"type": "model_output"}, "event_type": "step.start"},
        *(
            {"index": 0, "delta": {"text": piece, "type": "text"}, "event_type": "step.delta"}
            for piece in pieces(text, 6)
        ),
        {"index": 0, "event_type": "step.stop"},
        {"interaction": whole, "event_type": "interaction.completed"},
    ]
    frames = [sse(event, event["event_type"]) for event in events]
    return Reply(frames=[*frames, sse("[DONE]", "done")], headers={"content-type": "text/event-stream"})
