"""The Cohere plugin keeps the vendor contract, driven by the real SDK against the simulator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator

import cohere
import pytest
from custody_cohere.plugin import CoherePlugin

from custody.plugin import Usage
from custody.testing import Drive, Sample, VendorContract, sample_exchange
from custody.testing.simulator import Fault, Simulator

URL = "https://api.cohere.com"
HEADERS = (("content-type", "application/json"), ("x-debug-trace-id", "trace-1"))
MODEL = "command-a-03-2025"
ASKED = {
    "model": MODEL,
    "temperature": 0.2,
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is it?"}],
}
COUNTS = {
    "billed_units": {"input_tokens": 7, "output_tokens": 9},
    "tokens": {"input_tokens": 69, "output_tokens": 10},
}
CHAT = {
    "id": "id-1",
    "message": {"role": "assistant", "content": [{"type": "text", "text": "It is so."}]},
    "finish_reason": "COMPLETE",
    "usage": {**COUNTS, "cached_tokens": 16},
}
OLD = {
    "response_id": "id-2",
    "generation_id": "gen-2",
    "text": "It is so.",
    "finish_reason": "MAX_TOKENS",
    "meta": {"api_version": {"version": "1"}, **COUNTS},
}
GENERATED = {
    "id": "id-3",
    "generations": [{"id": "gen-3", "text": "It is so.", "finish_reason": "COMPLETE"}],
    "meta": {"api_version": {"version": "1"}, "billed_units": {"input_tokens": 7, "output_tokens": 9}},
}
RANKED = {"id": "id-4", "results": [], "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}}
STREAM = b"".join(
    f"event: {kind}\ndata: {json.dumps({'type': kind, **rest})}\n\n".encode()
    for kind, rest in (
        ("message-start", {"id": "id-1", "delta": {"message": {"role": "assistant"}}}),
        ("content-delta", {"index": 0, "delta": {"message": {"content": {"text": "It is so."}}}}),
        ("message-end", {"delta": {"finish_reason": "COMPLETE", "usage": CHAT["usage"]}}),
    )
)
LINES = b"".join(
    json.dumps(line).encode() + b"\n"
    for line in (
        {"event_type": "stream-start", "generation_id": "gen-2", "is_finished": False},
        {"event_type": "text-generation", "text": "It is so.", "is_finished": False},
        {"event_type": "stream-end", "finish_reason": "MAX_TOKENS", "response": OLD, "is_finished": True},
    )
)


class TestCohere(VendorContract):
    @pytest.fixture
    def plugin(self) -> CoherePlugin:
        return CoherePlugin()

    @pytest.fixture
    def exchanges(self, plugin: CoherePlugin) -> list[Sample]:
        def headers(kind: str) -> tuple[tuple[str, str], ...]:
            return (("content-type", kind), HEADERS[1])

        chat = {
            "requested_model": MODEL,
            "actual_model": None,
            "api_version": "v2",
            "provider_request_id": "trace-1",
            "response_id": "id-1",
            "finish_reason": "COMPLETE",
        }
        old = {"api_version": "v1", "response_id": "id-2", "finish_reason": "MAX_TOKENS"}
        asked = {"model": MODEL, "message": "What is it?"}
        return [
            Sample(
                sample_exchange(plugin, f"{URL}/v2/chat", request=ASKED, headers=HEADERS, body=_json(CHAT)),
                chat,
                Usage(53, 10, cache_read=16),
            ),
            Sample(
                sample_exchange(
                    plugin,
                    f"{URL}/v2/chat",
                    request={**ASKED, "stream": True},
                    headers=headers("text/event-stream"),
                    body=STREAM + b"data: [DONE]\n\n",
                ),
                chat,
                Usage(53, 10, cache_read=16),
            ),
            Sample(
                sample_exchange(plugin, f"{URL}/v1/chat", request=asked, headers=HEADERS, body=_json(OLD)),
                old,
                Usage(69, 10),
            ),
            Sample(
                sample_exchange(
                    plugin,
                    f"{URL}/v1/chat",
                    request={**asked, "stream": True},
                    headers=headers("application/stream+json"),
                    body=LINES,
                ),
                old,
                Usage(69, 10),
            ),
            Sample(
                sample_exchange(
                    plugin, f"{URL}/v1/generate", request={"prompt": "Once"}, headers=HEADERS, body=_json(GENERATED)
                ),
                {"finish_reason": "COMPLETE", "response_id": "id-3", "requested_model": None},
                Usage(7, 9),
            ),
            Sample(
                sample_exchange(
                    plugin, f"{URL}/v2/rerank", request={"model": "rerank-v3.5"}, headers=HEADERS, body=_json(RANKED)
                ),
                {"response_id": "id-4", "finish_reason": None},
                Usage(None, None),
            ),
            Sample(
                sample_exchange(
                    plugin, f"{URL}/v2/chat", request=ASKED, status=429, headers=HEADERS, body=_json({"message": "no"})
                ),
                {"requested_model": MODEL, "finish_reason": None, "provider_request_id": "trace-1"},
            ),
        ]

    @pytest.fixture(params=["sync", "async"])
    def drive(self, request: pytest.FixtureRequest) -> Iterator[Drive]:
        call: Callable[[str, str, bool], object] = _sync if request.param == "sync" else _async
        with Simulator() as simulator:
            yield Drive(
                lambda prompt, stream: call(simulator.url, prompt, stream),
                simulator.count,
                lambda: simulator.inject(Fault(cut_after=2, path="/v2/chat")),
            )


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _asked(prompt: str) -> dict[str, object]:
    return {"model": MODEL, "messages": [{"role": "user", "content": prompt}]}


def _sync(url: str, prompt: str, stream: bool) -> object:
    with cohere.ClientV2(base_url=url, api_key="cohere-key") as client:
        if not stream:
            return client.chat(**_asked(prompt)).model_dump()  # type: ignore[arg-type]
        return [event.model_dump() for event in client.chat_stream(**_asked(prompt))]  # type: ignore[arg-type]


def _async(url: str, prompt: str, stream: bool) -> object:
    async def ask() -> object:
        async with cohere.AsyncClientV2(base_url=url, api_key="cohere-key") as client:
            if not stream:
                return (await client.chat(**_asked(prompt))).model_dump()  # type: ignore[arg-type]
            return [event.model_dump() async for event in client.chat_stream(**_asked(prompt))]  # type: ignore[arg-type]

    return asyncio.run(ask())
