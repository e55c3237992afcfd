"""The Mistral plugin keeps the vendor contract, driven by the real SDK against the simulator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator

import pytest
from custody_mistral.plugin import MistralPlugin

from custody.plugin import Usage
from custody.testing import Drive, Sample, VendorContract, sample_exchange
from custody.testing.simulator import Fault, Simulator

try:
    from mistralai.client import Mistral
except ImportError:  # before 2.0
    from mistralai import Mistral  # type: ignore[attr-defined, no-redef]

URL = "https://api.eu.mistral.ai/v1"
HEADERS = (("content-type", "application/json"), ("mistral-correlation-id", "corr-1"))
SSE = (("content-type", "text/event-stream; charset=utf-8"), HEADERS[1])
ASKED = {
    "model": "mistral-small-2506",
    "temperature": 0.2,
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is it?"}],
}
USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 9,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 8},
    "service_tier": "standard",
}
TALK = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 99, "connector_tokens": 70}
CHAT = {
    "id": "abc1",
    "object": "chat.completion",
    "created": 1763000000,
    "model": "mistral-small-2506",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "It is so."}, "finish_reason": "stop"}],
    "usage": USAGE,
}
TOLD = {
    "object": "conversation.response",
    "conversation_id": "conv_1",
    "outputs": [{"type": "message.output", "model": "mistral-medium-2505", "content": "It is so."}],
    "usage": TALK,
}


def _events(*values: object) -> bytes:
    return b"".join(f"data: {json.dumps(value)}\n\n".encode() for value in values)


def _chunk(**changes: object) -> dict[str, object]:
    return {"id": "abc2", "object": "chat.completion.chunk", "model": "mistral-small-2506", **changes}


STREAM = _events(
    _chunk(choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]),
    _chunk(choices=[{"index": 0, "delta": {"content": "It is so."}, "finish_reason": None}]),
    _chunk(choices=[{"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}], usage=USAGE),
)
TYPED = b"".join(
    f"event: {kind}\ndata: {json.dumps({'type': kind, **rest})}\n\n".encode()
    for kind, rest in (
        ("conversation.response.started", {"conversation_id": "conv_1"}),
        ("message.output.delta", {"model": "mistral-medium-2505", "content": "It is so."}),
        ("conversation.response.done", {"usage": TALK}),
    )
)


class TestMistral(VendorContract):
    @pytest.fixture
    def plugin(self) -> MistralPlugin:
        return MistralPlugin()

    @pytest.fixture
    def exchanges(self, plugin: MistralPlugin) -> list[Sample]:
        chat, talk = f"{URL}/chat/completions", f"{URL}/conversations"
        asked = {"model": "mistral-medium-2505", "inputs": "What is it?"}
        model = {
            "requested_model": "mistral-small-2506",
            "actual_model": "mistral-small-2506",
            "model_build_date": None,
            "api_version": "v1",
            "deployment_region": "eu",
            "finish_reason": "stop",
            "provider_request_id": "corr-1",
            "service_tier": "standard",
        }
        told = {"actual_model": "mistral-medium-2505", "response_id": "conv_1", "finish_reason": None}
        tokens = Usage(12, 9, cache_read=8)
        page = {"pages": [], "model": "mistral-ocr-2512", "usage_info": {"pages_processed": 3}}
        busy = {"object": "error", "message": "Requests rate limit exceeded", "code": "1300"}
        return [
            Sample(
                sample_exchange(plugin, chat, request=ASKED, headers=HEADERS, body=json.dumps(CHAT).encode()),
                fields={**model, "response_id": "abc1"},
                usage=tokens,
            ),
            Sample(
                sample_exchange(
                    plugin, f"{chat}#stream", request=ASKED, headers=SSE, body=STREAM + b"data: [DONE]\n\n"
                ),
                fields={**model, "response_id": "abc2"},
                usage=tokens,
            ),
            Sample(
                sample_exchange(plugin, talk, request=asked, body=json.dumps(TOLD).encode()),
                fields=told,
                usage=Usage(90, 9),
            ),
            Sample(sample_exchange(plugin, talk, request=asked, headers=SSE, body=TYPED), told, Usage(90, 9)),
            Sample(
                sample_exchange(plugin, f"{URL}/ocr", request=asked, body=json.dumps(page).encode()),
                fields={"actual_model": "mistral-ocr-2512"},
                usage=Usage(None, None),
            ),
            Sample(
                sample_exchange(
                    plugin, chat, request=ASKED, status=429, headers=HEADERS, body=json.dumps(busy).encode()
                ),
                fields={"requested_model": "mistral-small-2506", "actual_model": None},
            ),
        ]

    @pytest.fixture(params=["sync", "async"])
    def drive(self, request: pytest.FixtureRequest) -> Iterator[Drive]:
        call: Callable[[str, str, bool], object] = _sync if request.param == "sync" else _async
        with Simulator() as simulator:
            yield Drive(
                lambda prompt, stream: call(simulator.url, prompt, stream),
                simulator.count,
                lambda: simulator.inject(Fault(cut_after=2, path="/chat/completions")),
            )


def _asked(prompt: str) -> dict[str, object]:
    return {"model": "mistral-small-2506", "messages": [{"role": "user", "content": prompt}]}


def _sync(url: str, prompt: str, stream: bool) -> object:
    with Mistral(server_url=url, api_key="mistral-key") as client:
        if not stream:
            return client.chat.complete(**_asked(prompt)).model_dump()  # type: ignore[arg-type]
        with client.chat.stream(**_asked(prompt)) as events:  # type: ignore[arg-type]
            return [event.model_dump() for event in events]


def _async(url: str, prompt: str, stream: bool) -> object:
    async def ask() -> object:
        async with Mistral(server_url=url, api_key="mistral-key") as client:
            if not stream:
                return (await client.chat.complete_async(**_asked(prompt))).model_dump()  # type: ignore[arg-type]
            async with await client.chat.stream_async(**_asked(prompt)) as events:  # type: ignore[arg-type]
                return [event.model_dump() async for event in events]

    return asyncio.run(ask())
