"""The echo plugin keeps the vendor contract, driven by the echo SDK, sync and async."""

from __future__ import annotations

import asyncio
import json

import httpx2
import pytest
from custody_echo.plugin import EchoPlugin
from echo_sdk import AsyncEchoClient, EchoClient
from echo_sdk.transport import EchoTransport, _Bytes

from custody.plugin import Usage
from custody.testing import Drive, Sample, VendorContract, sample_exchange

URL = "https://api.echo.example/v1/echo"
ANSWER = {"model": "echo-1-2026-01-15", "text": "a b c", "serial": 7, "usage": {"words": 3}}
STREAM = (("content-type", "text/event-stream"), ("x-request-id", "echo-2"))


class CuttableTransport(EchoTransport):
    """Leaves out the end of the next streamed answer."""

    cut = False

    def _answer(self, content: bytes) -> httpx2.Response:
        response = super()._answer(content)
        if self.cut and json.loads(content).get("stream"):
            self.cut = False
            return httpx2.Response(200, headers=response.headers, stream=_Bytes([b"data: half\n\n"]))
        return response


class TestEcho(VendorContract):
    @pytest.fixture
    def plugin(self) -> EchoPlugin:
        return EchoPlugin()

    @pytest.fixture
    def exchanges(self, plugin: EchoPlugin) -> list[Sample]:
        asked = {"model": "echo-1", "text": "a b c"}
        return [
            Sample(
                sample_exchange(
                    plugin,
                    URL,
                    request=asked,
                    headers=(("content-type", "application/json"), ("x-request-id", "echo-1")),
                    body=json.dumps(ANSWER).encode(),
                ),
                fields={
                    "requested_model": "echo-1",
                    "actual_model": "echo-1-2026-01-15",
                    "model_build_date": "2026-01-15",
                    "api_version": "v1",
                    "deployment_region": None,
                    "provider_request_id": "echo-1",
                },
                usage=Usage(3, 3),
            ),
            Sample(
                sample_exchange(
                    plugin,
                    URL,
                    request={**asked, "stream": True},
                    headers=STREAM,
                    body=b"data: a\n\ndata: b\n\ndata: 8\n\nevent: end\ndata: {}\n\n",
                ),
                fields={"requested_model": "echo-1", "actual_model": None, "provider_request_id": "echo-2"},
            ),
            Sample(
                sample_exchange(plugin, URL, request=asked, status=503, body=b'{"error":"busy"}'),
                fields={"requested_model": "echo-1", "actual_model": None, "model_build_date": None},
            ),
        ]

    @pytest.fixture(params=["sync", "async"])
    def drive(self, request: pytest.FixtureRequest) -> Drive:
        transport = CuttableTransport()

        def cut() -> None:
            transport.cut = True

        call = _sync if request.param == "sync" else _async
        return Drive(lambda prompt, stream: call(transport, prompt, stream), lambda: len(transport.requests), cut)


def _sync(transport: CuttableTransport, prompt: str, stream: bool) -> object:
    client = EchoClient(transport=transport)
    try:
        return list(client.stream(prompt)) if stream else client.say(prompt)
    finally:
        client.close()


def _async(transport: CuttableTransport, prompt: str, stream: bool) -> object:
    async def ask() -> object:
        client = AsyncEchoClient(transport=transport)
        try:
            return [word async for word in client.stream(prompt)] if stream else await client.say(prompt)
        finally:
            await client.close()

    return asyncio.run(ask())
