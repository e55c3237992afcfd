"""A text as the answer of the OpenAI protocol: chat completions and responses, whole and streamed.

Fields: the response types of the openai SDK 2 and 3. What is not known is null or left out.
"""

from __future__ import annotations

from typing import Any

from custody.salvage.events import event

Json = dict[str, Any]


def chat(name: str, model: str | None, text: str, tokens: tuple[int | None, int | None], at: int) -> Json:
    """A chat completion. ``at``: Unix seconds."""
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    top = {"id": name, "object": "chat.completion", "created": at, "model": model or "unknown"}
    return {**top, "choices": [choice], "usage": _chat_usage(tokens)}


def chat_stream(whole: Json, *, with_usage: bool) -> list[bytes]:
    """The chunks of a chat completion."""
    top = {**{k: whole[k] for k in ("id", "created", "model")}, "object": "chat.completion.chunk"}
    text = whole["choices"][0]["message"]["content"]
    deltas: list[tuple[Json, str | None]] = [
        ({"role": "assistant", "content": ""}, None),
        ({"content": text}, None),
        ({}, "stop"),
    ]
    found = [
        event({**top, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]})
        for delta, reason in deltas
    ]
    if with_usage:
        found.append(event({**top, "choices": [], "usage": whole["usage"]}))
    return [*found, b"data: [DONE]\n\n"]


def response(name: str, model: str | None, text: str, tokens: tuple[int | None, int | None], at: int) -> Json:
    """A response of the Responses API."""
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    item = {"id": f"msg_{name}", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    return {
        "id": name, "object": "response", "created_at": at, "status": "completed", "error": None,
        "incomplete_details": None, "instructions": None, "metadata": {}, "model": model or "unknown",
        "output": [item], "parallel_tool_calls": True, "temperature": None, "tool_choice": "auto", "tools": [],
        "top_p": None, "usage": _response_usage(tokens),
    }  # fmt: skip


def response_stream(whole: Json) -> list[bytes]:
    """The events of a response."""
    item = whole["output"][0]
    part = item["content"][0]
    start = {**whole, "status": "in_progress", "output": [], "usage": None}
    at = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    told: list[tuple[str, Json]] = [
        ("created", {"response": start}),
        ("in_progress", {"response": start}),
        ("output_item.added", {"output_index": 0, "item": {**item, "status": "in_progress", "content": []}}),
        ("content_part.added", {**at, "part": {**part, "text": ""}}),
        ("output_text.delta", {**at, "delta": part["text"], "logprobs": []}),
        ("output_text.done", {**at, "text": part["text"], "logprobs": []}),
        ("content_part.done", {**at, "part": part}),
        ("output_item.done", {"output_index": 0, "item": item}),
        ("completed", {"response": whole}),
    ]
    return [
        event({"type": f"response.{kind}", "sequence_number": number, **data}, f"response.{kind}")
        for number, (kind, data) in enumerate(told)
    ]


def _chat_usage(tokens: tuple[int | None, int | None]) -> Json | None:
    given, made = tokens
    if given is None or made is None:
        return None
    return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}


def _response_usage(tokens: tuple[int | None, int | None]) -> Json | None:
    given, made = tokens
    if given is None or made is None:
        return None
    details = {"input_tokens_details": {"cached_tokens": None}, "output_tokens_details": {"reasoning_tokens": None}}
    return {"input_tokens": given, "output_tokens": made, "total_tokens": given + made, **details}
