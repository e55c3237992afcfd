"""Assistants and threads of the OpenAI dialect. A run is queued, then completed when it is asked for, or streamed."""

from __future__ import annotations

import time
from typing import Any

from custody.testing.simulator.answers import Json, Reply, pieces, sse
from custody.testing.simulator.openai_shapes import counted, listing, missing, plain
from custody.testing.simulator.routes import Asked, Table, page
from custody.testing.simulator.store import Kept


def _assistant(asked: Asked) -> Reply:
    body = asked.body
    made: Json = {"id": asked.source.id("asst_", 24), "object": "assistant", "created_at": int(time.time())}
    made |= {name: body.get(name) for name in ("name", "description", "instructions")} | {"model": body["model"]}
    made |= {"tools": body.get("tools") or [], "top_p": 1.0, "temperature": 1.0, "reasoning_effort": None}
    made |= {"tool_resources": {}, "metadata": body.get("metadata") or {}, "response_format": "auto"}
    return plain(asked.store.put("assistants", made))


def _thread(asked: Asked) -> Reply:
    made: Json = {"id": asked.source.id("thread_", 24), "object": "thread", "created_at": int(time.time())}
    asked.store.put("threads", {**made, "metadata": asked.body.get("metadata") or {}, "tool_resources": {}})
    for message in asked.body.get("messages") or []:
        _say(asked, made["id"], message["role"], message["content"])
    return plain(made)


def _say(asked: Asked, thread: str, role: str, text: Any, run: Json | None = None) -> Json:
    made: Json = {"id": asked.source.id("msg_", 24), "object": "thread.message", "created_at": int(time.time())}
    made |= {"assistant_id": run["assistant_id"] if run else None, "thread_id": thread}
    made |= {"run_id": run["id"] if run else None, "role": role, "attachments": [], "metadata": {}}
    made["content"] = [{"type": "text", "text": {"value": text, "annotations": []}}]
    return asked.store.put("messages", made, owner=thread)


def _message(asked: Asked) -> Reply:
    return plain(_say(asked, asked.ids[0], asked.body["role"], asked.body["content"]))


def _run(asked: Asked) -> Reply:
    assistant = asked.store.get("assistants", asked.body["assistant_id"])
    if assistant is None:
        return missing("assistant", asked.body["assistant_id"])
    now, known = int(time.time()), assistant.document
    made: Json = {"id": asked.source.id("run_", 24), "object": "thread.run", "created_at": now}
    made |= {"assistant_id": known["id"], "thread_id": asked.ids[0], "status": "queued", "expires_at": now + 600}
    made |= dict.fromkeys("started_at cancelled_at failed_at completed_at required_action last_error usage".split())
    made |= {"model": known["model"], "instructions": asked.body.get("instructions") or known["instructions"] or ""}
    made |= {"tools": known["tools"], "metadata": {}, "temperature": 1.0, "top_p": 1.0, "parallel_tool_calls": True}
    made |= {"max_completion_tokens": None, "max_prompt_tokens": None, "incomplete_details": None}
    made |= {"truncation_strategy": {"type": "auto", "last_messages": None}, "tool_choice": "auto"}
    asked.store.put("runs", {**made, "response_format": "auto"}, owner=asked.ids[0])
    kept = asked.store.get("runs", made["id"])
    return _streamed(asked, kept) if asked.body.get("stream") and kept else plain(made)


def _complete(asked: Asked, kept: Kept) -> Json:
    """The message of a run that is over."""
    text, now = asked.source.text(), int(time.time())
    kept.document = {**kept.document, "status": "completed", "started_at": now, "completed_at": now}
    kept.document |= {"expires_at": None, "usage": counted(31, 12)}
    return _say(asked, kept.document["thread_id"], "assistant", text, kept.document)


def _streamed(asked: Asked, kept: Kept) -> Reply:
    events: list[tuple[str, Json]] = [("thread.run.created", kept.document), ("thread.run.queued", kept.document)]
    made = _complete(asked, kept)
    events.append(("thread.message.created", {**made, "content": []}))
    for piece in pieces(made["content"][0]["text"]["value"]):
        delta = {"content": [{"index": 0, "type": "text", "text": {"value": piece, "annotations": []}}]}
        events.append(("thread.message.delta", {"id": made["id"], "object": "thread.message.delta", "delta": delta}))
    events += [("thread.message.completed", made), ("thread.run.completed", kept.document)]
    return Reply(frames=[*(sse(data, name) for name, data in events), sse("[DONE]", "done")])


def _one_run(asked: Asked) -> Reply:
    def advance(kept: Kept) -> None:
        if kept.polls > 1 and kept.document["status"] != "completed":
            _complete(asked, kept)
        elif kept.document["status"] == "queued":
            kept.document = {**kept.document, "status": "in_progress", "started_at": int(time.time())}

    kept = asked.store.poll("runs", asked.ids[1], advance)
    return plain(kept.document) if kept else missing("run", asked.ids[1])


def _show(kind: str) -> Any:
    def handler(asked: Asked) -> Reply:
        kept = asked.store.get(kind, asked.ids[0])
        return plain(kept.document) if kept else missing(kind, asked.ids[0])

    return handler


def _drop(kind: str, label: str) -> Any:
    def handler(asked: Asked) -> Reply:
        if not asked.store.drop(kind, asked.ids[0]):
            return missing(kind, asked.ids[0])
        return plain({"id": asked.ids[0], "object": f"{label}.deleted", "deleted": True})

    return handler


ROUTES: Table = {
    "POST /v1/assistants": _assistant,
    "GET /v1/assistants": lambda asked: listing(page(asked.store.all("assistants"), asked.query)),
    "GET /v1/assistants/{}": _show("assistants"),
    "DELETE /v1/assistants/{}": _drop("assistants", "assistant"),
    "POST /v1/threads": _thread,
    "GET /v1/threads/{}": _show("threads"),
    "DELETE /v1/threads/{}": _drop("threads", "thread"),
    "POST /v1/threads/{}/messages": _message,
    "GET /v1/threads/{}/messages": lambda asked: listing(page(asked.store.all("messages", asked.ids[0]), asked.query)),
    "POST /v1/threads/{}/runs": _run,
    "GET /v1/threads/{}/runs/{}": _one_run,
}
