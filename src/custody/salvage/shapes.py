"""The form in which a salvaged text answers a request: by what the request's path asks for."""

from __future__ import annotations

import json
from typing import Any

from custody.exchange import Headers, RequestHead, ResponseHead, parse_json
from custody.salvage import anthropic, gemini, openai
from custody.salvage.events import event

ORIGIN_HEADER = "x-custody-origin"
CALL_HEADER = "x-custody-salvaged-call"

_JSON, _EVENTS = "application/json", "text/event-stream"


def shaped(
    request: RequestHead, body: bytes, text: str, *, call: str, model: str | None,
    tokens: tuple[int | None, int | None], at: int, origin: str = "reconstructed",
) -> tuple[ResponseHead, tuple[bytes, ...]] | None:  # fmt: skip
    """Head and chunks of an answer with ``text`` in it; None where this kind of request has no such form.

    ``call``: id of the salvaged call; ``model``: as asked for; ``tokens``: input and output, where they are known;
    ``at``: when the text was made, in Unix seconds.
    """
    asked = parse_json(body)
    if request.method.upper() != "POST" or not isinstance(asked, dict) or _wants_more(asked):
        return None
    chunks, kind = _body(request, asked, text, f"custody-salvaged-{call}", model, tokens, at)
    if chunks is None:
        return None
    headers: Headers = (("content-type", kind), (ORIGIN_HEADER, origin), (CALL_HEADER, call))
    return ResponseHead(200, "OK", "HTTP/1.1", headers), tuple(chunks)


def _body(
    request: RequestHead, asked: dict[str, Any], text: str, name: str, model: str | None,
    tokens: tuple[int | None, int | None], at: int,
) -> tuple[list[bytes] | None, str]:  # fmt: skip
    path, streamed = request.parts.path, bool(asked.get("stream"))
    if path.endswith("/chat/completions"):
        whole = openai.chat(name, model, text, tokens, at)
        options = asked.get("stream_options")
        with_usage = isinstance(options, dict) and bool(options.get("include_usage"))
        return (openai.chat_stream(whole, with_usage=with_usage), _EVENTS) if streamed else ([_dumped(whole)], _JSON)
    if path.endswith("/responses"):
        if asked.get("background"):
            return None, ""
        whole = openai.response(name, model, text, tokens, at)
        return (openai.response_stream(whole), _EVENTS) if streamed else ([_dumped(whole)], _JSON)
    if path.endswith(("/v1/messages", ":rawPredict", ":streamRawPredict")):
        whole = anthropic.message(name, model, text, tokens)
        streamed = streamed or path.endswith(":streamRawPredict")
        return (anthropic.stream(whole), _EVENTS) if streamed else ([_dumped(whole)], _JSON)
    if path.endswith(":generateContent"):
        return [_dumped(gemini.content(name, text, tokens))], _JSON
    if path.endswith(":streamGenerateContent"):
        whole = gemini.content(name, text, tokens)
        if ("alt", "sse") in request.query:
            return [event(whole, end="\r\n\r\n")], _EVENTS
        return [b"[" + _dumped(whole) + b"]"], _JSON
    return None, ""


def _wants_more(asked: dict[str, Any]) -> bool:
    """Whether one text is not what was asked for: several answers, a tool's call, sound or an image."""
    config = asked.get("generationConfig")
    config = config if isinstance(config, dict) else {}
    several = asked.get("n") or config.get("candidateCount") or 1
    choice = asked.get("tool_choice")
    forced = choice in ("required", "any") or (isinstance(choice, dict) and choice.get("type") not in ("auto", "none"))
    modes = asked.get("modalities") or config.get("responseModalities") or ["text"]
    spoken = isinstance(modes, list) and any(str(mode).lower() != "text" for mode in modes)
    return several != 1 or forced or spoken


def _dumped(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
