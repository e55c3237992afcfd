"""The Gemini dialect's resources: models, files with resumable upload, caches, batches. Nothing is remembered:
a resource is made up from its name, so that any program can be replayed against any server."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from custody.testing.simulator import gemini_interactions
from custody.testing.simulator.answers import Answers, Json, Reply, tokens

if TYPE_CHECKING:
    from custody.testing.simulator import Seen

MODELS = "gemini-2.0-flash gemini-2.5-flash gemini-2.5-pro gemini-3-pro gemini-embedding-001 imagen-4.0-generate-001"


def answer(seen: Seen, rest: str, method: str | None, body: Json, vertex: bool, answers: Answers) -> Reply | None:
    """One request about a resource; None where there is no such."""
    kind, _, name = rest.rpartition("publishers/google/")[2].partition("/")
    if name == "missing":
        return Reply(404, json.dumps({"error": {"code": 404, "message": "Simulated: no such resource.",
                                                "status": "NOT_FOUND"}}).encode())  # fmt: skip
    if method in ("batchGenerateContent", "asyncBatchEmbedContent"):
        return _plain(_batch(answers.id("batches/", 12), name, "BATCH_STATE_PENDING", body))
    if kind == "interactions":
        return gemini_interactions.answer(seen, name, body, answers)
    if method == "cancel" or seen.method == "DELETE":
        return _plain({})
    if kind == "models":
        return _plain(_models(seen, vertex) if not name else _model(name, vertex))
    if kind == "files":
        return _plain(_listed(seen, "files", [_file(n) for n in ("first", "second")]) if not name else _file(name))
    if kind == "cachedContents":
        prefix = seen.path.partition("cachedContents")[0].partition("projects/")
        scope = prefix[1] + prefix[2]
        if not name and seen.method == "GET":
            return _plain(_listed(seen, "cachedContents", [_cache(scope, n, {}) for n in ("one", "two")]))
        return _plain(_cache(scope, name or answers.id("", 16).lower(), body))
    if kind == "batches":
        made = [_batch(f"batches/{n}", "gemini-2.5-flash", "BATCH_STATE_SUCCEEDED", {}) for n in ("one", "two")]
        if not name:
            return _plain(_listed(seen, "operations", made))
        return _plain(_batch(rest, "gemini-2.5-flash", "BATCH_STATE_SUCCEEDED", {}, answers))
    if kind == "batchPredictionJobs":
        return _plain(_job(seen, name or answers.id("", 12, "0123456789"), body))
    return None


def upload(seen: Seen, body: bytes, answers: Answers) -> Reply:
    """The resumable protocol: start gives an address, chunks go there, the last one says finalize."""
    command = seen.headers["x-goog-upload-command"]
    if "start" in command:
        asked = (json.loads(body) if body else {}).get("file") or {}
        mime = base64.urlsafe_b64encode(seen.headers.get("x-goog-upload-header-content-type", "").encode()).decode()
        kept = f"{answers.id('', 24)}.{mime.rstrip('=')}.{asked.get('displayName') or ''}"
        address = f"http://{seen.headers['host']}{seen.path}?upload_id={kept}&upload_protocol=resumable"
        return Reply(200, b"", headers={
            "x-goog-upload-url": address, "x-goog-upload-control-url": address, "x-goog-upload-status": "active",
            "x-goog-upload-chunk-granularity": "262144", "x-guploader-uploadid": kept,
        })  # fmt: skip
    if "finalize" not in command:
        return Reply(200, b"", headers={"x-goog-upload-status": "active"})
    kept = (parse_qs(seen.query).get("upload_id") or ["..."])[0]
    name, mime, label = [*kept.split("."), "", ""][:3]
    made = _file(name[:12].lower())
    made["mimeType"] = base64.urlsafe_b64decode(mime + "=" * (-len(mime) % 4)).decode() or "text/plain"
    made["sizeBytes"] = str(int(seen.headers.get("x-goog-upload-offset", 0)) + len(body))
    made["sha256Hash"] = base64.b64encode(hashlib.sha256(body).hexdigest().encode()).decode()
    if label:
        made["displayName"] = label
    return Reply(200, json.dumps({"file": made}).encode(), headers={"x-goog-upload-status": "final"})


def _plain(document: Json) -> Reply:
    return Reply(200, (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode())


def _now(hours: float = 0.0) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat().replace("+00:00", "Z")


def _listed(seen: Seen, field: str, items: list[Json]) -> Json:
    """Two pages where a page size of 1 is asked for."""
    query = parse_qs(seen.query)
    if query.get("pageSize") != ["1"]:
        return {field: items}
    if query.get("pageToken"):
        return {field: items[1:]}
    return {field: items[:1], "nextPageToken": "second"}


def _models(seen: Seen, vertex: bool) -> Json:
    made = [_model(name, vertex) for name in MODELS.split()]
    return {"publisherModels" if vertex else "models": made}


def _model(name: str, vertex: bool) -> Json:
    if vertex:
        return {"name": f"publishers/google/models/{name}", "versionId": "default", "launchStage": "GA"}
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name.replace("-", " ").title(),
        "description": "Simulated.",
        "inputTokenLimit": 1048576,
        "outputTokenLimit": 65536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
        "temperature": 1.0,
        "topP": 0.95,
        "topK": 64,
    }


def _file(name: str) -> Json:
    return {
        "name": f"files/{name}",
        "mimeType": "text/plain",
        "sizeBytes": "12",
        "createTime": _now(),
        "updateTime": _now(),
        "expirationTime": _now(48),
        "sha256Hash": "c2ltdWxhdGVk",
        "uri": f"https://generativelanguage.googleapis.com/v1beta/files/{name}",
        "state": "ACTIVE",
        "source": "UPLOADED",
    }


def _cache(scope: str, name: str, body: Json) -> Json:
    made: Json = {
        "name": f"{scope}cachedContents/{name}",
        "model": body.get("model", "models/gemini-2.5-flash"),
        "createTime": _now(),
        "updateTime": _now(),
        "expireTime": _now(1),
        "displayName": body.get("displayName", ""),
        "usageMetadata": {"totalTokenCount": 1024 + tokens(body.get("contents") or "")},
    }
    return made


def _batch(name: str, model: str, state: str, body: Json, answers: Answers | None = None) -> Json:
    given = ((body.get("batch") or {}).get("inputConfig") or {}).get("requests") or {}
    count = len(given.get("requests") or [None])
    ended = state == "BATCH_STATE_SUCCEEDED"
    metadata: Json = {
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
        "model": f"models/{model}",
        "displayName": (body.get("batch") or {}).get("displayName", "batch"),
        "createTime": _now(),
        "updateTime": _now(),
        "batchStats": {"requestCount": str(count)},
        "state": state,
        "name": name,
    }
    if not ended:
        return {"name": name, "metadata": metadata}
    text = answers.text() if answers else "Simulated."
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "finishReason": "STOP"}
    one: Json = {"response": {"candidates": [candidate], "modelVersion": model, "responseId": "batched"}}
    done: Any = {"inlinedResponses": {"inlinedResponses": [one]}}
    metadata["output"] = done
    return {"name": name, "metadata": metadata, "done": True, "response": done}


def _job(seen: Seen, name: str, body: Json) -> Json:
    scope = seen.path.partition("projects/")[2].partition("/batchPredictionJobs")[0]
    return {
        "name": f"projects/{scope}/batchPredictionJobs/{name}",
        "displayName": body.get("displayName", "batch"),
        "model": body.get("model", "publishers/google/models/gemini-2.5-flash"),
        "inputConfig": body.get("inputConfig", {}),
        "outputConfig": body.get("outputConfig", {}),
        "state": "JOB_STATE_PENDING" if seen.method == "POST" else "JOB_STATE_SUCCEEDED",
        "createTime": _now(),
        "updateTime": _now(),
    }
