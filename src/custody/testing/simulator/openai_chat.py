"""Chat completions of the OpenAI dialect, whole and streamed: texts, tools, JSON, log probabilities, audio."""

from __future__ import annotations

import base64
import json
import random
import time
from typing import Any

from custody.testing.simulator.answers import Answers, Json, Reply, pieces, sse, tokens
from custody.testing.simulator.openai_shapes import DATED, counted, error, plain, text_of, tool_of

_DETAILS: Json = json.loads(
    '{"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":'
    '0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}'
)


def chat(body: Json, answers: Answers) -> Reply:
    """POST /v1/chat/completions."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return error(400, "Simulated: the parameter messages is missing or empty.", param="messages")
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    tool = tool_of(body, messages[-1].get("role") in ("tool", "function"))
    choices: list[Json] = []
    for index in range(body.get("n") or 1):
        message: Json = {"role": "assistant", "content": None, "refusal": None, "annotations": []}
        if tool:
            function = {"name": tool["name"], "arguments": answers.document(tool.get("parameters"))}
            call = {"id": answers.id("call_", 24), "type": "function", "function": function}
            message["tool_calls"] = [call]
            reason = "tool_calls"
        else:
            text = text_of(body.get("response_format"), limit, answers)
            message |= _spoken(text, answers) if "audio" in (body.get("modalities") or []) else {"content": text}
            reason = "length" if limit and limit < 5 else "stop"
        logprobs = _logprobs(message["content"], body.get("top_logprobs") or 0) if body.get("logprobs") else None
        choices.append({"index": index, "message": message, "logprobs": logprobs, "finish_reason": reason})
    made = sum(tokens(_said(choice["message"])) for choice in choices)
    usage = counted(tokens([messages, body.get("tools") or []]), made) | _DETAILS
    top: Json = {"id": answers.id("chatcmpl-"), "object": "chat.completion", "created": int(time.time())}
    top["model"] = DATED.get(body["model"], body["model"])
    end = {"service_tier": "default", "system_fingerprint": answers.hex("fp_", 10)}
    if not body.get("stream"):
        return plain({**top, "choices": choices, "usage": usage, **end})
    top |= {"object": "chat.completion.chunk", **end}
    return Reply(frames=_chat_frames(top, body, choices, usage, answers))


def _said(message: Json) -> Any:
    return message["content"] or message.get("tool_calls") or message["audio"]["transcript"]


def _spoken(text: str, answers: Answers) -> Json:
    """What a message has in place of its text when audio was asked for: random samples, 24 per word."""
    samples = random.SystemRandom().randbytes(48 * len(text.split()))
    audio: Json = {"id": answers.hex("audio_", 24), "data": base64.b64encode(samples).decode()}
    return {"audio": {**audio, "expires_at": int(time.time()) + 3600, "transcript": text}}


def _logprobs(text: str | None, top: int) -> Json:
    """Made-up log probabilities, one token per word."""

    def one(token: str, rank: int) -> Json:
        return {"token": token, "logprob": -0.125 * (rank + 1), "bytes": list(token.encode())}

    words = pieces(text or "", 10**6)
    rows = [{**one(word, 0), "top_logprobs": [one(word[: n + 1], n) for n in range(top)]} for word in words]
    return {"content": rows, "refusal": None}


def _chat_frames(top: Json, body: Json, choices: list[Json], usage: Json, answers: Answers) -> list[bytes]:
    options = body.get("stream_options") or {}
    with_usage = bool(options.get("include_usage"))
    rows = []
    for choice in choices:
        message = choice["message"]
        calls = message.get("tool_calls")
        steps: list[Json] = []
        if calls:
            function = {**calls[0]["function"], "arguments": ""}
            first = {"index": 0, **calls[0], "function": function}
            steps.append({"role": "assistant", "content": None, "tool_calls": [first], "refusal": None})
            parts = pieces(calls[0]["function"]["arguments"])
            steps += [{"tool_calls": [{"index": 0, "function": {"arguments": part}}]} for part in parts]
        elif audio := message.get("audio"):
            named = {"id": audio["id"]}
            steps.append({"role": "assistant", "content": None, "refusal": None, "audio": named})
            steps += [{"audio": {**named, "transcript": part}} for part in pieces(audio["transcript"])]
            steps.append({"audio": {**named, "data": audio["data"]}})
            steps.append({"audio": {**named, "expires_at": audio["expires_at"]}})
        else:
            steps.append({"role": "assistant", "content": "", "refusal": None})
            steps += [{"content": part} for part in pieces(message["content"])]
        ending: tuple[int, Json, str | None] = (choice["index"], {}, choice["finish_reason"])
        rows.append([*((choice["index"], step, None) for step in steps), ending])
    turns = [row[i] for i in range(max(map(len, rows))) for row in rows if i < len(row)]  # choices interleave
    frames: list[bytes] = []
    top_logprobs = body.get("top_logprobs") or 0
    for index, delta, reason in turns:
        logprobs = _logprobs(delta["content"], top_logprobs) if body.get("logprobs") and delta.get("content") else None
        one = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        chunk = {**top, "choices": [one], **({"usage": None} if with_usage else {})}
        if options.get("include_obfuscation", True):
            chunk["obfuscation"] = answers.id("", 2 + len(frames) % 12)
        frames.append(sse(chunk))
    if with_usage:
        frames.append(sse({**top, "choices": [], "usage": usage}))
    return [*frames, sse("[DONE]")]
