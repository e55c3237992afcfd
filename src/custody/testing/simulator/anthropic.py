"""The Anthropic dialect: request body -> response document or SSE frames, with the vendor's fields.

Facts: the response types of the anthropic SDK 2.12; recorded vendor traffic of 2024 to 2026. Own wording.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from custody.testing.simulator import anthropic_batches, anthropic_files, routes
from custody.testing.simulator.answers import Answers, Json, Reply, compact, key_of, pieces, sse, tokens
from custody.testing.simulator.anthropic_shapes import error, plain, refused

if TYPE_CHECKING:
    from custody.testing.simulator import Seen

__all__ = ["answer", "complete", "count_tokens", "error", "headers", "messages", "serves"]

MODELS = {  # id -> display name, day of release; none of them deprecated in that SDK
    "claude-opus-4-6": ("Claude Opus 4.6", "2026-02-04"),
    "claude-sonnet-4-6": ("Claude Sonnet 4.6", "2026-02-17"),
}
_YES = {"supported": True}


def serves(seen: Seen) -> bool:
    """By path, or by the header that every request of this vendor's SDK has."""
    return seen.path.startswith("/v1/messages") or "anthropic-version" in seen.headers


def headers(answers: Answers, elapsed: float) -> dict[str, str]:
    """The vendor's response headers; `elapsed` in seconds."""
    reset = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    made = {
        "request-id": answers.id("req_011C", 20),
        "anthropic-organization-id": "00000000-0000-4000-8000-000000000000",
        "x-robots-tag": "none",
        "x-envoy-upstream-service-time": str(int(elapsed * 1000)),
    }
    limits = {"requests": 4000, "input-tokens": 400000, "output-tokens": 80000, "tokens": 480000}
    for name, limit in limits.items():
        made[f"anthropic-ratelimit-{name}-limit"] = str(limit)
        made[f"anthropic-ratelimit-{name}-remaining"] = str(limit - 1)
        made[f"anthropic-ratelimit-{name}-reset"] = reset
    return made


def answer(seen: Seen, body: bytes, answers: Answers) -> Reply:
    """The answer to one request: key check, then the endpoint. 404 for a path the vendor lacks."""
    key = key_of(seen.headers, "x-api-key")
    if not key or "invalid" in key:
        said = f"the API key {key} is not accepted" if key else "no API key was given"
        return error(401, f"Simulated: {said}.")

    def again(path: str, document: Json) -> Reply:
        return answer(replace(seen, method="POST", path=path, query=""), compact(document).encode(), answers)

    asked = routes.read(seen, body, answers, again)
    if asked is None:
        return error(400, "Simulated: the body is not a JSON object.")
    found = routes.find(_ROUTES, asked)
    if isinstance(found, int):
        return error(found, f"Simulated: no such path ({seen.method} {seen.path}).")
    serve, asked = found
    return serve(asked)


def _models(asked: routes.Asked) -> Reply:
    return plain(routes.page([_model(name) for name in MODELS], asked.query, "after_id", "asc"))


def _one_model(asked: routes.Asked) -> Reply:
    name = asked.ids[0]
    return plain(_model(name)) if name in MODELS else error(404, f"Simulated: model: {name}")


def _model(name: str) -> Json:
    effort = {"supported": True, "low": _YES, "medium": _YES, "high": _YES, "max": _YES, "xhigh": _YES}
    kinds = {"adaptive": _YES, "between_tools": _YES, "disabled": _YES, "enabled": _YES}
    plain = ("batch", "citations", "code_execution", "image_input", "pdf_input", "structured_outputs")
    capabilities: Json = {
        **dict.fromkeys(plain, _YES),
        "context_management": {"supported": True},
        "effort": effort,
        "server_tools": {"supported": True, "code_execution": _YES, "web_search": _YES},
        "thinking": {"supported": True, "types": kinds},
    }
    label, day = MODELS[name]
    return {
        "type": "model",
        "id": name,
        "display_name": label,
        "created_at": f"{day}T00:00:00Z",
        "lifecycle": "active",
        "line": name.split("-")[1],
        "capabilities": capabilities,
        "max_input_tokens": 200000,
        "max_tokens": 64000,
        "deprecated_at": None,
        "retires_at": None,
    }


def _tool(body: Json) -> tuple[Json, bool] | None:
    """The tool to use and whether the request forces one; None when the answer is a text.

    Tools without an input schema run at the vendor and are never called. After a tool result comes a text.
    """
    choice: Mapping[str, Any] = body.get("tool_choice") or {"type": "auto"}
    tools = [t for t in body.get("tools") or [] if "input_schema" in t]
    content = body["messages"][-1].get("content")
    result = isinstance(content, list) and any(b.get("type") == "tool_result" for b in content)
    if not tools or choice["type"] == "none" or result:
        return None
    chosen = next((t for t in tools if t["name"] == choice.get("name")), tools[0])
    return chosen, choice["type"] != "auto"


def _content(body: Json, answers: Answers) -> tuple[list[Json], str]:
    """The content blocks and the stop reason."""
    content, reason = _said(body, answers)
    if (body.get("thinking") or {}).get("type") in ("enabled", "adaptive"):
        thought = {"type": "thinking", "thinking": answers.text(), "signature": answers.id("", 80)}
        content.insert(0, thought)
    return content, reason


def _said(body: Json, answers: Answers) -> tuple[list[Json], str]:
    limit = body["max_tokens"]
    form = (body.get("output_config") or {}).get("format") or body.get("output_format")
    if found := _tool(body):
        tool, forced = found
        value = answers.instance(tool["input_schema"])
        call = {"type": "tool_use", "id": answers.id("toolu_01", 22), "name": tool["name"], "input": value}
        call["caller"] = {"type": "direct"}
        # a free choice is announced by a text first
        said = [] if forced else [{"type": "text", "text": answers.text()}]
        return [*said, call], "tool_use"
    if isinstance(form, dict) and "schema" in form:
        return [{"type": "text", "text": answers.document(form["schema"])}], "end_turn"
    return [{"type": "text", "text": answers.text(limit)}], "max_tokens" if limit < 5 else "end_turn"


def messages(body: Json, answers: Answers) -> Reply:
    """POST /v1/messages. With max_tokens below 5 a text ends with stop_reason max_tokens."""
    if no := refused(body, ("model", str), ("messages", list), ("max_tokens", int)):
        return no
    content, reason = _content(body, answers)
    spent = sum(tokens(b.get("text") or b.get("thinking") or b["input"]) for b in content)
    counts = {
        "input_tokens": _prompt(body),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
    }
    usage: Json = {
        **counts,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": spent if reason != "max_tokens" else body["max_tokens"],
        "service_tier": "standard",
        "inference_geo": "us",
    }
    top: Json = {"model": body["model"], "id": answers.id("msg_01", 22), "type": "message"}
    top["role"] = "assistant"
    if not body.get("stream"):
        top |= {"content": content, "stop_reason": reason, "stop_sequence": None, "usage": usage}
        return plain(top)
    opening = {**usage, "output_tokens": 1}
    start = {**top, "content": [], "stop_reason": None, "stop_sequence": None, "usage": opening}
    events: list[Json] = [{"type": "message_start", "message": start}]
    for index, block in enumerate(content):
        if block["type"] == "text":
            empty = {**block, "text": ""}
            deltas = [{"type": "text_delta", "text": part} for part in pieces(block["text"])]
        elif block["type"] == "thinking":
            empty = {**block, "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": part} for part in pieces(block["thinking"])]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        else:
            empty = {**block, "input": {}}
            parts = ["", *pieces(compact(block["input"]))]  # the vendor's first one is empty
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        if index == 0:
            events.append({"type": "ping"})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    final = {**counts, "output_tokens": usage["output_tokens"]}
    delta = {"stop_reason": reason, "stop_sequence": None}
    events += [{"type": "message_delta", "delta": delta, "usage": final}, {"type": "message_stop"}]
    return Reply(frames=[sse(event, event["type"]) for event in events])


def count_tokens(body: Json, answers: Answers) -> Reply:
    """POST /v1/messages/count_tokens; the same number as the message would report."""
    if no := refused(body, ("model", str), ("messages", list)):
        return no
    return plain({"input_tokens": _prompt(body)})


def _prompt(body: Json) -> int:
    return tokens([body["messages"], body.get("system") or "", body.get("tools") or []])


def complete(body: Json, answers: Answers) -> Reply:
    """POST /v1/complete (legacy)."""
    if no := refused(body, ("model", str), ("prompt", str), ("max_tokens_to_sample", int)):
        return no
    text, name = " " + answers.text(body["max_tokens_to_sample"]), answers.id("compl_01", 22)
    top: Json = {"type": "completion", "id": name, "stop": "\n\nHuman:", "model": body["model"]}
    if not body.get("stream"):
        return plain({**top, "completion": text, "stop_reason": "stop_sequence", "log_id": name})
    parts = [{**top, "completion": part, "stop_reason": None, "stop": None} for part in pieces(text)]
    events = [*parts, {**top, "completion": "", "stop_reason": "stop_sequence"}]
    return Reply(frames=[sse(event, "completion") for event in events])


_ROUTES: routes.Table = {
    "GET /v1/models": _models,
    "GET /v1/models/{}": _one_model,
    "POST /v1/messages": lambda asked: messages(asked.body, asked.source),
    "POST /v1/messages/count_tokens": lambda asked: count_tokens(asked.body, asked.source),
    "POST /v1/complete": lambda asked: complete(asked.body, asked.source),
    **anthropic_batches.ROUTES,
    **anthropic_files.ROUTES,
}
