"""Responses, pictures, sound, files, batches and realtime of Mistral's SDK, bare, recorded and replayed."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import custody
from custody.testing.simulator import mistral as dialect
from custody.testing.simulator.answers import Reply, compact, pieces, sse
from custody.testing.simulator.multipart import parse

try:
    from mistralai.client import Mistral
except ImportError:  # before 2.0
    from mistralai import Mistral  # type: ignore[attr-defined, no-redef]

MODEL = "mistral-small-2506"
PICTURE = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
SOUND = base64.b64encode(bytes(60)).decode()
USAGE = {"prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10, "prompt_audio_seconds": 2}


class Vendor:
    """The vendor's endpoints for responses, audio, files and batches, beside those that the simulator has."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[Any, bytes]] = {}
        self.jobs: dict[str, Any] = {}

    def answer(self, seen: Any, body: bytes, answers: Any) -> Reply | None:
        _, _, name, *more = [*seen.path.split("/"), ""]
        if name == "audio":
            return self.audio(more[0], seen, body, answers)
        if name == "responses":
            return self.responses(dialect.object_of(body) or {}, answers)
        if name == "files":
            return self.file(seen, body, answers, more)
        return self.job(seen, body, answers, more[1:]) if name == "batch" else None

    def audio(self, what: str, seen: Any, body: bytes, answers: Any) -> Reply:
        text = answers.text()
        if what == "speech":
            spoken = base64.b64encode(text.encode()).decode()
            if not (dialect.object_of(body) or {}).get("stream"):
                return told({"audio_data": spoken})
            done = {"type": "speech.audio.done", "usage": USAGE}
            parts = [{"type": "speech.audio.delta", "audio_data": spoken[n : n + 8]} for n in range(0, len(spoken), 8)]
            return Reply(frames=[sse(event, event["type"]) for event in [*parts, done]])
        fields, files = parse(seen.headers["content-type"], body)
        assert files["file"][0].data
        whole = {"model": fields["model"], "text": text, "usage": USAGE, "language": None, "segments": []}
        if fields.get("stream") != "true":
            return told(whole)
        deltas = [{"type": "transcription.text.delta", "text": part} for part in pieces(text)]
        events = [*deltas, {**whole, "type": "transcription.done"}]
        return Reply(frames=[sse(event, event["type"]) for event in events])

    def responses(self, body: Any, answers: Any) -> Reply:
        said = {"type": "output_text", "text": answers.text(), "annotations": [], "logprobs": []}
        message = {"id": answers.hex("msg_"), "type": "message", "role": "assistant", "status": "completed"}
        whole = {"id": answers.hex("resp_"), "object": "response", "created_at": 1, "status": "completed"}
        whole |= {"model": body["model"], "output": [{**message, "content": [said]}], "error": None}
        whole |= {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "usage": {
            "input_tokens": 4, "output_tokens": 6, "total_tokens": 10,
            "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0},
        }}  # fmt: skip
        if not body.get("stream"):
            return told(whole)
        place = {"item_id": message["id"], "output_index": 0, "content_index": 0, "logprobs": []}
        events: list[Any] = [{"type": "response.created", "response": {**whole, "output": []}}]
        events += [{"type": "response.output_text.delta", "delta": part, **place} for part in pieces(said["text"])]
        events.append({"type": "response.completed", "response": whole})
        frames = [sse({**event, "sequence_number": n}, event["type"]) for n, event in enumerate(events)]
        return Reply(frames=frames)

    def file(self, seen: Any, body: bytes, answers: Any, more: list[str]) -> Reply:
        if seen.method == "POST":
            fields, files = parse(seen.headers["content-type"], body)
            (sent,) = files["file"]
            shown = {"id": answers.hex("", 32), "object": "file", "bytes": len(sent.data), "created_at": 1}
            shown |= {"filename": sent.name, "purpose": fields.get("purpose"), "sample_type": "batch_request"}
            shown |= {"source": "upload", "deleted": False}
            self.files[str(shown["id"])] = (shown, sent.data)
            return told(shown)
        if not more[0]:
            shown_all = [shown for shown, _ in self.files.values()]
            return told({"data": shown_all, "object": "list", "total": len(shown_all)})
        if seen.method == "DELETE":
            del self.files[more[0]]
            return told({"id": more[0], "object": "file", "deleted": True})
        shown, data = self.files[more[0]]
        if more[1] == "content":
            return Reply(200, data, headers={"content-type": "application/octet-stream"})
        return told({"url": "https://files.example/x"} if more[1] == "url" else shown)

    def job(self, seen: Any, body: bytes, answers: Any, more: list[str]) -> Reply:
        """Queued when it is made, run at the first look, done at the second."""
        if seen.method == "POST" and not more[0]:
            asked = dialect.object_of(body) or {}
            job = {"id": answers.hex("", 32), "object": "batch", "input_files": asked["input_files"], "errors": []}
            job |= {"endpoint": asked["endpoint"], "model": asked["model"], "status": "QUEUED", "created_at": 1}
            job |= {"total_requests": 1, "completed_requests": 0, "succeeded_requests": 0, "failed_requests": 0}
            self.jobs[str(job["id"])] = job
            return told(job)
        if not more[0]:
            return told({"data": list(self.jobs.values())[-1:], "object": "list", "total": 1})
        job = self.jobs[more[0]]
        if more[1] == "cancel":
            job["status"] = "CANCELLATION_REQUESTED"
        elif job["status"] == "RUNNING":
            name = answers.hex("", 32)
            self.files[name] = ({}, answers.text().encode())
            job |= {"status": "SUCCESS", "output_file": name, "completed_requests": 1, "succeeded_requests": 1}
        elif job["status"] == "QUEUED":
            job["status"] = "RUNNING"
        return told(job)


def told(document: Any) -> Reply:
    return Reply(200, compact(document).encode())


@pytest.fixture(autouse=True)
def vendor(monkeypatch: pytest.MonkeyPatch) -> None:
    more, known = Vendor(), dialect.answer

    def answer(seen: Any, body: bytes, answers: Any) -> Reply:
        return more.answer(seen, body, answers) or known(seen, body, answers)

    monkeypatch.setattr(dialect, "answer", answer)


@pytest.fixture
def made(three_ways: Any) -> Callable[[], Any]:
    return lambda: Mistral(api_key="mistral-key", server_url=three_ways.sim.url)


def responses(client: Any) -> Any:
    whole = client.responses.create(model=MODEL, input="Say something about rivers.")
    with client.responses.create(model=MODEL, input="Say more.", stream=True) as events:
        return [whole, list(events)]


def pictures_in(client: Any) -> Any:
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": PICTURE}]
    return client.chat.complete(model=MODEL, messages=[{"role": "user", "content": parts}])


def sounds_in(client: Any) -> Any:
    parts = [{"type": "text", "text": "What is it?"}, {"type": "input_audio", "input_audio": SOUND}]
    heard = client.chat.complete(model=MODEL, messages=[{"role": "user", "content": parts}])
    asked: Any = {"model": "voxtral-mini-2507", "file": {"file_name": "a.wav", "content": bytes(60)}}
    whole = client.audio.transcriptions.complete(**asked)
    with client.audio.transcriptions.stream(**asked) as events:
        return [heard, whole, list(events)]


def sounds_out(client: Any) -> Any:
    asked: Any = {"model": "voxtral-tts", "input": "The river is long.", "voice_id": "v"}
    whole = client.audio.speech.complete(**asked)
    with client.audio.speech.complete(**asked, stream=True) as events:
        return [whole, list(events)]


def files(client: Any) -> Any:
    file = client.files.upload(file={"file_name": "rivers.txt", "content": b"long\r\n--x"}, purpose="ocr")
    read = client.files.download(file_id=file.id).read()
    assert read == b"long\r\n--x"
    listed, kept = client.files.list(), client.files.retrieve(file_id=file.id)
    url = client.files.get_signed_url(file_id=file.id)
    return [file, read, listed, kept, url, client.files.delete(file_id=file.id)]


def batches(client: Any) -> Any:
    line = b'{"custom_id": "0", "body": {"messages": []}}'
    file = client.files.upload(file={"file_name": "in.jsonl", "content": line}, purpose="batch")
    asked: Any = {"input_files": [file.id], "model": MODEL, "endpoint": "/v1/chat/completions"}
    states = [client.batch.jobs.create(**asked)]
    while states[-1].status != "SUCCESS":
        states.append(client.batch.jobs.get(job_id=states[0].id))
    assert [state.status for state in states] == ["QUEUED", "RUNNING", "SUCCESS"]
    results = client.files.download(file_id=states[-1].output_file).read()
    other = client.batch.jobs.create(**asked)
    return [states, results, client.batch.jobs.cancel(job_id=other.id), client.batch.jobs.list()]


SCENARIOS = {"responses": responses, "pictures_in": pictures_in, "sounds_in": sounds_in, "sounds_out": sounds_out,
             "files": files, "batches": batches}  # fmt: skip


@pytest.mark.parametrize("name", SCENARIOS)
def test_feature(three_ways: Any, made: Any, name: str) -> None:
    def scenario() -> Any:
        with made() as client:
            try:
                return SCENARIOS[name](client)
            except AttributeError as error:
                pytest.skip(f"this SDK has no such method: {error}")

    three_ways(scenario)
    assert three_ways.calls
    for call in three_ways.calls:
        assert (call.fields["ending"], call.fields["hook_failures"]) == ("complete", [])
        assert call.fields["sdk"]["plugin"] == "mistral"
        assert call.fields["operation"] in ("responses", "chat", "audio", "files", "batches")


# -- realtime -------------------------------------------------------------------------------------------


@pytest.fixture
def realtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server of the realtime API under the vendor's own name; `.shaken` counts the connections."""
    from websockets.sync.server import serve

    resolve = socket.getaddrinfo

    def here(host: Any, *more: Any, **options: Any) -> Any:
        return resolve("127.0.0.1" if str(host).endswith("mistral.ai") else host, *more, **options)

    def talk(connection: Any) -> None:
        listening.shaken += 1
        sound = {"encoding": "pcm_s16le", "sample_rate": 16000}
        session = {"request_id": f"r{listening.shaken}", "model": "voxtral-mini-realtime", "audio_format": sound}
        connection.send(json.dumps({"type": "session.created", "session": session}))
        for message in connection:
            if json.loads(message)["type"] == "input_audio.end":
                connection.send(json.dumps({"type": "transcription.text.delta", "text": "All is well."}))
                done = {"model": session["model"], "text": "All is well.", "language": None, "segments": []}
                connection.send(json.dumps({**done, "type": "transcription.done", "usage": USAGE}))

    monkeypatch.setattr(socket, "getaddrinfo", here)
    with serve(talk, "127.0.0.1", 0) as listening:
        listening.shaken = 0
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


@pytest.mark.timeout(60)
@pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")
def test_realtime_is_recorded_and_not_replayed(realtime: Any, root: Path) -> None:
    pytest.importorskip("mistralai.extra.realtime")
    port = realtime.socket.getsockname()[1]

    async def sounds() -> AsyncIterator[bytes]:
        yield bytes(320)

    async def talk() -> list[str]:
        client = Mistral(api_key="mistral-key", server_url=f"http://api.mistral.ai:{port}")
        async with client:
            events = client.audio.realtime.transcribe_stream(sounds(), "voxtral-mini-realtime")
            return [type(event).__name__ async for event in events]

    bare = asyncio.run(talk())
    with custody.session("P", "E", root=root) as session:
        assert asyncio.run(talk()) == bare
    (call,) = custody.open(session.path).calls()
    assert call.fields["status"] == 101
    said = [json.loads(frame.data)["type"] for frame in call.response.frames if frame.kind == "text"]  # type: ignore[union-attr]
    assert said[0] == "session.created" and said[-1] == "transcription.done"
    with (
        custody.session("P", "E", root=root, session=session.id, strict=True),
        pytest.raises(Exception, match="is not replayed, and nothing is sent") as refused,
    ):
        asyncio.run(talk())
    # The SDK makes its own exception of whatever keeps it from connecting.
    assert custody.ReplayMiss in (type(refused.value), type(refused.value.__cause__))
    assert realtime.shaken == 2
