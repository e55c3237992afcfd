"""The Ollama dialect: `/api/chat` and `/api/generate`, whole and as lines of JSON, without credentials.

Facts: Ollama's API reference (docs/api.md of its repository). Tool calls have no ids here: clients make them up.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from custody.testing.simulator.answers import Answers, Json, Reply, compact, pieces, tokens

if TYPE_CHECKING:
    from custody.testing.simulator import Seen

_PATHS = ("/api/chat", "/api/generate", "/api/show")
_CREATED = "2026-11-23T10:00:00.000000Z"


def serves(seen: Seen) -> bool:
    """By path."""
    return seen.path in _PATHS


def headers(source: Answers, seconds: float) -> dict[str, str]:
    """The server has none of its own."""
    return {}


def error(status: int) -> Reply:
    """The error document for a status."""
    return Reply(status, compact({"error": f"Simulated: status {status}"}).encode())


def answer(seen: Seen, body: bytes, source: Answers) -> Reply:
    """The answer to one request; 400 where the model is missing."""
    asked = json.loads(body)
    if not isinstance(asked.get("model"), str):
        return error(400)
    if seen.path == "/api/show":
        return Reply(200, compact({"details": {"family": "simulated"}, "model_info": {}}).encode())
    return _generate(asked, source) if seen.path == "/api/generate" else _chat(asked, source)


def _chat(asked: Json, source: Answers) -> Reply:
    messages: list[Json] = asked["messages"]
    functions = [tool["function"] for tool in asked.get("tools") or []]
    if functions and messages[-1].get("role") != "tool":
        given = source.instance(functions[0].get("parameters") or {"type": "object"})
        said = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": functions[0]["name"]}}]}
        said["tool_calls"][0]["function"]["arguments"] = given  # type: ignore[index]
        return _reply(asked, [{"message": said}], tokens(messages), tokens(given))
    text = source.text()
    parts = [{"message": {"role": "assistant", "content": piece}} for piece in _cut(asked, text)]
    return _reply(asked, parts, tokens(messages), tokens(text))


def _generate(asked: Json, source: Answers) -> Reply:
    text = source.text()
    parts: list[Json] = [{"response": piece} for piece in _cut(asked, text)]
    return _reply(asked, parts, tokens(asked.get("prompt") or ""), tokens(text))


def _cut(asked: Json, text: str) -> list[str]:
    return [text] if asked.get("stream") is False else pieces(text)


def _reply(asked: Json, parts: list[Any], given: int, made: int) -> Reply:
    """Streamed unless the request says otherwise, as this server does."""
    top = {"model": asked["model"], "created_at": _CREATED}
    counts = {"total_duration": 5000000, "prompt_eval_count": given, "eval_count": made}
    end = {"done_reason": "stop", "done": True, **counts}
    if asked.get("stream") is False:
        return Reply(200, compact({**top, **parts[0], **end}).encode())
    empty = {"message": {"role": "assistant", "content": ""}} if "message" in parts[0] else {"response": ""}
    lines = [{**top, **part, "done": False} for part in parts] + [{**top, **empty, **end}]
    kind = {"content-type": "application/x-ndjson"}
    return Reply(200, frames=[f"{compact(line)}\n".encode() for line in lines], headers=kind)
