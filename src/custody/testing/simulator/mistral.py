"""The Mistral dialect: request body -> response document or SSE frames, with the vendor's fields and headers.

Facts: the models of mistralai 3.7; recorded traffic of 2024 and 2025. Own wording.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from custody.testing.simulator.answers import Answers, Json, Reply, compact, key_of, object_of, pieces, sse, tokens

if TYPE_CHECKING:
    from custody.testing.simulator import Seen

MODELS = ("mistral-small-2506", "mistral-small-latest", "codestral-2508", "mistral-embed", "mistral-ocr-2512")
_MESSAGES = {401: "Unauthorized", 404: "no Route matched with those values", 429: "Requests rate limit exceeded"}
_FLAGS = ("sexual", "hate_and_discrimination", "violence_and_threats", "dangerous_and_criminal_content", "selfharm")


def serves(seen: Seen) -> bool:
    """By what the vendor's SDK calls itself: its paths are OpenAI's."""
    return seen.headers.get("user-agent", "").startswith(("mistral-client-python/", "speakeasy-sdk/python"))


def error(status: int, message: str | None = None) -> Reply:
    """The vendor's error document: the gateway's form below 422, the API's above."""
    said = message or f"Simulated: {_MESSAGES.get(status, 'error')}"
    if status == 422:
        return Reply(status, compact({"detail": [{"loc": ["body"], "msg": said, "type": "value_error"}]}).encode())
    code = "1300" if status == 429 else "3000"
    document = {"object": "error", "message": said, "type": "invalid_request_error", "param": None, "code": code}
    return Reply(status, compact(document).encode())


def headers(answers: Answers, seconds: float) -> dict[str, str]:
    """The vendor's response headers; `seconds` is what the answer took."""
    made = answers.hex("", 8) + "-0000-7000-8000-" + answers.hex("", 12)
    return {
        "mistral-correlation-id": made,
        "x-kong-request-id": made,
        "x-kong-upstream-latency": str(int(seconds * 1000) + 1),
        "x-kong-proxy-latency": "6",
        "x-envoy-upstream-service-time": str(int(seconds * 1000)),
        "x-ratelimit-limit-tokens-minute": "500000",
        "x-ratelimit-remaining-tokens-minute": "499900",
        "access-control-allow-origin": "*",
    }


def answer(seen: Seen, body: bytes, answers: Answers) -> Reply:
    """The answer to one request: key check, then the endpoint. 404 for a path the vendor lacks."""
    key = key_of(seen.headers)
    if not key or "invalid" in key:
        return error(401)
    document = object_of(body)
    if document is None:
        return error(422, "Simulated: the body is not a JSON object.")
    if seen.method == "GET":
        return _got(seen.path)
    path = "/v1/conversations" if seen.path.startswith("/v1/conversations/") else seen.path
    if path.endswith(("awPredict", "/chat/completions")):  # on Vertex AI, on Azure
        path = "/v1/chat/completions"
    if path not in _POST:
        return error(404)
    if "model" in document and not isinstance(document["model"], str):
        return error(422, "Simulated: the model is not a text.")
    return _POST[path](document, answers)


def _plain(document: Json) -> Reply:
    return Reply(200, compact(document).encode())


def _got(path: str) -> Reply:
    if path == "/v1/models":
        return _plain({"object": "list", "data": [_model(name) for name in MODELS]})
    name = path.removeprefix("/v1/models/")
    return _plain(_model(name)) if name in MODELS else error(404)


def _model(name: str) -> Json:
    able = {"completion_chat": True, "function_calling": True, "completion_fim": name.startswith("codestral")}
    made: Json = {"id": name, "object": "model", "created": 1750000000, "owned_by": "mistralai", "type": "base"}
    return {**made, "capabilities": able, "name": name, "max_context_length": 131072, "aliases": []}


def _chat(body: Json, answers: Answers) -> Reply:
    """POST /v1/chat/completions, /v1/agents/completions, /v1/fim/completions."""
    given = body.get("messages") or [{"role": "user", "content": body.get("prompt", "")}]
    limit, form = body.get("max_tokens"), body.get("response_format") or {}
    tool = _tool(body, given[-1].get("role") == "tool")
    message: Json = {"role": "assistant", "content": "", "tool_calls": None}
    if tool:
        function = {"name": tool["name"], "arguments": answers.document(tool.get("parameters"))}
        message["tool_calls"] = [{"id": answers.id("", 9), "function": function, "index": 0}]
    elif form.get("type") in ("json_object", "json_schema"):
        schema = (form.get("json_schema") or {}).get("schema")
        message["content"] = answers.document(schema or {"properties": {"answer": {}}})
    else:
        message["content"] = answers.text(limit)
    reason = "tool_calls" if tool else "length" if limit and limit < 5 else "stop"
    usage = _usage(tokens([given, body.get("tools") or []]), tokens(message["content"] or message["tool_calls"]))
    top: Json = {"id": answers.hex(""), "created": int(time.time()), "model": body.get("model", MODELS[0])}
    if not body.get("stream"):
        choices = [{"index": 0, "finish_reason": reason, "message": message}]
        return _plain({**top, "usage": usage, "object": "chat.completion", "choices": choices})
    top["object"] = "chat.completion.chunk"
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": part} for part in pieces(message["content"])] if not tool else []
    last: Json = {"content": None, "tool_calls": message["tool_calls"]} if tool else {"content": ""}
    frames = [_chunk(top, answers, {"index": 0, "delta": delta, "finish_reason": None}) for delta in deltas]
    frames.append(_chunk({**top, "usage": usage}, answers, {"index": 0, "delta": last, "finish_reason": reason}))
    return Reply(frames=[*frames, sse("[DONE]")])


def _chunk(top: Json, answers: Answers, choice: Json) -> bytes:
    return sse({**top, "choices": [choice], "p": answers.id("", 12)})


def _tool(body: Json, answered: bool) -> Json | None:
    """The function to call, or None when the answer is a text."""
    choice, tools = body.get("tool_choice") or "auto", body.get("tools") or []
    functions = [tool["function"] for tool in tools if tool.get("type", "function") == "function"]
    return None if answered or choice == "none" or not functions else functions[0]


def _usage(given: int, made: int) -> Json:
    cached = given // 2
    details = {"cached_tokens": cached}
    return {
        "prompt_tokens": given,
        "total_tokens": given + made,
        "completion_tokens": made,
        "prompt_tokens_details": details,
        "service_tier": "standard",
    }


def _embeddings(body: Json, answers: Answers) -> Reply:
    given = body["input"] if isinstance(body["input"], list) else [body["input"]]
    size = body.get("output_dimension") or 8
    rows = [{"object": "embedding", "index": n, "embedding": answers.vector(size)} for n in range(len(given))]
    usage = {"prompt_audio_seconds": None, "prompt_tokens": tokens(given), "total_tokens": tokens(given)}
    usage |= {"completion_tokens": 0, "request_count": None, "prompt_token_details": None}
    return _plain({"id": answers.hex(""), "object": "list", "data": rows, "model": body["model"], "usage": usage})


def _moderations(body: Json, answers: Answers) -> Reply:
    given = body["input"] if isinstance(body["input"], list) else [body["input"]]
    scores = [dict(zip(_FLAGS, map(abs, answers.vector(len(_FLAGS))), strict=True)) for _ in given]
    results = [{"categories": dict.fromkeys(_FLAGS, False), "category_scores": score} for score in scores]
    return _plain({"id": answers.hex("mod-"), "model": body["model"], "results": results})


def _ocr(body: Json, answers: Answers) -> Reply:
    size = {"dpi": 200, "height": 2200, "width": 1700}
    page = {"index": 0, "markdown": answers.text(), "images": [], "dimensions": size}
    usage = {"pages_processed": 1, "doc_size_bytes": 4096}
    return _plain({"pages": [page], "model": body["model"], "document_annotation": None, "usage_info": usage})


def _conversations(body: Json, answers: Answers) -> Reply:
    """POST /v1/conversations and below: started or continued; a connector was used."""
    text, model = answers.text(), body.get("model") or "mistral-medium-2505"
    usage: Json = _usage(tokens(body.get("inputs") or []), tokens(text))
    del usage["prompt_tokens_details"], usage["service_tier"]
    usage |= {"connector_tokens": 70, "connectors": {"web_search": 1}, "total_tokens": usage["total_tokens"] + 70}
    conversation, entry, now = answers.hex("conv_"), answers.hex("msg_"), "2026-01-02T03:04:05.678Z"
    if not body.get("stream"):
        output = {"object": "entry", "type": "message.output", "id": entry, "role": "assistant", "content": text}
        output |= {"model": model, "created_at": now, "completed_at": now}
        whole = {"object": "conversation.response", "conversation_id": conversation, "outputs": [output]}
        return _plain({**whole, "usage": usage})
    events: list[Json] = [{"type": "conversation.response.started", "conversation_id": conversation}]
    made = {"type": "message.output.delta", "id": entry, "role": "assistant", "model": model}
    events += [{**made, "content": part, "output_index": 0, "content_index": 0} for part in pieces(text)]
    events.append({"type": "conversation.response.done", "usage": usage})
    return Reply(frames=[sse({**event, "created_at": now}, event["type"]) for event in events])


_POST: Mapping[str, Callable[[Json, Answers], Reply]] = {
    "/v1/chat/completions": _chat,
    "/v1/agents/completions": _chat,
    "/v1/fim/completions": _chat,
    "/v1/embeddings": _embeddings,
    "/v1/moderations": _moderations,
    "/v1/ocr": _ocr,
    "/v1/conversations": _conversations,
}
