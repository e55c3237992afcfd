"""The Vertex AI plugin keeps the vendor contract, driven by the real SDK against the simulator."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from custody_vertexai.plugin import VertexPlugin

from custody.plugin import Chunk, Exchange, RequestHead, ResponseHead, Usage
from custody.testing import Drive, Sample, VendorContract
from custody.testing.simulator import Fault
from custody.testing.simulator.vertex_grpc import VertexSimulator

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

MODEL = "projects/p-1/locations/europe-west4/publishers/google/models/gemini-simulated"
SERVICE = "grpc://europe-west4-aiplatform.googleapis.com/google.cloud.aiplatform.v1.PredictionService"
SENT = (("content-type", "application/grpc"), ("x-goog-request-params", "model=" + MODEL.replace("/", "%2F")))
HEADERS = (("content-type", "application/grpc-web+proto"), ("server-timing", "gfet4t7; dur=312"))
ASKED = {
    "model": MODEL,
    "contents": [{"role": "user", "parts": [{"text": "What is it?"}]}],
    "generation_config": {"temperature": 0.5, "max_output_tokens": 64},
}
USAGE = {
    "prompt_token_count": 20,
    "candidates_token_count": 9,
    "thoughts_token_count": 5,
    "cached_content_token_count": 8,
    "total_token_count": 34,
    "traffic_type": 1,
}
ANSWER: dict[str, Any] = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "It is so."}]}, "finish_reason": 1}],
    "usage_metadata": USAGE,
    "model_version": "gemini-simulated-20260312",
    "response_id": "id-1",
}
FIRST = {"candidates": [{"content": {"role": "model", "parts": [{"text": "It"}]}}], "response_id": "id-1"}
OK, EXHAUSTED = b"grpc-status:0\r\n", b"grpc-status:8\r\ngrpc-message:Resource has been exhausted.\r\n"


def types() -> Any:
    return importlib.import_module("google.cloud.aiplatform_v1.types")


def frame(data: bytes, flags: int = 0) -> bytes:
    return bytes([flags]) + len(data).to_bytes(4, "big") + data


def body(*answers: dict[str, Any], trailers: bytes = OK) -> bytes:
    kind = types().GenerateContentResponse
    return b"".join(frame(kind.serialize(kind(answer))) for answer in answers) + frame(trailers, 0x80)


def grpc_exchange(
    plugin: VertexPlugin, method: str, data: bytes, status: int = 200, streamed: bool = False
) -> Exchange:
    head = RequestHead("POST", f"{SERVICE}/{method}", SENT)
    claim = plugin.claim_exchange(head)
    assert claim is not None
    request = types().GenerateContentRequest
    now = datetime.now(UTC)
    made = Exchange("sample.1", head, request.serialize(request(ASKED)), claim, "grpc", now, ended=now)
    made.head = ResponseHead(status, "", "HTTP/2", HEADERS)
    made.chunks, made.ending, made.streamed = [Chunk(1.0, data)], "complete", streamed
    return made


def rest_stream(plugin: VertexPlugin) -> Exchange:
    """A stream over REST, as events."""
    url = f"https://europe-west4-aiplatform.googleapis.com/v1/{MODEL}:streamGenerateContent?alt=sse"
    head = RequestHead("POST", url, (("content-type", "application/json"),), sdk="vertexai")
    claim = plugin.claim_exchange(head)
    assert claim is not None
    kind = types().GenerateContentResponse
    form = importlib.import_module("google.protobuf.json_format")
    chunks = [form.MessageToDict(kind.pb(kind(answer))) for answer in (FIRST, ANSWER)]
    now = datetime.now(UTC)
    made = Exchange("sample.1", head, json.dumps({"contents": []}).encode(), claim, "requests", now, ended=now)
    made.head = ResponseHead(200, "OK", "HTTP/1.1", (("content-type", "text/event-stream"), HEADERS[1]))
    made.chunks = [Chunk(1.0, "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode())]
    made.ending = "complete"
    return made


class TestVertex(VendorContract):
    @pytest.fixture
    def plugin(self) -> VertexPlugin:
        return VertexPlugin()

    @pytest.fixture
    def exchanges(self, plugin: VertexPlugin) -> list[Sample]:
        asked = {
            "requested_model": "gemini-simulated",
            "api_version": "v1",
            "deployment_region": "europe-west4",
            "project": "p-1",
            "vendor_processing_ms": 312.0,
            "organization": None,
        }
        told = {
            **asked,
            "actual_model": "gemini-simulated-20260312",
            "model_build_date": "2026-03-12",
            "response_id": "id-1",
            "service_tier": "ON_DEMAND",
            "finish_reason": "STOP",
        }
        usage = Usage(12, 9, cache_read=8, reasoning=5)
        return [
            Sample(grpc_exchange(plugin, "GenerateContent", body(ANSWER)), told, usage),
            Sample(grpc_exchange(plugin, "StreamGenerateContent", body(FIRST, ANSWER), streamed=True), told, usage),
            Sample(rest_stream(plugin), told, usage),
            Sample(
                grpc_exchange(plugin, "GenerateContent", body(trailers=EXHAUSTED), 429), {**asked, "actual_model": None}
            ),
        ]

    @pytest.fixture(params=["sync", "async"])
    def drive(self, request: pytest.FixtureRequest, vertex: VertexSimulator) -> Drive:
        call: Callable[[VertexSimulator, str, bool], object] = _sync if request.param == "sync" else _async
        return Drive(
            lambda prompt, stream: call(vertex, prompt, stream),
            vertex.count,
            lambda: vertex.inject(Fault(cut_after=2, path="StreamGenerateContent")),
        )


def _asked(prompt: str) -> Any:
    return {"model": MODEL, "contents": [{"role": "user", "parts": [{"text": prompt}]}]}


def _plain(message: Any) -> str:
    return json.dumps(type(message).to_dict(message))


def _channel(vertex: VertexSimulator, kind: Any) -> Any:
    return kind.secure_channel(vertex.grpc_target, importlib.import_module("grpc").ssl_channel_credentials())


def _sync(vertex: VertexSimulator, prompt: str, stream: bool) -> object:
    base = importlib.import_module("google.cloud.aiplatform_v1.services.prediction_service")
    transport = base.transports.PredictionServiceGrpcTransport
    grpc = importlib.import_module("grpc")
    with base.PredictionServiceClient(transport=transport(channel=_channel(vertex, grpc))) as client:
        if not stream:
            return _plain(client.generate_content(request=_asked(prompt)))
        return [_plain(chunk) for chunk in client.stream_generate_content(request=_asked(prompt))]


def _async(vertex: VertexSimulator, prompt: str, stream: bool) -> object:
    base = importlib.import_module("google.cloud.aiplatform_v1.services.prediction_service")
    transport = base.transports.PredictionServiceGrpcAsyncIOTransport
    grpc = importlib.import_module("grpc")

    async def ask() -> object:
        channel = _channel(vertex, grpc.aio)
        async with base.PredictionServiceAsyncClient(transport=transport(channel=channel)) as client:
            if not stream:
                return _plain(await client.generate_content(request=_asked(prompt)))
            return [_plain(chunk) async for chunk in await client.stream_generate_content(request=_asked(prompt))]

    return asyncio.run(ask())
