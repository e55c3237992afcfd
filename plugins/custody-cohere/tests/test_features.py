"""Pictures, sound, data sets, batches and documents of Cohere's SDK, bare, recorded and replayed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import cohere
import pytest

from custody.testing.simulator import cohere as dialect
from custody.testing.simulator.answers import Reply, compact
from custody.testing.simulator.multipart import parse

MODEL = "command-a-vision-07-2025"
PICTURE = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
WHEN = "2026-01-02T03:04:05Z"


class Vendor:
    """The vendor's endpoints for sound, data sets, batches and documents, beside those that the simulator has."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def answer(self, seen: Any, body: bytes, answers: Any) -> Reply | None:
        _, _, name, *more = [*seen.path.split("/"), ""]
        asked = dialect.object_of(body) or {}
        if name == "audio":
            _, files = parse(seen.headers["content-type"], body)
            assert files["file"][0].data
            return told({"text": answers.text()})
        if name == "parse":
            page = {"page_number": 1, "markdown": answers.text(), "blocks": []}
            return told({"id": answers.hex(""), "pages": [page], "finish_reason": "COMPLETE"})
        if name == "datasets":
            return self.dataset(seen, body, answers, more[0])
        if name == "embed-jobs" and seen.method == "POST":
            job = {"job_id": answers.hex(""), "status": "processing", "created_at": WHEN, "truncate": "END"}
            self.kept[job["job_id"]] = job | {"input_dataset_id": asked["dataset_id"], "model": asked["model"]}
            return told({"job_id": job["job_id"]})
        if name == "embed-jobs":
            return told({"embed_jobs": []} if not more[0] else self.looked(more[0], "processing", "complete"))
        return self.batch(seen, asked, answers, more) if name == "batches" else None

    def dataset(self, seen: Any, body: bytes, answers: Any, name: str) -> Reply:
        if seen.method == "POST":
            _, files = parse(seen.headers["content-type"], body)
            made = {"id": answers.hex(""), "name": "d", "created_at": WHEN, "updated_at": WHEN}
            made |= {"dataset_type": "embed-input", "validation_status": "validated", "dataset_parts": []}
            self.kept[made["id"]] = made | {"metrics": {"size": len(files["data"][0].data)}}
            return told({"id": made["id"]})
        return told({} if seen.method == "DELETE" else {"dataset": self.kept[name]} if name else {"datasets": []})

    def batch(self, seen: Any, asked: Any, answers: Any, more: list[str]) -> Reply:
        if seen.method == "POST" and not more[0]:
            made = {**asked, "id": answers.hex(""), "status": "BATCH_STATUS_QUEUED", "created_at": WHEN}
            self.kept[made["id"]] = made
            return told({"batch": made})
        if not more[0]:
            return told({"batches": []})
        if seen.method == "POST":
            return told({})
        return told({"batch": self.looked(more[0], "BATCH_STATUS_QUEUED", "BATCH_STATUS_COMPLETED")})

    def looked(self, name: str, before: str, after: str) -> Any:
        """The object as it is; the next look finds it done."""
        shown = dict(self.kept[name])
        if shown["status"] == before:
            self.kept[name]["status"] = after
        return shown


def told(document: Any) -> Reply:
    return Reply(200, compact(document).encode())


@pytest.fixture(autouse=True)
def vendor(monkeypatch: pytest.MonkeyPatch) -> None:
    more, known = Vendor(), dialect.answer

    def answer(seen: Any, body: bytes, answers: Any) -> Reply:
        return more.answer(seen, body, answers) or known(seen, body, answers)

    monkeypatch.setattr(dialect, "answer", answer)


def pictures_in(client: Any) -> Any:
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": PICTURE}}]
    seen = client.chat(model=MODEL, messages=[{"role": "user", "content": parts}])
    asked: Any = {"model": "embed-v4.0", "input_type": "image", "embedding_types": ["float"]}
    return [seen, client.embed(images=[PICTURE], **asked)]


def sounds_in(client: Any) -> Any:
    return client.audio.transcriptions.create(model="cohere-transcribe", language="en", file=("a.wav", bytes(60)))


def datasets(client: Any) -> Any:
    """The form has a random boundary; the same data is found again all the same."""
    lines = "\n".join(json.dumps({"text": f"line {number}"}) for number in range(3)).encode()
    made = client.datasets.create(name="d", type="embed-input", data=("in.jsonl", lines))
    kept = client.datasets.get(made.id)
    return [made, kept, client.datasets.list(), client.datasets.delete(made.id)]


def batches(client: Any) -> Any:
    lines = json.dumps({"custom_id": "0", "body": {"messages": []}}).encode()
    data = client.datasets.create(name="d", type="batch-chat-v2-input", data=("in.jsonl", lines))
    batch = {"name": "b", "input_dataset_id": data.id, "model": "command-a-03-2025"}
    states = [client.batches.create(request=batch).batch]
    while states[-1].status != "BATCH_STATUS_COMPLETED":
        states.append(client.batches.retrieve(states[0].id).batch)
    return [states, client.batches.list(), client.batches.cancel(states[0].id)]


def embed_jobs(client: Any) -> Any:
    data = client.datasets.create(name="d", type="embed-input", data=("in.jsonl", b'{"text": "a"}'))
    job = client.embed_jobs.create(model="embed-v4.0", dataset_id=data.id, input_type="search_document")
    return [job, client.embed_jobs.get(job.job_id), client.embed_jobs.get(job.job_id), client.embed_jobs.list()]


def documents(client: Any) -> Any:
    return client.parse(model="parse-v1", document={"type": "image_url", "image_url": PICTURE})


SCENARIOS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "pictures_in": (pictures_in, "chat"),
    "sounds_in": (sounds_in, "audio"),
    "datasets": (datasets, "datasets"),
    "batches": (batches, "batches"),
    "embed_jobs": (embed_jobs, "embed_jobs"),
    "documents": (documents, "parse"),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_feature(three_ways: Any, name: str) -> None:
    ask, needs = SCENARIOS[name]

    def scenario() -> Any:
        with cohere.ClientV2(api_key="cohere-key", base_url=three_ways.sim.url) as client:
            if not hasattr(client, needs):
                pytest.skip(f"this SDK has no {needs}")
            return ask(client)

    three_ways(scenario)
    assert three_ways.calls
    for call in three_ways.calls:
        assert (call.fields["ending"], call.fields["hook_failures"]) == ("complete", [])
        assert call.fields["sdk"]["plugin"] == "cohere"
        assert call.fields["operation"] in ("chat", "embeddings", "audio", "datasets", "batches", "parse")
