"""Responses and conversations of the OpenAI dialect: whole, streamed, in the background, stored.

A background response is queued, then in progress, then completed: one step each time it is asked for.
"""

from __future__ import annotations

import json
import time

from custody.testing.simulator.answers import Answers, Json, Reply, fresh_id, object_of, pieces, sse, tokens
from custody.testing.simulator.openai_shapes import DATED, error, listing, missing, plain, text_of, tool_of
from custody.testing.simulator.routes import Asked, Table, page
from custody.testing.simulator.store import Kept

_RESPONSE: Json = json.loads(
    '{"background":false,"completed_at":null,"error":null,"frequency_penalty":0.0,"incomplete_details":null,'
    '"instructions":null,"max_output_tokens":null,"max_tool_calls":null,"model":"","output":[],'
    '"parallel_tool_calls":true,"presence_penalty":0.0,"previous_response_id":null,"prompt_cache_key":null,'
    '"prompt_cache_retention":null,"reasoning":{"effort":null,"summary":null},"safety_identifier":null,'
    '"service_tier":"default","store":true,"temperature":1.0,"text":{"format":{"type":"text"},'
    '"verbosity":"medium"},"tool_choice":"auto","tools":[],"top_logprobs":0,"top_p":1.0,'
    '"truncation":"disabled","usage":null,"user":null,"metadata":{}}'
)


def responses(body: Json, answers: Answers) -> Reply:
    """POST /v1/responses."""
    given, limit, now = body.get("input", ""), body.get("max_output_tokens"), int(time.time())
    last = given[-1] if isinstance(given, list) and given else {}
    tool = tool_of(body, last.get("type") == "function_call_output")
    short = bool(limit and limit < 5 and not tool)
    state = "incomplete" if short else "completed"
    model = body.get("model", "gpt-4o")
    start: Json = {"id": answers.hex("resp_", 50), "object": "response", "created_at": now}
    start |= _RESPONSE | {k: v for k, v in body.items() if k in _RESPONSE and v is not None}
    start |= {"model": DATED.get(model, model), "text": {**_RESPONSE["text"], **(body.get("text") or {})}}
    start |= {"status": "in_progress", "service_tier": "default", "background": bool(body.get("background"))}
    if talk := body.get("conversation"):
        start["conversation"] = {"id": talk if isinstance(talk, str) else talk["id"]}
    part: Json = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
    if tool:
        text = answers.document(tool.get("parameters"))
        item: Json = {"id": answers.hex("fc_", 50), "type": "function_call", "status": state}
        item |= {"arguments": text, "call_id": answers.id("call_", 24), "name": tool["name"]}
    else:
        text = text_of(start["text"].get("format"), limit, answers)
        item = {"id": answers.hex("msg_", 50), "type": "message", "status": state}
        item |= {"content": [{**part, "text": text}], "role": "assistant"}
    spent, made = tokens([given, body.get("tools") or []]), tokens(text)
    usage: Json = {"input_tokens": spent, "output_tokens": made, "total_tokens": spent + made}
    usage["input_tokens_details"] = {"cached_tokens": 0, "cache_write_tokens": 0}
    usage["output_tokens_details"] = {"reasoning_tokens": 0}
    end = {**start, "status": state, "completed_at": None if short else now, "output": [item], "usage": usage}
    end["incomplete_details"] = {"reason": "max_output_tokens"} if short else None
    if not body.get("stream"):
        return plain(end)
    return Reply(frames=_frames(end))


def _frames(end: Json) -> list[bytes]:
    """The events of a finished response."""
    item = end["output"][0]
    start = {**end, "status": "in_progress", "completed_at": None, "output": [], "usage": None}
    start["incomplete_details"] = None
    tool = item["type"] == "function_call"
    text = item["arguments"] if tool else item["content"][0]["text"]
    empty = {**item, "status": "in_progress", **({"arguments": ""} if tool else {"content": []})}
    part: Json = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
    at = {"item_id": item["id"], "output_index": 0}
    events: list[tuple[str, Json]] = [(name, {"response": start}) for name in ("created", "in_progress")]
    events.append(("output_item.added", {"output_index": 0, "item": empty}))
    if tool:
        name = "function_call_arguments"
        ending: list[tuple[str, Json]] = [(f"{name}.done", {**at, "arguments": text})]
    else:
        name, at = "output_text", {**at, "content_index": 0}
        events.append(("content_part.added", {**at, "part": part}))
        ending = [(f"{name}.done", {**at, "text": text, "logprobs": []})]
        ending.append(("content_part.done", {**at, "part": {**part, "text": text}}))
    for piece in pieces(text):
        extra: Json = {} if tool else {"logprobs": []}
        events.append((f"{name}.delta", {**at, "delta": piece, **extra, "obfuscation": fresh_id("", 12)}))
    events += [*ending, ("output_item.done", {"output_index": 0, "item": item}), (end["status"], {"response": end})]
    numbered = [(f"response.{name}", number, data) for number, (name, data) in enumerate(events)]
    return [sse({"type": t, "sequence_number": n, **data}, t) for t, n, data in numbered]


def _create(asked: Asked) -> Reply:
    body = asked.body
    # Made whole first: what is stored is what a later GET shows, also of a stream.
    made = object_of(responses({**body, "stream": False}, asked.source).body)
    if made is None or "error" not in made:
        raise TypeError("no response")
    if body.get("store") is not False:
        asked.store.put("responses", made, owner=(made.get("conversation") or {}).get("id", ""))
    if body.get("stream"):
        return Reply(frames=_frames(made))
    return plain(_unfinished(made, "queued") if body.get("background") else made)


def _unfinished(made: Json, status: str) -> Json:
    return {**made, "status": status, "output": [], "usage": None, "completed_at": None, "incomplete_details": None}


def _retrieve(asked: Asked) -> Reply:
    kept = asked.store.poll("responses", asked.ids[0], lambda _: None)
    if kept is None:
        return missing("response", asked.ids[0])
    made = kept.document
    if asked.query.get("stream") == "true":
        after = int(asked.query.get("starting_after", -1))
        return Reply(frames=_frames(made)[after + 1 :])
    unfinished = made["background"] and kept.polls < 2 and made["status"] != "cancelled"
    return plain(_unfinished(made, "in_progress") if unfinished else made)


def _cancel(asked: Asked) -> Reply:
    def cancel(kept: Kept) -> None:
        kept.document = _unfinished(kept.document, "cancelled")

    kept = asked.store.get("responses", asked.ids[0])
    if kept is None:
        return missing("response", asked.ids[0])
    if not kept.document["background"]:
        return error(400, "Simulated: only a background response can be cancelled.")
    asked.store.poll("responses", asked.ids[0], cancel)
    return plain(kept.document)


def _delete(asked: Asked) -> Reply:
    name = asked.ids[0]
    if not asked.store.drop("responses", name):
        return missing("response", name)
    return plain({"id": name, "object": "response.deleted", "deleted": True})


def _input_items(asked: Asked) -> Reply:
    content = [{"type": "input_text", "text": "simulated input"}]
    item = {"id": f"msg_{asked.ids[0][-24:]}", "type": "message", "role": "user", "content": content}
    return listing(page([{**item, "status": "completed"}], asked.query))


def _count(asked: Asked) -> Reply:
    spent = tokens([asked.body.get("input", ""), asked.body.get("tools") or []])
    return plain({"object": "response.input_tokens", "input_tokens": spent})


def _converse(asked: Asked) -> Reply:
    talk: Json = {"id": asked.source.hex("conv_", 48), "object": "conversation", "created_at": int(time.time())}
    return plain(asked.store.put("conversations", {**talk, "metadata": asked.body.get("metadata") or {}}))


def _conversation(asked: Asked) -> Reply:
    kept = asked.store.get("conversations", asked.ids[0])
    return plain(kept.document) if kept else missing("conversation", asked.ids[0])


def _conversation_items(asked: Asked) -> Reply:
    made = asked.store.all("responses", asked.ids[0])
    return listing(page([item for response in made for item in response["output"]], asked.query))


def _end_conversation(asked: Asked) -> Reply:
    name = asked.ids[0]
    if not asked.store.drop("conversations", name):
        return missing("conversation", name)
    return plain({"id": name, "object": "conversation.deleted", "deleted": True})


ROUTES: Table = {
    "POST /v1/responses": _create,
    "POST /v1/responses/input_tokens": _count,
    "GET /v1/responses/{}": _retrieve,
    "DELETE /v1/responses/{}": _delete,
    "POST /v1/responses/{}/cancel": _cancel,
    "GET /v1/responses/{}/input_items": _input_items,
    "POST /v1/conversations": _converse,
    "GET /v1/conversations/{}": _conversation,
    "DELETE /v1/conversations/{}": _end_conversation,
    "GET /v1/conversations/{}/items": _conversation_items,
}
