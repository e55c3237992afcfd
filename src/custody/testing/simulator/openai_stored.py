"""Stored chat completions of the OpenAI dialect: kept where ``store`` is true, and listed, shown, deleted.

A stream is kept, too, as a completion with a text of its own.
"""

from __future__ import annotations

from custody.testing.simulator.answers import Json, Reply, object_of
from custody.testing.simulator.openai_shapes import listing, missing, plain
from custody.testing.simulator.routes import Asked, Handler, Table, page

_KIND = "completions"
_SHOWN = "temperature top_p seed presence_penalty frequency_penalty tools tool_choice response_format".split()


def keeping(serve: Handler) -> Handler:
    """The endpoint, with its answers kept where they are to be stored."""

    def handler(asked: Asked) -> Reply:
        reply = serve(asked)
        if asked.body.get("store") is True and reply.status == 200:
            made = object_of(reply.body) if reply.frames is None else None
            if made is None:
                whole = {k: v for k, v in asked.body.items() if k not in ("stream", "store", "stream_options")}
                made = object_of(asked.again("/v1/chat/completions", whole).body)
            if made is not None:
                given = {name: asked.body.get(name) for name in _SHOWN}
                kept: Json = {**made, **given, "metadata": asked.body.get("metadata") or {}, "input_user": None}
                asked.store.put(_KIND, kept)
                asked.store.put("messages of", {"id": made["id"], "messages": asked.body["messages"]})
        return reply

    return handler


def _list(asked: Asked) -> Reply:
    wanted = {k[9:-1]: v for k, v in asked.query.items() if k.startswith("metadata[") and k.endswith("]")}
    rows = [d for d in asked.store.all(_KIND) if all(d["metadata"].get(k) == v for k, v in wanted.items())]
    if model := asked.query.get("model"):
        rows = [d for d in rows if d["model"] == model]
    return listing(page(rows, asked.query, order="asc"))


def _one(asked: Asked) -> Reply:
    kept = asked.store.get(_KIND, asked.ids[0])
    return plain(kept.document) if kept else missing("chat completion", asked.ids[0])


def _messages(asked: Asked) -> Reply:
    kept = asked.store.get("messages of", asked.ids[0])
    if kept is None:
        return missing("chat completion", asked.ids[0])
    rows: list[Json] = []
    for number, message in enumerate(kept.document["messages"]):
        parts = message["content"] if isinstance(message.get("content"), list) else None
        shown: Json = {"id": f"{asked.ids[0]}-{number}", "role": message["role"], "name": message.get("name")}
        rows.append({**shown, "content": None if parts else message.get("content"), "content_parts": parts})
    return listing(page(rows, asked.query, order="asc"))


def _delete(asked: Asked) -> Reply:
    name = asked.ids[0]
    if not asked.store.drop(_KIND, name):
        return missing("chat completion", name)
    return plain({"id": name, "object": "chat.completion.deleted", "deleted": True})


ROUTES: Table = {
    "GET /v1/chat/completions": _list,
    "GET /v1/chat/completions/{}": _one,
    "GET /v1/chat/completions/{}/messages": _messages,
    "DELETE /v1/chat/completions/{}": _delete,
}
