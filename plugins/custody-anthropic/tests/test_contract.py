"""The Anthropic plugin keeps the vendor contract, driven by the real SDK against the simulator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator

import anthropic
import pytest
from custody_anthropic.plugin import AnthropicPlugin

from custody.plugin import Usage
from custody.testing import Drive, Sample, VendorContract, sample_exchange
from custody.testing.simulator import Fault, Simulator

URL = "https://api.anthropic.com/v1/messages"
SENT = (("content-type", "application/json"), ("anthropic-version", "2023-06-01"))
HEADERS = (
    ("content-type", "application/json"),
    ("request-id", "req_1"),
    ("anthropic-organization-id", "org-1"),
)
SSE = (("content-type", "text/event-stream; charset=utf-8"), *HEADERS[1:])
ASKED = {
    "model": "claude-simulated-1",
    "max_tokens": 64,
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "What is it?"}],
}
USAGE = {
    "input_tokens": 12,
    "output_tokens": 9,
    "cache_read_input_tokens": 8,
    "cache_creation_input_tokens": 0,
    "service_tier": "standard",
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-simulated-1-20250929",
    "content": [{"type": "text", "text": "It is so."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": USAGE,
}
EVENTS: tuple[dict[str, object], ...] = (
    {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "It is so."}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 11}},
    {"type": "message_stop"},
)
STREAM = b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in EVENTS)


class TestAnthropic(VendorContract):
    @pytest.fixture
    def plugin(self) -> AnthropicPlugin:
        return AnthropicPlugin()

    @pytest.fixture
    def exchanges(self, plugin: AnthropicPlugin) -> list[Sample]:
        told = {
            "requested_model": "claude-simulated-1",
            "actual_model": "claude-simulated-1-20250929",
            "model_build_date": "2025-09-29",
            "api_version": "2023-06-01",
            "deployment_region": None,
            "provider_request_id": "req_1",
            "organization": "org-1",
            "response_id": "msg_1",
            "service_tier": "standard",
            "finish_reason": "end_turn",
        }
        overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        return [
            Sample(
                sample_exchange(
                    plugin,
                    URL,
                    request=ASKED,
                    request_headers=SENT,
                    headers=HEADERS,
                    body=json.dumps(MESSAGE).encode(),
                ),
                fields=told,
                usage=Usage(12, 9, cache_read=8, cache_write=0),
            ),
            Sample(
                sample_exchange(
                    plugin,
                    URL,
                    request={**ASKED, "stream": True},
                    request_headers=SENT,
                    headers=SSE,
                    body=STREAM,
                ),
                fields=told,
                usage=Usage(12, 11, cache_read=8, cache_write=0),
            ),
            Sample(
                sample_exchange(
                    plugin,
                    URL,
                    request=ASKED,
                    request_headers=SENT,
                    status=529,
                    headers=HEADERS,
                    body=json.dumps(overloaded).encode(),
                ),
                fields={"requested_model": "claude-simulated-1", "actual_model": None, "provider_request_id": "req_1"},
            ),
        ]

    @pytest.fixture(params=["sync", "async"])
    def drive(self, request: pytest.FixtureRequest) -> Iterator[Drive]:
        call: Callable[[str, str, bool], object] = _sync if request.param == "sync" else _async
        with Simulator() as simulator:
            yield Drive(
                lambda prompt, stream: call(simulator.anthropic_base_url, prompt, stream),
                simulator.count,
                lambda: simulator.inject(Fault(cut_after=2, path="/v1/messages")),
            )


def _asked(prompt: str) -> dict[str, object]:
    return {"model": "claude-simulated-1", "max_tokens": 64, "messages": [{"role": "user", "content": prompt}]}


def _sync(base_url: str, prompt: str, stream: bool) -> object:
    with anthropic.Anthropic(base_url=base_url, api_key="sk-ant-simulator") as client:
        if not stream:
            return client.messages.create(**_asked(prompt)).model_dump()  # type: ignore[call-overload]
        with client.messages.create(**_asked(prompt), stream=True) as events:  # type: ignore[call-overload]
            return [event.model_dump() for event in events]


def _async(base_url: str, prompt: str, stream: bool) -> object:
    async def ask() -> object:
        async with anthropic.AsyncAnthropic(base_url=base_url, api_key="sk-ant-simulator") as client:
            if not stream:
                return (await client.messages.create(**_asked(prompt))).model_dump()  # type: ignore[call-overload]
            async with await client.messages.create(**_asked(prompt), stream=True) as events:  # type: ignore[call-overload]
                return [event.model_dump() async for event in events]

    return asyncio.run(ask())
