"""The vendor contract for every class of ``planted_plugins``."""

from __future__ import annotations

import json

import httpx2
import planted_importer
import planted_plugins
import pytest
from echo_sdk import EchoClient
from echo_sdk.transport import EchoTransport, _Bytes

from custody.plugin import Usage
from custody.testing import Drive, Sample, VendorContract, sample_exchange

URL = "https://api.echo.example/v1/echo"
SSE = (("content-type", "text/event-stream"),)
ASKED = {"model": "echo-1", "text": "a b c"}
ANSWER = {"model": "echo-1-2026-01-15", "text": "a b c", "serial": 7, "usage": {"words": 3}}


class CuttableTransport(EchoTransport):
    cut = False

    def _answer(self, content: bytes) -> httpx2.Response:
        response = super()._answer(content)
        if self.cut:
            self.cut = False
            return httpx2.Response(200, headers=response.headers, stream=_Bytes([b"data: half\n\n"]))
        return response


class Contract(VendorContract):
    kind: type[planted_plugins.Sound]

    @pytest.fixture
    def plugin(self) -> planted_plugins.Sound:
        return self.kind()

    @pytest.fixture
    def exchanges(self, plugin: planted_plugins.Sound) -> list[Sample]:
        whole = sample_exchange(plugin, URL, request=ASKED, body=json.dumps(ANSWER).encode())
        stream = sample_exchange(plugin, URL, request=ASKED, headers=SSE, body=b"data: a\n\nevent: end\ndata: {}\n\n")
        return [
            Sample(whole, {"actual_model": "echo-1-2026-01-15", "model_build_date": "2026-01-15"}, Usage(3, 3)),
            Sample(stream, {"actual_model": None}),
        ]

    @pytest.fixture
    def drive(self) -> Drive:
        transport = CuttableTransport()
        client = EchoClient(transport=transport)

        def call(prompt: str, stream: bool) -> object:
            return list(client.stream(prompt)) if stream else client.say(prompt)

        def cut() -> None:
            transport.cut = True

        return Drive(call, lambda: len(transport.requests), cut)


def _contracts() -> dict[str, type]:
    kinds = [planted_plugins.Sound, *planted_plugins.Sound.__subclasses__()]
    assert planted_importer.Importing in kinds
    return {f"Test{kind.__name__}": type(f"Test{kind.__name__}", (Contract,), {"kind": kind}) for kind in kinds}


globals().update(_contracts())
