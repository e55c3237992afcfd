"""Files and uploads in parts of the OpenAI dialect."""

from __future__ import annotations

import time

from custody.testing.simulator.answers import Answers, Json, Reply
from custody.testing.simulator.openai_shapes import error, listing, missing, plain
from custody.testing.simulator.routes import Asked, Table, page
from custody.testing.simulator.store import Kept


def keep(answers: Answers, filename: str, purpose: str, data: bytes) -> Json:
    """Make a file of the vendor's."""
    made: Json = {"object": "file", "id": answers.id("file-", 22), "purpose": purpose, "filename": filename}
    made |= {"bytes": len(data), "created_at": int(time.time()), "expires_at": None}
    return answers.store.put("files", {**made, "status": "processed", "status_details": None}, data)


def _create(asked: Asked) -> Reply:
    if "file" not in asked.files or not asked.body.get("purpose"):
        return error(400, "Simulated: file and purpose are required.", param="file")
    sent = asked.files["file"][0]
    return plain(keep(asked.source, sent.name, asked.body["purpose"], sent.data))


def _list(asked: Asked) -> Reply:
    purpose = asked.query.get("purpose")
    rows = [row for row in asked.store.all("files") if purpose in (None, row["purpose"])]
    return listing(page(rows, asked.query))


def _retrieve(asked: Asked) -> Reply:
    kept = asked.store.get("files", asked.ids[0])
    return plain(kept.document) if kept else missing("file", asked.ids[0])


def _content(asked: Asked) -> Reply:
    kept = asked.store.get("files", asked.ids[0])
    if kept is None:
        return missing("file", asked.ids[0])
    name = kept.document["filename"]
    said = {"content-type": "application/octet-stream", "content-disposition": f'attachment; filename="{name}"'}
    return Reply(200, kept.data, headers=said)


def _delete(asked: Asked) -> Reply:
    if not asked.store.drop("files", asked.ids[0]):
        return missing("file", asked.ids[0])
    return plain({"object": "file", "deleted": True, "id": asked.ids[0]})


def _begin(asked: Asked) -> Reply:
    now = int(time.time())
    made: Json = {"id": asked.source.hex("upload_", 24), "object": "upload", "created_at": now}
    made |= {name: asked.body[name] for name in ("filename", "bytes", "purpose")}
    return plain(asked.store.put("uploads", {**made, "status": "pending", "expires_at": now + 3600}))


def _part(asked: Asked) -> Reply:
    if asked.store.get("uploads", asked.ids[0]) is None:
        return missing("upload", asked.ids[0])
    made: Json = {"id": asked.source.hex("part_", 24), "object": "upload.part", "created_at": int(time.time())}
    made["upload_id"] = asked.ids[0]
    return plain(asked.store.put("parts", made, asked.files["data"][0].data, owner=asked.ids[0]))


def _complete(asked: Asked) -> Reply:
    upload = asked.store.get("uploads", asked.ids[0])
    parts = [asked.store.get("parts", name) for name in asked.body["part_ids"]]
    data = b"".join(part.data for part in parts if part is not None)
    if upload is None:
        return missing("upload", asked.ids[0])
    if None in parts or len(data) != upload.document["bytes"]:
        return error(400, "Simulated: the parts are not the bytes that were announced.")

    def complete(kept: Kept) -> None:
        made = keep(asked.source, kept.document["filename"], kept.document["purpose"], data)
        kept.document = {**kept.document, "status": "completed", "file": made}

    asked.store.poll("uploads", asked.ids[0], complete)
    return plain(upload.document)


def _cancel(asked: Asked) -> Reply:
    def cancel(kept: Kept) -> None:
        kept.document = {**kept.document, "status": "cancelled"}

    upload = asked.store.poll("uploads", asked.ids[0], cancel)
    return plain(upload.document) if upload else missing("upload", asked.ids[0])


ROUTES: Table = {
    "POST /v1/files": _create,
    "GET /v1/files": _list,
    "GET /v1/files/{}": _retrieve,
    "GET /v1/files/{}/content": _content,
    "DELETE /v1/files/{}": _delete,
    "POST /v1/uploads": _begin,
    "POST /v1/uploads/{}/parts": _part,
    "POST /v1/uploads/{}/complete": _complete,
    "POST /v1/uploads/{}/cancel": _cancel,
}
