"""The Cohere dialect: request body -> response document, lines of JSON (v1) or SSE frames (v2).

Facts: the types of cohere 7.3; recorded traffic of 2024 to 2026. Own wording.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from custody.testing.simulator.answers import Answers, Json, Reply, compact, key_of, object_of, pieces, sse, tokens

if TYPE_CHECKING:
    from custody.testing.simulator import Seen

MODELS = ("command-a-03-2025", "command-r7b-12-2024", "embed-v4.0", "rerank-v3.5")
_MESSAGES = {401: "invalid api token", 404: "model not found", 429: "You are past the per minute request limit"}


def serves(seen: Seen) -> bool:
    """By the header that every request of the vendor's SDK has."""
    return seen.headers.get("x-fern-sdk-name") == "cohere"


def error(status: int, message: str | None = None) -> Reply:
    """The vendor's error document."""
    said = message or f"Simulated: {_MESSAGES.get(status, 'error')}"
    return Reply(status, compact({"message": said}).encode())


def headers(answers: Answers, seconds: float) -> dict[str, str]:
    """The vendor's response headers; `seconds` is what the answer took."""
    return {
        "x-debug-trace-id": answers.hex(""),
        "x-envoy-upstream-service-time": str(int(seconds * 1000) + 1),
        "x-endpoint-monthly-call-limit": "1000",
        "num_chars": "120",
        "num_tokens": "24",
        "access-control-expose-headers": "X-Debug-Trace-ID",
        "via": "1.1 google",
    }


def answer(seen: Seen, body: bytes, answers: Answers) -> Reply:
    """The answer to one request: key check, then the endpoint. 404 for a path the vendor lacks."""
    key = key_of(seen.headers)
    if not key or "invalid" in key:
        return error(401)
    document = object_of(body)
    if document is None:
        return error(400, "Simulated: the body is not a JSON object.")
    if seen.method == "GET":
        return _got(seen.path)
    if seen.path not in _POST:
        return error(404)
    if document.get("model") == "missing":
        return error(404, "Simulated: model 'missing' was removed")
    return _POST[seen.path](document, answers)


def _plain(document: Json) -> Reply:
    return Reply(200, compact(document).encode())


def _got(path: str) -> Reply:
    models = [{"name": name, "endpoints": ["chat"], "finetuned": False, "context_length": 256000} for name in MODELS]
    if path == "/v1/models":
        return _plain({"models": models})
    name = path.removeprefix("/v1/models/")
    return next((_plain(model) for model in models if model["name"] == name), error(404))


def _id(answers: Answers) -> str:
    return answers.hex("", 8) + "-0000-4000-8000-" + answers.hex("", 12)


def _counts(given: int, made: int | None = None) -> Json:
    """What is billed, and what the model saw: more, for the vendor's own preamble."""
    billed: Json = {"input_tokens": given}
    seen: Json = {"input_tokens": given + 62}
    if made is not None:
        billed["output_tokens"], seen["output_tokens"] = made, made + 1
    return {"billed_units": billed, "tokens": seen}


def _meta(version: str, counts: Json) -> Json:
    return {"api_version": {"version": version}, **counts}


def _chat(body: Json, answers: Answers) -> Reply:
    """POST /v1/chat."""
    limit, tools = body.get("max_tokens"), body.get("tools") or []
    form, results = body.get("response_format") or {}, body.get("tool_results")
    calls: list[Json] = []
    if tools and not results:
        calls = [{"name": tools[0]["name"], "parameters": {"city": answers.text(3)}}]
        text = "I will look."
    else:
        text = answers.document(form.get("schema")) if form.get("type") == "json_object" else answers.text(limit)
    reason = "MAX_TOKENS" if limit and limit < 5 else "COMPLETE"
    made = _id(answers)
    history = [{"role": "USER", "message": body["message"]}, {"role": "CHATBOT", "message": text}]
    whole: Json = {"response_id": _id(answers), "text": text, "generation_id": made, "chat_history": history}
    whole |= {"tool_calls": calls} if calls else {}
    whole |= {"finish_reason": reason, "meta": _meta("1", _counts(tokens(body["message"]), tokens(text)))}
    if not body.get("stream"):
        return _plain(whole)
    events: list[Json] = [{"event_type": "stream-start", "generation_id": made}]
    events += [{"event_type": "text-generation", "text": part} for part in pieces(text)]
    if calls:
        events.append({"event_type": "tool-calls-generation", "text": text, "tool_calls": calls})
    events.append({"event_type": "stream-end", "response": whole, "finish_reason": reason})
    return _lines(events)


def _lines(events: list[Json]) -> Reply:
    """Lines of JSON, as version 1 streams."""
    frames = [
        compact({"is_finished": event["event_type"] == "stream-end", **event}).encode() + b"\n" for event in events
    ]
    return Reply(frames=frames, headers={"content-type": "application/stream+json"})


def _chat_v2(body: Json, answers: Answers) -> Reply:
    """POST /v2/chat."""
    messages, limit, tools = body["messages"], body.get("max_tokens"), body.get("tools") or []
    form, tool = body.get("response_format") or {}, None
    if tools and messages[-1].get("role") != "tool" and body.get("tool_choice") != "NONE":
        tool = tools[0]["function"]
    if form.get("type") == "json_object":
        text = answers.document(form.get("json_schema") or {"properties": {"answer": {}}})
    else:
        text = answers.document(tool.get("parameters")) if tool else answers.text(limit)
    reason = "TOOL_CALL" if tool else "MAX_TOKENS" if limit and limit < 5 else "COMPLETE"
    usage = {**_counts(tokens(messages), tokens(text)), "cached_tokens": 16}
    made, call = _id(answers), answers.id(f"{tool['name']}_", 12) if tool else ""
    if body.get("stream"):
        return _events(text, tool, call, made, {"finish_reason": reason, "usage": usage})
    message: Json = {"role": "assistant"}
    if tool:
        function = {"name": tool["name"], "arguments": text}
        message |= {"tool_plan": "I will look.", "tool_calls": [{"id": call, "type": "function", "function": function}]}
    else:
        message["content"] = [{"type": "text", "text": text}]
    return _plain({"id": made, "message": message, "finish_reason": reason, "usage": usage})


def _events(text: str, tool: Json | None, call: str, made: str, end: Json) -> Reply:
    empty: Json = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    events: list[tuple[str, Json]] = [("message-start", {"id": made, "delta": {"message": empty}})]

    def add(name: str, **delta: Any) -> None:
        events.append((name, {"index": 0, **({"delta": {"message": delta}} if delta else {})}))

    if tool:
        function = {"name": tool["name"], "arguments": ""}
        add("tool-call-start", tool_calls={"id": call, "type": "function", "function": function})
        for part in pieces(text):
            add("tool-call-delta", tool_calls={"function": {"arguments": part}})
        add("tool-call-end")
    else:
        add("content-start", content={"type": "text", "text": ""})
        for part in pieces(text):
            add("content-delta", content={"text": part})
        add("content-end")
    events.append(("message-end", {"delta": end}))
    return Reply(frames=[*(sse({"type": name, **data}, name) for name, data in events), sse("[DONE]")])


def _generate(body: Json, answers: Answers) -> Reply:
    """POST /v1/generate."""
    text = answers.text(body.get("max_tokens"))
    meta = _meta("1", {"billed_units": {"input_tokens": tokens(body["prompt"]), "output_tokens": tokens(text)}})
    one = {"id": _id(answers), "text": text, "finish_reason": "COMPLETE"}
    whole = {"id": _id(answers), "generations": [one], "prompt": body["prompt"], "meta": meta}
    if not body.get("stream"):
        return _plain(whole)
    events: list[Json] = [{"event_type": "text-generation", "text": part} for part in pieces(text)]
    return _lines([*events, {"event_type": "stream-end", "finish_reason": "COMPLETE", "response": whole}])


def _embed(version: str) -> Callable[[Json, Answers], Reply]:
    def embed(body: Json, answers: Answers) -> Reply:
        texts = body.get("texts") or []
        rows = [answers.vector(body.get("output_dimension") or 8) for _ in texts]
        typed = version == "2" or bool(body.get("embedding_types"))
        made: Json = {"id": _id(answers), "texts": texts, "embeddings": {"float": rows} if typed else rows}
        made["response_type"] = "embeddings_by_type" if typed else "embeddings_floats"
        meta = _meta(version, {"billed_units": {"input_tokens": tokens(texts)}})
        return _plain({**made, "meta": meta})

    return embed


def _rerank(version: str) -> Callable[[Json, Answers], Reply]:
    def rerank(body: Json, answers: Answers) -> Reply:
        count = len(body["documents"])
        scores = sorted(map(abs, answers.vector(count)), reverse=True)[: body.get("top_n") or count]
        results = [{"index": index, "relevance_score": score} for index, score in enumerate(scores)]
        meta = _meta(version, {"billed_units": {"search_units": 1}})
        return _plain({"id": _id(answers), "results": results, "meta": meta})

    return rerank


def _classify(body: Json, answers: Answers) -> Reply:
    """POST /v1/classify."""
    rows = []
    for text in body["inputs"]:
        sure = abs(answers.vector(2)[0])
        row: Json = {"id": _id(answers), "input": text, "prediction": "river", "predictions": ["river"]}
        row |= {"confidence": sure, "confidences": [sure], "labels": {"river": {"confidence": sure}}}
        rows.append({**row, "classification_type": "single-label"})
    meta = _meta("1", {"billed_units": {"classifications": len(rows)}})
    return _plain({"id": _id(answers), "classifications": rows, "meta": meta})


def _tokenize(body: Json, answers: Answers) -> Reply:
    """POST /v1/tokenize."""
    parts = pieces(body["text"])
    first = int(answers.hex("", 4), 16)
    return _plain({"tokens": [first + n for n in range(len(parts))], "token_strings": parts, "meta": _meta("1", {})})


def _detokenize(body: Json, answers: Answers) -> Reply:
    """POST /v1/detokenize."""
    return _plain({"text": answers.text(), "meta": _meta("1", {})})


_POST: Mapping[str, Callable[[Json, Answers], Reply]] = {
    "/v1/chat": _chat,
    "/v2/chat": _chat_v2,
    "/v1/generate": _generate,
    "/v1/embed": _embed("1"),
    "/v2/embed": _embed("2"),
    "/v1/rerank": _rerank("1"),
    "/v2/rerank": _rerank("2"),
    "/v1/classify": _classify,
    "/v1/tokenize": _tokenize,
    "/v1/detokenize": _detokenize,
}
