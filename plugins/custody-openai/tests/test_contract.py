"""The OpenAI plugin keeps the vendor contract, driven by the real SDK against the simulator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator

import openai
import pytest
from custody_openai.plugin import OpenAIPlugin

from custody.plugin import Usage
from custody.testing import Drive, Sample, VendorContract, sample_exchange
from custody.testing.simulator import Fault, Simulator

URL = "https://api.openai.com/v1"
HEADERS = (
    ("content-type", "application/json"),
    ("x-request-id", "req_1"),
    ("openai-organization", "org-1"),
    ("openai-processing-ms", "412"),
    ("openai-version", "2020-10-01"),
)
ASKED = {
    "model": "gpt-4o",
    "temperature": 0.2,
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is it?"}],
}
USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 9,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 8},
    "completion_tokens_details": {"reasoning_tokens": 4},
}
CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1763000000,
    "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "It is so."}, "finish_reason": "stop"}],
    "usage": USAGE,
    "service_tier": "default",
    "system_fingerprint": "fp_1",
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "model": "gpt-4o-2024-08-06",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "It is so."}]}],
    "usage": {
        "input_tokens": 20,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 0},
    },
}


def _chunk(**changes: object) -> dict[str, object]:
    return {
        "id": "chatcmpl-2",
        "object": "chat.completion.chunk",
        "model": "gpt-4o-2024-08-06",
        "choices": [],
        **changes,
    }


def _events(*values: object) -> bytes:
    return b"".join(f"data: {json.dumps(value)}\n\n".encode() for value in values)


STREAM = _events(
    _chunk(choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]),
    _chunk(choices=[{"index": 0, "delta": {"content": "It is so."}, "finish_reason": None}]),
    _chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]),
    _chunk(usage=USAGE),
)
TYPED = b"".join(
    f"event: {kind}\ndata: {json.dumps({'type': kind, **rest})}\n\n".encode()
    for kind, rest in (
        ("response.created", {"response": {**RESPONSE, "status": "in_progress", "output": [], "usage": None}}),
        ("response.output_text.delta", {"delta": "It is so."}),
        ("response.completed", {"response": RESPONSE}),
    )
)


class TestOpenAI(VendorContract):
    @pytest.fixture
    def plugin(self) -> OpenAIPlugin:
        return OpenAIPlugin()

    @pytest.fixture
    def exchanges(self, plugin: OpenAIPlugin) -> list[Sample]:
        sse = (("content-type", "text/event-stream; charset=utf-8"), *HEADERS[1:])
        model = {"requested_model": "gpt-4o", "actual_model": "gpt-4o-2024-08-06", "model_build_date": "2024-08-06"}
        busy = {"error": {"message": "Slow down", "type": "requests", "code": "rate_limit_exceeded"}}
        chat = {
            **model,
            "api_version": "2020-10-01",
            "deployment_region": None,
            "provider_request_id": "req_1",
            "organization": "org-1",
            "vendor_processing_ms": 412.0,
            "system_fingerprint": "fp_1",
            "service_tier": "default",
            "finish_reason": "stop",
            "response_id": "chatcmpl-1",
        }
        responses = f"{URL}/responses"
        return [
            Sample(
                sample_exchange(
                    plugin, f"{URL}/chat/completions", request=ASKED, headers=HEADERS, body=json.dumps(CHAT).encode()
                ),
                fields=chat,
                usage=Usage(12, 5, cache_read=8, reasoning=4),
            ),
            Sample(
                sample_exchange(
                    plugin,
                    f"{URL}/chat/completions",
                    request={**ASKED, "stream": True},
                    headers=sse,
                    body=STREAM + b"data: [DONE]\n\n",
                ),
                fields={**model, "finish_reason": "stop", "response_id": "chatcmpl-2", "service_tier": None},
                usage=Usage(12, 5, cache_read=8, reasoning=4),
            ),
            Sample(
                sample_exchange(
                    plugin, responses, request={"model": "gpt-4o", "input": "?"}, body=json.dumps(RESPONSE).encode()
                ),
                fields={**model, "api_version": "v1", "finish_reason": "completed", "response_id": "resp_1"},
                usage=Usage(20, 9, cache_read=0, reasoning=0),
            ),
            Sample(
                sample_exchange(plugin, responses, request={"model": "gpt-4o", "input": "?"}, headers=sse, body=TYPED),
                fields={**model, "finish_reason": "completed", "response_id": "resp_1"},
                usage=Usage(20, 9, cache_read=0, reasoning=0),
            ),
            Sample(
                sample_exchange(
                    plugin,
                    f"{URL}/chat/completions",
                    request=ASKED,
                    status=429,
                    headers=HEADERS,
                    body=json.dumps(busy).encode(),
                ),
                fields={"requested_model": "gpt-4o", "actual_model": None, "provider_request_id": "req_1"},
            ),
        ]

    @pytest.fixture(params=["sync", "async"])
    def drive(self, request: pytest.FixtureRequest) -> Iterator[Drive]:
        call: Callable[[str, str, bool], object] = _sync if request.param == "sync" else _async
        with Simulator() as simulator:
            yield Drive(
                lambda prompt, stream: call(simulator.openai_base_url, prompt, stream),
                simulator.count,
                lambda: simulator.inject(Fault(cut_after=2, path="/chat/completions")),
            )


def _asked(prompt: str) -> dict[str, object]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}]}


def _sync(base_url: str, prompt: str, stream: bool) -> object:
    with openai.OpenAI(base_url=base_url, api_key="sk-simulator") as client:
        if not stream:
            return client.chat.completions.create(**_asked(prompt)).model_dump()  # type: ignore[call-overload]
        with client.chat.completions.create(**_asked(prompt), stream=True) as chunks:  # type: ignore[call-overload]
            return [chunk.model_dump() for chunk in chunks]


def _async(base_url: str, prompt: str, stream: bool) -> object:
    async def ask() -> object:
        async with openai.AsyncOpenAI(base_url=base_url, api_key="sk-simulator") as client:
            if not stream:
                return (await client.chat.completions.create(**_asked(prompt))).model_dump()  # type: ignore[call-overload]
            async with await client.chat.completions.create(**_asked(prompt), stream=True) as chunks:  # type: ignore[call-overload]
                return [chunk.model_dump() async for chunk in chunks]

    return asyncio.run(ask())
