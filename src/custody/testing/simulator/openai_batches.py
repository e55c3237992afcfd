"""Batches of the OpenAI dialect. One is validated, then in progress, then completed: a step per look at it."""

from __future__ import annotations

import json
import time

from custody.testing.simulator.answers import Json, Reply
from custody.testing.simulator.openai_files import keep
from custody.testing.simulator.openai_shapes import error, json_lines, listing, missing, plain
from custody.testing.simulator.routes import Asked, Table, page
from custody.testing.simulator.store import Kept

_STAMPS = (
    "in_progress_at finalizing_at completed_at failed_at expired_at cancelling_at cancelled_at errors output_file_id "
    "error_file_id usage"
).split()


def _create(asked: Asked) -> Reply:
    body, now = asked.body, int(time.time())
    given = asked.store.get("files", body["input_file_id"])
    if given is None:
        return missing("file", body["input_file_id"])
    lines = [json.loads(line) for line in given.data.splitlines() if line.strip()]
    if any(line["url"] != body["endpoint"] for line in lines):
        return error(400, "Simulated: a line's url is not the batch's endpoint.")
    made: Json = {"id": asked.source.hex("batch_"), "object": "batch", "endpoint": body["endpoint"]}
    made |= {"model": lines[0]["body"].get("model") if lines else None, "input_file_id": body["input_file_id"]}
    made |= {"completion_window": body["completion_window"], "status": "validating", "created_at": now}
    made |= dict.fromkeys(_STAMPS) | {"expires_at": now + 86400, "metadata": body.get("metadata")}
    made["request_counts"] = {"total": 0, "completed": 0, "failed": 0}
    return plain(asked.store.put("batches", made, given.data))


def _retrieve(asked: Asked) -> Reply:
    def advance(kept: Kept) -> None:
        now = int(time.time())
        if kept.document["status"] == "validating":
            kept.document = {**kept.document, "status": "in_progress", "in_progress_at": now}
        elif kept.document["status"] == "in_progress":
            kept.document = _run(asked, kept) | {"finalizing_at": now, "completed_at": now}

    kept = asked.store.poll("batches", asked.ids[0], advance)
    return plain(kept.document) if kept else missing("batch", asked.ids[0])


def _run(asked: Asked, kept: Kept) -> Json:
    """Answer every line; the good answers and the failed ones go to a file each."""
    good: list[Json] = []
    bad: list[Json] = []
    for line in map(json.loads, kept.data.splitlines()):
        reply = asked.again(line["url"], {k: v for k, v in line["body"].items() if k != "stream"})
        answer = {"status_code": reply.status, "request_id": asked.source.hex(""), "body": json.loads(reply.body)}
        row: Json = {"id": asked.source.hex("batch_req_"), "custom_id": line["custom_id"]}
        (good if reply.status == 200 else bad).append({**row, "response": answer, "error": None})
    made = {**kept.document, "status": "completed"}
    made["request_counts"] = {"total": len(good) + len(bad), "completed": len(good), "failed": len(bad)}
    name = f"{made['id']}_output.jsonl"
    for field, rows in (("output_file_id", good), ("error_file_id", bad)):
        if rows:
            made[field] = keep(asked.source, name, "batch_output", json_lines(rows))["id"]
    return made


def _cancel(asked: Asked) -> Reply:
    def cancel(kept: Kept) -> None:
        kept.document = {**kept.document, "status": "cancelling", "cancelling_at": int(time.time())}

    kept = asked.store.poll("batches", asked.ids[0], cancel)
    return plain(kept.document) if kept else missing("batch", asked.ids[0])


ROUTES: Table = {
    "POST /v1/batches": _create,
    "GET /v1/batches": lambda asked: listing(page(asked.store.all("batches"), asked.query)),
    "GET /v1/batches/{}": _retrieve,
    "POST /v1/batches/{}/cancel": _cancel,
}
