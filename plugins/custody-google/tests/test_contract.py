"""The Google plugin keeps the vendor contract, driven by the real SDK against the simulator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from custody_google.plugin import GooglePlugin
from google import genai
from google.genai import types

from custody.plugin import Usage
from custody.testing import Drive, Sample, VendorContract, sample_exchange
from custody.testing.simulator import Fault, Simulator

# The SDK makes a subclass of aiohttp's session, which aiohttp does not like.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")

URL = "https://generativelanguage.googleapis.com/v1beta/models/gemini-simulated"
VERTEX = "https://europe-west4-aiplatform.googleapis.com/v1beta1/projects/p-1/locations/europe-west4"
HEADERS = (
    ("content-type", "application/json; charset=UTF-8"),
    ("server-timing", "gfet4t7; dur=312"),
    ("x-gemini-service-tier", "standard"),
)
SSE = (("content-type", "text/event-stream"), *HEADERS[1:])
ASKED = {
    "contents": [{"role": "user", "parts": [{"text": "What is it?"}]}],
    "systemInstruction": {"parts": [{"text": "Be brief."}]},
    "generationConfig": {"temperature": 0.5, "maxOutputTokens": 64},
}
USAGE = {
    "promptTokenCount": 20,
    "candidatesTokenCount": 9,
    "thoughtsTokenCount": 5,
    "toolUsePromptTokenCount": 3,
    "cachedContentTokenCount": 8,
    "totalTokenCount": 37,
}
MESSAGE: dict[str, Any] = {
    "candidates": [{"content": {"parts": [{"text": "It is so."}], "role": "model"}, "finishReason": "STOP"}],
    "usageMetadata": USAGE,
    "modelVersion": "gemini-simulated-002",
    "responseId": "id-1",
}
FIRST = {
    **MESSAGE,
    "candidates": [{"content": {"parts": [{"text": "It"}], "role": "model"}}],
    "usageMetadata": {"promptTokenCount": 20, "totalTokenCount": 20},
}
STREAM = b"".join(f"data: {json.dumps(chunk)}\r\n\r\n".encode() for chunk in (FIRST, FIRST, MESSAGE))
FAILED = {"error": {"code": 429, "message": "Resource has been exhausted.", "status": "RESOURCE_EXHAUSTED"}}


class TestGoogle(VendorContract):
    @pytest.fixture
    def plugin(self) -> GooglePlugin:
        return GooglePlugin()

    @pytest.fixture
    def exchanges(self, plugin: GooglePlugin) -> list[Sample]:
        told = {
            "requested_model": "gemini-simulated",
            "actual_model": "gemini-simulated-002",
            "model_build_date": None,
            "api_version": "v1beta",
            "deployment_region": None,
            "project": None,
            "provider_request_id": "id-1",
            "response_id": "id-1",
            "service_tier": "standard",
            "finish_reason": "STOP",
            "vendor_processing_ms": 312.0,
        }
        counted = Usage(15, 9, cache_read=8, reasoning=5)
        on_vertex = {
            **MESSAGE,
            "usageMetadata": {**USAGE, "trafficType": "ON_DEMAND"},
        }

        def sample(url: str, body: bytes, **more: Any) -> Any:
            return sample_exchange(plugin, url, request=ASKED, body=body, **{"headers": HEADERS, **more})

        return [
            Sample(sample(f"{URL}:generateContent", json.dumps(MESSAGE).encode()), told, counted),
            Sample(sample(f"{URL}:streamGenerateContent?alt=sse", STREAM, headers=SSE), told, counted),
            Sample(
                sample(
                    f"{VERTEX}/publishers/google/models/gemini-simulated:generateContent",
                    json.dumps(on_vertex).encode(),
                    headers=HEADERS[:1],
                ),
                {
                    **told,
                    "api_version": "v1beta1",
                    "deployment_region": "europe-west4",
                    "project": "p-1",
                    "service_tier": "ON_DEMAND",
                    "vendor_processing_ms": None,
                },
                counted,
            ),
            Sample(
                sample(f"{URL}:generateContent", json.dumps(FAILED).encode(), status=429),
                {"requested_model": "gemini-simulated", "actual_model": None, "finish_reason": None},
            ),
        ]

    @pytest.fixture(params=["sync", "async", "vertex"])
    def drive(self, request: pytest.FixtureRequest) -> Iterator[Drive]:
        call: Callable[[Simulator, str, bool], object] = {"sync": _sync, "async": _async, "vertex": _vertex}[
            request.param
        ]
        with Simulator() as simulator:
            yield Drive(
                lambda prompt, stream: call(simulator, prompt, stream),
                simulator.count,
                lambda: simulator.inject(Fault(cut_after=2, path="GenerateContent")),
            )


def _developer(simulator: Simulator) -> genai.Client:
    return genai.Client(api_key="simulated-key", http_options=types.HttpOptions(base_url=simulator.url))


def _dumps(answer: types.GenerateContentResponse) -> dict[str, Any]:
    return answer.model_dump(exclude={"sdk_http_response"})


def _asked(client: genai.Client, prompt: str, stream: bool) -> object:
    if not stream:
        return _dumps(client.models.generate_content(model="gemini-2.5-flash", contents=prompt))
    return [_dumps(c) for c in client.models.generate_content_stream(model="gemini-2.5-flash", contents=prompt)]


def _sync(simulator: Simulator, prompt: str, stream: bool) -> object:
    with _developer(simulator) as client:
        return _asked(client, prompt, stream)


def _vertex(simulator: Simulator, prompt: str, stream: bool) -> object:
    options = types.HttpOptions(base_url=simulator.url)
    with genai.Client(vertexai=True, api_key="simulated-key", http_options=options) as client:
        return _asked(client, prompt, stream)


def _async(simulator: Simulator, prompt: str, stream: bool) -> object:
    async def ask() -> object:
        client = _developer(simulator)
        async with client.aio as aio:
            if not stream:
                return _dumps(await aio.models.generate_content(model="gemini-2.5-flash", contents=prompt))
            chunks = await aio.models.generate_content_stream(model="gemini-2.5-flash", contents=prompt)
            return [_dumps(chunk) async for chunk in chunks]

    return asyncio.run(ask())
