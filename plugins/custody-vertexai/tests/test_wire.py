"""What Vertex AI really sent, given to the real SDK again, over REST as it came and over gRPC.

Of the recordings under ``vertexai`` those of this SDK are exercised; the others were made by google-genai (for
custody-google) and through langchain. The oracle reads URL and body by hand.
"""

from __future__ import annotations

import importlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

import custody

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

OURS = "instrumentation-genai__opentelemetry-instrumentation-vertexai__*"
LEAST = 13
FINISH = {1: "STOP", 2: "MAX_TOKENS"}
CODES = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND"}


class Recording:
    """One exchange, and what must be read from it."""

    def __init__(self, path: Path) -> None:
        (interaction,) = yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))["interactions"]
        self.name = path.stem
        self.asked = json.loads(interaction["request"]["body"])
        self.status = interaction["response"]["status"]["code"]
        body = interaction["response"]["body"]["string"]
        self.body = body if isinstance(body, bytes) else body.encode()
        self.answer = json.loads(self.body)
        path_parts = interaction["request"]["uri"].split("googleapis.com/")[1].split(":")[0].split("/")
        self.version, self.model = path_parts[0], "/".join(path_parts[1:])
        self.told = {
            "requested_model": path_parts[-1],
            "actual_model": self.answer.get("modelVersion"),
            "api_version": path_parts[0],
            "deployment_region": path_parts[4],
            "project": path_parts[2],
            "response_id": self.answer.get("responseId"),
            "finish_reason": next((FINISH[c["finishReason"]] for c in self.answer.get("candidates", [])), None),
            "service_tier": "ON_DEMAND" if "usageMetadata" in self.answer else None,
        }

    @property
    def usage(self) -> dict[str, int | None] | None:
        stated = self.answer.get("usageMetadata")
        if stated is None:
            return None
        thoughts = stated.get("thoughtsTokenCount")
        made = stated["totalTokenCount"] - stated["promptTokenCount"] - (thoughts or 0)
        assert made == stated.get("candidatesTokenCount", 0)
        return {"input": stated["promptTokenCount"], "output": made, "reasoning": thoughts, "cache_read": None}

    @property
    def outcome(self) -> str:
        if self.status >= 400:
            return "error"
        return "truncated" if self.told["finish_reason"] == "MAX_TOKENS" else "success"


@pytest.fixture
def recordings(wire: Path) -> list[Recording]:
    found = [Recording(path) for path in sorted(wire.glob(f"*/vertexai/{OURS}"))]
    assert len(found) >= LEAST
    return found


class Player:
    """Gives one recording after the other, over REST and over gRPC, and counts what is asked."""

    def __init__(self) -> None:
        self.now: Recording
        self.asked = 0
        player = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                """Say nothing."""

            def do_POST(self) -> None:
                player.asked += 1
                assert json.loads(self.rfile.read(int(self.headers["content-length"])))
                self.send_response(player.now.status)
                self.send_header("content-type", "application/json; charset=UTF-8")
                self.send_header("content-length", str(len(player.now.body)))
                self.end_headers()
                self.wfile.write(player.now.body)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        grpc: Any = importlib.import_module("grpc")
        handlers = []
        for version in ("v1", "v1beta1"):
            one = {"GenerateContent": grpc.unary_unary_rpc_method_handler(self._answer)}
            handlers.append(
                grpc.method_handlers_generic_handler(f"google.cloud.aiplatform.{version}.PredictionService", one)
            )
        self.grpc = grpc.server(ThreadPoolExecutor(2))
        self.grpc.add_generic_rpc_handlers(tuple(handlers))
        self.port = self.grpc.add_insecure_port("127.0.0.1:0")
        self.grpc.start()

    def _answer(self, raw: bytes, context: Any) -> bytes:
        self.asked += 1
        grpc: Any = importlib.import_module("grpc")
        now = self.now
        if now.status >= 400:
            context.abort(getattr(grpc.StatusCode, CODES[now.status]), now.answer["error"]["message"])
        form = importlib.import_module("google.protobuf.json_format")
        # Of the same numbers, v1 knows more fields; a server sends them whether the client knows them or not.
        kind = importlib.import_module("google.cloud.aiplatform_v1.types").GenerateContentResponse.pb()
        data: bytes = form.ParseDict(now.answer, kind(), ignore_unknown_fields=True).SerializeToString()
        return data

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()
        self.grpc.stop(None).wait()


@pytest.fixture
def player() -> Iterator[Player]:
    made = Player()
    yield made
    made.stop()


def _types(recording: Recording) -> Any:
    return importlib.import_module(f"google.cloud.aiplatform_{recording.version}.types")


def ask(player: Player, recording: Recording, transport: str) -> Any:
    """The recorded request, made by the SDK; the answer as plain data, or the error."""
    grpc: Any = importlib.import_module("grpc")
    exceptions: Any = importlib.import_module("google.api_core.exceptions")
    form = importlib.import_module("google.protobuf.json_format")
    base: Any = importlib.import_module(f"google.cloud.aiplatform_{recording.version}.services.prediction_service")
    request = _types(recording).GenerateContentRequest.pb()(model=recording.model)
    form.ParseDict(recording.asked, request, ignore_unknown_fields=True)
    player.now = recording
    if transport == "grpc":
        channel = grpc.insecure_channel(f"127.0.0.1:{player.port}")
        client = base.PredictionServiceClient(transport=base.transports.PredictionServiceGrpcTransport(channel=channel))
    else:
        credentials = importlib.import_module("google.oauth2.credentials").Credentials("a-token-that-is-not-real")
        options = {"api_endpoint": f"http://127.0.0.1:{player.http.server_address[1]}"}
        client = base.PredictionServiceClient(transport="rest", credentials=credentials, client_options=options)
    with client:
        try:
            answer = client.generate_content(request=_types(recording).GenerateContentRequest.wrap(request))
        except exceptions.GoogleAPICallError as error:
            return [type(error).__name__, error.code, error.message]
        return type(answer).to_dict(answer)


@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_every_recording_is_read_as_the_oracle_reads_it(
    recordings: list[Recording], player: Player, root: Path, transport: str
) -> None:
    with custody.session("P", "E", root=root) as session:
        answers = [ask(player, recording, transport) for recording in recordings]
    calls = list(custody.open(session.path).calls())
    assert len(calls) == len(recordings)
    for recording, call in zip(recordings, calls, strict=True):
        fields, name = call.fields, recording.name
        known = fields["model_forensics"] | fields["response_metadata"]
        assert {field: known[field] for field in recording.told} == recording.told, name
        usage = fields["usage"]
        got = {field: usage[field] for field in recording.usage or ()} if usage else None
        assert got == recording.usage, name
        assert call.outcome == recording.outcome, name
        assert (fields["status"], fields["hook_failures"]) == (recording.status, []), name
        if transport == "rest":
            assert b"".join(chunk.data for chunk in call.response.chunks) == recording.body, name
    asked = player.asked
    with custody.session("P", "E", root=root, session=session.id, strict=True):
        assert [ask(player, recording, transport) for recording in recordings] == answers
    assert player.asked == asked
