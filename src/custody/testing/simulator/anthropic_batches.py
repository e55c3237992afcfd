"""Message batches of the Anthropic dialect. One ends when it is looked at the second time."""

from __future__ import annotations

import json
from typing import Any

from custody.testing.simulator.answers import Json, Reply, compact
from custody.testing.simulator.anthropic_shapes import error, missing, plain, refused, stamp
from custody.testing.simulator.routes import Asked, Table, page
from custody.testing.simulator.store import Kept


def _create(asked: Asked) -> Reply:
    if no := refused(asked.body, ("requests", list)):
        return no
    lines: list[Any] = asked.body["requests"]
    made: Json = {"id": asked.source.id("msgbatch_01", 22), "type": "message_batch"}
    made |= {"processing_status": "in_progress", "request_counts": _counts(processing=len(lines))}
    made |= {"ended_at": None, "created_at": stamp(), "expires_at": stamp(86400)}
    made |= {"archived_at": None, "cancel_initiated_at": None, "results_url": None}
    return plain(asked.store.put("message_batches", made, json.dumps(lines).encode()))


def _counts(**some: int) -> Json:
    return {**dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0), **some}


def _retrieve(asked: Asked) -> Reply:
    def advance(kept: Kept) -> None:
        if kept.polls < 2 or kept.document["processing_status"] == "ended":
            return
        stopped = kept.document["processing_status"] == "canceling"
        rows = [_line(asked, line, stopped) for line in json.loads(kept.data)]
        kinds = [row["result"]["type"] for row in rows]
        kept.data = "".join(compact(row) + "\n" for row in rows).encode()
        kept.document = {**kept.document, "processing_status": "ended", "ended_at": stamp()}
        kept.document["request_counts"] = _counts(**{kind: kinds.count(kind) for kind in kinds})
        kept.document["results_url"] = f"{asked.base}/v1/messages/batches/{kept.document['id']}/results"

    kept = asked.store.poll("message_batches", asked.ids[0], advance)
    return plain(kept.document) if kept else missing("batch", asked.ids[0])


def _line(asked: Asked, line: Json, stopped: bool) -> Json:
    """The result of one request."""
    if stopped:
        return {"custom_id": line["custom_id"], "result": {"type": "canceled"}}
    reply = asked.again("/v1/messages", {k: v for k, v in line["params"].items() if k != "stream"})
    document = json.loads(reply.body)
    good = {"type": "succeeded", "message": document}
    return {
        "custom_id": line["custom_id"],
        "result": good if reply.status == 200 else {"type": "errored", "error": document},
    }


def _results(asked: Asked) -> Reply:
    kept = asked.store.get("message_batches", asked.ids[0])
    if kept is None:
        return missing("batch", asked.ids[0])
    if kept.document["processing_status"] != "ended":
        return error(404, "Simulated: the batch has not ended.")
    lines = kept.data.splitlines(keepends=True)
    return Reply(frames=lines, headers={"content-type": "application/x-jsonl"})


def _cancel(asked: Asked) -> Reply:
    def cancel(kept: Kept) -> None:
        kept.document = {**kept.document, "processing_status": "canceling", "cancel_initiated_at": stamp()}

    kept = asked.store.poll("message_batches", asked.ids[0], cancel)
    return plain(kept.document) if kept else missing("batch", asked.ids[0])


def _delete(asked: Asked) -> Reply:
    if not asked.store.drop("message_batches", asked.ids[0]):
        return missing("batch", asked.ids[0])
    return plain({"id": asked.ids[0], "type": "message_batch_deleted"})


ROUTES: Table = {
    "POST /v1/messages/batches": _create,
    "GET /v1/messages/batches": lambda asked: plain(page(asked.store.all("message_batches"), asked.query, "after_id")),
    "GET /v1/messages/batches/{}": _retrieve,
    "DELETE /v1/messages/batches/{}": _delete,
    "POST /v1/messages/batches/{}/cancel": _cancel,
    "GET /v1/messages/batches/{}/results": _results,
}
