"""Files of the Anthropic dialect (beta)."""

from __future__ import annotations

from custody.testing.simulator.answers import Json, Reply
from custody.testing.simulator.anthropic_shapes import error, missing, plain, stamp
from custody.testing.simulator.routes import Asked, Table, page


def _create(asked: Asked) -> Reply:
    if "file" not in asked.files:
        return error(400, "Simulated: file: required.")
    sent = asked.files["file"][0]
    made: Json = {"type": "file", "id": asked.source.id("file_01", 22), "size_bytes": len(sent.data)}
    made |= {"created_at": stamp(), "filename": sent.name, "mime_type": sent.media_type, "downloadable": True}
    return plain(asked.store.put("claude_files", made, sent.data))


def _list(asked: Asked) -> Reply:
    # Older SDKs go on with after_id, newer ones with the page that the vendor names.
    after = asked.query.get("page") or asked.query.get("after_id", "")
    shown = page(asked.store.all("claude_files"), {**asked.query, "after_id": after}, "after_id")
    return plain({**shown, "next_page": shown["last_id"] if shown["has_more"] else None})


def _retrieve(asked: Asked) -> Reply:
    kept = asked.store.get("claude_files", asked.ids[0])
    return plain(kept.document) if kept else missing("file", asked.ids[0])


def _content(asked: Asked) -> Reply:
    kept = asked.store.get("claude_files", asked.ids[0])
    if kept is None:
        return missing("file", asked.ids[0])
    return Reply(200, kept.data, headers={"content-type": kept.document["mime_type"]})


def _delete(asked: Asked) -> Reply:
    if not asked.store.drop("claude_files", asked.ids[0]):
        return missing("file", asked.ids[0])
    return plain({"id": asked.ids[0], "type": "file_deleted"})


ROUTES: Table = {
    "POST /v1/files": _create,
    "GET /v1/files": _list,
    "GET /v1/files/{}": _retrieve,
    "GET /v1/files/{}/content": _content,
    "DELETE /v1/files/{}": _delete,
}
