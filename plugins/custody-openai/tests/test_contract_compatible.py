"""The plugins of groq, together and voyage keep the vendor contract, each driven by its real SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from custody_openai.compatible import GroqPlugin, TogetherPlugin, VoyagePlugin

from custody.plugin import Usage
from custody.testing import Drive, Sample, VendorContract, sample_exchange
from custody.testing.simulator import Fault, Simulator

groq = pytest.importorskip("groq")
together = pytest.importorskip("together")
voyageai = pytest.importorskip("voyageai")

USAGE = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}
TOP = {"id": "chatcmpl-1", "model": "llama-3.3-70b"}
ASKED = {"model": "llama-3.3-70b", "messages": [{"role": "user", "content": "What is it?"}]}
WHOLE = {**TOP, "choices": [{"index": 0, "message": {"content": "So."}, "finish_reason": "stop"}], "usage": USAGE}
CHUNKS: list[dict[str, Any]] = [
    {**TOP, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}], "x_groq": {"id": "req_1"}},
    {**TOP, "choices": [{"index": 0, "delta": {"content": "So."}}]},
    {**TOP, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
]
SSE = (("content-type", "text/event-stream"), ("x-request-id", "req_1"))
FIELDS = {"requested_model": "llama-3.3-70b", "actual_model": "llama-3.3-70b", "finish_reason": "stop"}


def samples(plugin: object, url: str, last: dict[str, Any]) -> list[Sample]:
    events = [*CHUNKS[:-1], {**CHUNKS[-1], **last}]
    stream = b"".join(f"data: {json.dumps(event)}\n\n".encode() for event in events) + b"data: [DONE]\n\n"
    whole = json.dumps(WHOLE).encode()
    return [
        Sample(sample_exchange(plugin, url, request=ASKED, body=whole), FIELDS, Usage(20, 9)),
        Sample(sample_exchange(plugin, url, request=ASKED, headers=SSE, body=stream), FIELDS, Usage(20, 9)),
    ]


def chatting(client: Any, simulator: Simulator) -> Drive:
    def call(prompt: str, stream: bool) -> object:
        asked = [{"role": "user", "content": prompt}]
        made = client.chat.completions.create(model="llama-3.3-70b", messages=asked, stream=stream)
        return [chunk.model_dump() for chunk in made] if stream else made.model_dump()

    return Drive(call, simulator.count, lambda: simulator.inject(Fault(cut_after=2, path="/chat/completions")))


class TestGroq(VendorContract):
    @pytest.fixture
    def plugin(self) -> GroqPlugin:
        return GroqPlugin()

    @pytest.fixture
    def exchanges(self, plugin: GroqPlugin) -> list[Sample]:
        return samples(plugin, "https://api.groq.com/openai/v1/chat/completions", {"x_groq": {"usage": USAGE}})

    @pytest.fixture
    def drive(self) -> Iterator[Drive]:
        with Simulator() as simulator, groq.Groq(api_key="some-key", base_url=simulator.url) as client:
            yield chatting(client, simulator)


class TestTogether(VendorContract):
    @pytest.fixture
    def plugin(self) -> TogetherPlugin:
        return TogetherPlugin()

    @pytest.fixture
    def exchanges(self, plugin: TogetherPlugin) -> list[Sample]:
        return samples(plugin, "https://api.together.ai/v1/chat/completions", {"usage": USAGE})

    @pytest.fixture
    def drive(self) -> Iterator[Drive]:
        with together.Together(api_key="some-key") as usual:
            path = usual.base_url.path.rstrip("/")
        with Simulator() as simulator, together.Together(api_key="k", base_url=simulator.url + path) as client:
            yield chatting(client, simulator)


class TestVoyage(VendorContract):
    not_applicable: ClassVar[dict[str, str]] = {"stream": "embeddings and rankings come whole", "cut": "no streams"}

    @pytest.fixture
    def plugin(self) -> VoyagePlugin:
        return VoyagePlugin()

    @pytest.fixture
    def exchanges(self, plugin: VoyagePlugin) -> list[Sample]:
        url = "https://api.voyageai.com/v1"
        answer = {"object": "list", "data": [], "model": "voyage-3", "usage": {"total_tokens": 12}}
        body, asked = json.dumps(answer).encode(), {"model": "voyage-3", "input": ["one"]}
        fields = {"requested_model": "voyage-3", "actual_model": "voyage-3"}
        return [
            Sample(sample_exchange(plugin, f"{url}/{name}", request=asked, body=body), fields, Usage(12, None))
            for name in ("embeddings", "rerank", "multimodalembeddings")
        ]

    @pytest.fixture
    def drive(self) -> Iterator[Drive]:
        with Simulator() as simulator:
            client = voyageai.Client(api_key="some-key", base_url=f"{simulator.url}/v1")

            def call(prompt: str, stream: bool) -> object:
                return client.embed([prompt], model="voyage-3").embeddings

            yield Drive(call, simulator.count)
