"""The litellm plugin keeps the vendor contract, driven by the real SDK against the simulator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from custody_litellm.plugin import LitellmPlugin

from custody.plugin import Chunk, Exchange, RequestHead, ResponseHead, Usage
from custody.testing import Drive, Sample, VendorContract, sample_exchange
from custody.testing.simulator import Fault, Simulator

JSON = (("content-type", "application/json"),)
SSE = (("content-type", "text/event-stream"), ("x-request-id", "req_1"))
LINES = (("content-type", "application/x-ndjson"),)
ASKED = {"model": "m-1-2026-01-02", "temperature": 0.2, "messages": [{"role": "user", "content": "What is it?"}]}
CHAT = {
    "id": "cmpl-1",
    "model": "m-1-2026-01-02",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "It is so."}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 20,
        "completion_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 4},
    },
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "model": "claude-x-20260102",
    "content": [{"type": "text", "text": "It is so."}],
    "stop_reason": "max_tokens",
    "usage": {"input_tokens": 20, "output_tokens": 9, "cache_read_input_tokens": 8, "cache_creation_input_tokens": 2},
}
GEMINI = {
    "candidates": [{"content": {"parts": [{"text": "It is so."}]}, "finishReason": "STOP"}],
    "usageMetadata": {
        "promptTokenCount": 20,
        "cachedContentTokenCount": 8,
        "candidatesTokenCount": 9,
        "thoughtsTokenCount": 4,
    },
    "modelVersion": "gemini-x-001",
    "responseId": "r-1",
}
CONVERSE = {
    "output": {"message": {"role": "assistant", "content": [{"text": "It is so."}]}},
    "stopReason": "guardrail_intervened",
    "usage": {"inputTokens": 20, "outputTokens": 9, "totalTokens": 29},
}
COHERE = {
    "id": "c-1",
    "message": {"role": "assistant", "content": [{"type": "text", "text": "It is so."}]},
    "finish_reason": "COMPLETE",
    "usage": {"billed_units": {"input_tokens": 3.0}, "tokens": {"input_tokens": 20.0, "output_tokens": 9.0}},
}
CHUNKS: list[dict[str, Any]] = [
    {"id": "cmpl-2", "model": "m-1-2026-01-02", "choices": [{"index": 0, "delta": {"content": "It is so."}}]},
    {"id": "cmpl-2", "choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]},
    {"id": "cmpl-2", "choices": [], "usage": CHAT["usage"]},
]
EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
    {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "It is so."}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 12}},
    {"type": "message_stop"},
]
OLLAMA: list[dict[str, Any]] = [
    {"model": "qwen3", "message": {"role": "assistant", "content": "It is so."}, "done": False},
    {"model": "qwen3", "done": True, "done_reason": "stop", "prompt_eval_count": 20, "eval_count": 9},
]


def events(*values: dict[str, Any], named: bool = False) -> bytes:
    names = [f"event: {value['type']}\n" if named else "" for value in values]
    return "".join(f"{n}data: {json.dumps(v)}\n\n" for n, v in zip(names, values, strict=True)).encode()


def made(plugin: LitellmPlugin, url: str, body: object, *, headers: Any = JSON, status: int = 200) -> Exchange:
    """An exchange inside a call of litellm's, which is all that the plugin claims."""
    head = RequestHead("POST", url, JSON, through="litellm")
    claim = plugin.claim_exchange(head)
    assert claim is not None, url
    bare = sample_exchange(_Claims(claim), url, request=ASKED, headers=headers, status=status)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = ResponseHead(status, "", "HTTP/1.1", headers)
    return replace(bare, request=head, claim=claim, head=response, chunks=[Chunk(1.0, data)])


class _Claims:
    """A plugin that claims everything, for the form of an exchange."""

    def __init__(self, claim: Any) -> None:
        from custody.plugin import hookimpl

        def claim_exchange(request: RequestHead) -> Any:
            return claim

        self.claim_exchange = hookimpl(claim_exchange)


class TestLitellm(VendorContract):
    @pytest.fixture
    def plugin(self) -> LitellmPlugin:
        return LitellmPlugin()

    @pytest.fixture
    def exchanges(self, plugin: LitellmPlugin) -> list[Sample]:
        dated = {"actual_model": "m-1-2026-01-02", "model_build_date": "2026-01-02", "requested_model": ASKED["model"]}
        host, gemini = "https://models.example", "https://models.example/v1beta/models/gemini-x:generateContent"
        lines = b"".join(json.dumps(line).encode() + b"\n" for line in OLLAMA)
        done = b"data: [DONE]\n\n"
        return [
            Sample(
                made(plugin, f"{host}/v1/chat/completions", CHAT),
                {**dated, "api_version": "v1", "finish_reason": "stop", "response_id": "cmpl-1"},
                Usage(12, 5, cache_read=8, reasoning=4),
            ),
            Sample(
                made(plugin, f"{host}/v1/chat/completions", events(*CHUNKS) + done, headers=SSE),
                {**dated, "finish_reason": "length", "provider_request_id": "req_1", "response_id": "cmpl-2"},
                Usage(12, 5, cache_read=8, reasoning=4),
            ),
            Sample(
                made(plugin, f"{host}/v1/messages", MESSAGE),
                {"actual_model": "claude-x-20260102", "model_build_date": "2026-01-02", "finish_reason": "max_tokens"},
                Usage(20, 9, cache_read=8, cache_write=2),
            ),
            Sample(
                made(plugin, f"{host}/v1/messages", events(*EVENTS, named=True), headers=SSE),
                {"actual_model": "claude-x-20260102", "finish_reason": "end_turn", "response_id": "msg_1"},
                Usage(20, 12, cache_read=8, cache_write=2),
            ),
            Sample(
                made(plugin, gemini, GEMINI),
                {
                    "actual_model": "gemini-x-001",
                    "api_version": "v1beta",
                    "response_id": "r-1",
                    "finish_reason": "STOP",
                },
                Usage(12, 9, cache_read=8, reasoning=4),
            ),
            Sample(
                made(plugin, "https://bedrock-runtime.eu-west-1.amazonaws.com/model/m/converse", CONVERSE),
                {"deployment_region": "eu-west-1", "actual_model": None, "finish_reason": "guardrail_intervened"},
                Usage(20, 9),
            ),
            Sample(
                made(plugin, f"{host}/v2/chat", COHERE),
                {"finish_reason": "COMPLETE", "response_id": "c-1"},
                Usage(20, 9),
            ),
            Sample(
                made(plugin, f"{host}/api/chat", lines, headers=LINES),
                {"actual_model": "qwen3", "finish_reason": "stop"},
                Usage(20, 9),
            ),
            Sample(
                made(plugin, f"{host}/v1/chat/completions", {"error": {"message": "Slow down"}}, status=429),
                {"actual_model": None, "finish_reason": None},
            ),
        ]

    @pytest.fixture(params=["sync", "async"])
    def drive(self, request: pytest.FixtureRequest, litellm: Any, told: Any) -> Iterator[Drive]:
        call: Callable[..., Any] = _sync if request.param == "sync" else _async
        with Simulator() as simulator:
            given = {"model": "openai/gpt-4o", "api_base": simulator.openai_base_url, "api_key": "sk-simulator"}
            yield Drive(
                lambda prompt, stream: told(call(litellm, given, prompt, stream)),
                simulator.count,
                lambda: simulator.inject(Fault(cut_after=2, path="/chat/completions")),
            )


def _sync(litellm: Any, given: dict[str, Any], prompt: str, stream: bool) -> object:
    made = litellm.completion(messages=[{"role": "user", "content": prompt}], stream=stream, **given)
    return list(made) if stream else made


def _async(litellm: Any, given: dict[str, Any], prompt: str, stream: bool) -> object:
    async def ask() -> object:
        made = await litellm.acompletion(messages=[{"role": "user", "content": prompt}], stream=stream, **given)
        return [chunk async for chunk in made] if stream else made

    return asyncio.run(ask())
