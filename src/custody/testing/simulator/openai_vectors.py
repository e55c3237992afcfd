"""Vector stores of the OpenAI dialect, as far as a program needs them to search its files."""

from __future__ import annotations

import time

from custody.testing.simulator.answers import Json, Reply
from custody.testing.simulator.openai_shapes import listing, missing, plain
from custody.testing.simulator.routes import Asked, Table, page

_COUNTS = {"in_progress": 0, "completed": 0, "failed": 0, "cancelled": 0, "total": 0}


def _create(asked: Asked) -> Reply:
    now = int(time.time())
    made: Json = {"id": asked.source.hex("vs_"), "object": "vector_store", "created_at": now, "last_active_at": now}
    made |= {"name": asked.body.get("name") or "", "status": "completed", "usage_bytes": 0, "file_counts": _COUNTS}
    made |= {"expires_after": None, "expires_at": None, "metadata": asked.body.get("metadata") or {}}
    return plain(asked.store.put("vector_stores", made))


def _retrieve(asked: Asked) -> Reply:
    kept = asked.store.get("vector_stores", asked.ids[0])
    return plain(kept.document) if kept else missing("vector store", asked.ids[0])


def _delete(asked: Asked) -> Reply:
    if not asked.store.drop("vector_stores", asked.ids[0]):
        return missing("vector store", asked.ids[0])
    return plain({"id": asked.ids[0], "object": "vector_store.deleted", "deleted": True})


def _add(asked: Asked) -> Reply:
    file = asked.store.get("files", asked.body["file_id"])
    if file is None:
        return missing("file", asked.body["file_id"])
    made: Json = {"id": file.document["id"], "object": "vector_store.file", "usage_bytes": len(file.data)}
    made |= {"created_at": int(time.time()), "vector_store_id": asked.ids[0], "status": "completed"}
    made |= {"last_error": None, "attributes": asked.body.get("attributes") or {}}
    return plain(asked.store.put("vector_files", made, owner=asked.ids[0]))


def _file(asked: Asked) -> Reply:
    kept = asked.store.get("vector_files", asked.ids[1])
    return plain(kept.document) if kept else missing("file", asked.ids[1])


def _search(asked: Asked) -> Reply:
    rows: list[Json] = []
    for found in asked.store.all("vector_files", asked.ids[0]):
        file = asked.store.get("files", found["id"])
        if file is not None:
            text = {"type": "text", "text": file.data.decode("utf-8", "replace")}
            row: Json = {"file_id": found["id"], "filename": file.document["filename"], "score": 0.5}
            rows.append({**row, "attributes": found["attributes"], "content": [text]})
    said: Json = {"object": "vector_store.search_results.page", "search_query": [asked.body["query"]]}
    return plain({**said, "data": rows, "has_more": False, "next_page": None})


ROUTES: Table = {
    "POST /v1/vector_stores": _create,
    "GET /v1/vector_stores": lambda asked: listing(page(asked.store.all("vector_stores"), asked.query)),
    "GET /v1/vector_stores/{}": _retrieve,
    "DELETE /v1/vector_stores/{}": _delete,
    "POST /v1/vector_stores/{}/files": _add,
    "GET /v1/vector_stores/{}/files": lambda asked: listing(
        page(asked.store.all("vector_files", asked.ids[0]), asked.query)
    ),
    "GET /v1/vector_stores/{}/files/{}": _file,
    "POST /v1/vector_stores/{}/search": _search,
}
