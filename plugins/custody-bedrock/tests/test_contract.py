"""The Bedrock plugin keeps the vendor contract, driven by boto3 against the simulator."""

from __future__ import annotations

import contextlib
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from custody_bedrock.plugin import BedrockPlugin

from custody.plugin import Usage
from custody.testing import Drive, Sample, VendorContract, sample_exchange
from custody.testing.simulator import Fault, Simulator

HOST = "https://bedrock-runtime.eu-west-1.amazonaws.com"
JSON = (("content-type", "application/json"), ("x-amzn-requestid", "00000000-0000-4000-8000-000000000001"))
STREAM = (("content-type", "application/vnd.amazon.eventstream"), *JSON[1:])
COUNTED = (
    ("x-amzn-bedrock-input-token-count", "12"),
    ("x-amzn-bedrock-output-token-count", "9"),
    ("x-amzn-bedrock-invocation-latency", "321"),
)
ASKED = {
    "messages": [{"role": "user", "content": [{"text": "What is it?"}]}],
    "system": [{"text": "Be brief."}],
    "inferenceConfig": {"maxTokens": 64, "temperature": 0.5},
}
USAGE = {"inputTokens": 12, "outputTokens": 9, "totalTokens": 29, "cacheReadInputTokens": 8, "cacheWriteInputTokens": 0}
SAID = {
    "output": {"message": {"role": "assistant", "content": [{"text": "It is so."}]}},
    "stopReason": "end_turn",
    "usage": USAGE,
    "metrics": {"latencyMs": 321},
    "serviceTier": {"type": "priority"},
}
CLAUDE = {
    "id": "msg_bdrk_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-simulated-1-20250929",
    "content": [{"type": "text", "text": "It is so."}],
    "stop_reason": "max_tokens",
    "usage": {"input_tokens": 12, "output_tokens": 9, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 0},
}


def frame(name: str, payload: object) -> bytes:
    """An event of an AWS event stream, by the Smithy specification."""
    headers = b""
    for key, value in ((":event-type", name), (":content-type", "application/json"), (":message-type", "event")):
        headers += bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
    body = json.dumps(payload).encode()
    head = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    whole = head + struct.pack(">I", zlib.crc32(head)) + headers + body
    return whole + struct.pack(">I", zlib.crc32(whole))


EVENTS = b"".join(
    (
        frame("messageStart", {"role": "assistant", "p": "abc"}),
        frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "It is so."}}),
        frame("contentBlockStop", {"contentBlockIndex": 0}),
        frame("messageStop", {"stopReason": "end_turn"}),
        frame("metadata", {k: SAID[k] for k in ("usage", "metrics", "serviceTier")}),
    )
)


class TestBedrock(VendorContract):
    @pytest.fixture
    def plugin(self) -> BedrockPlugin:
        return BedrockPlugin()

    @pytest.fixture
    def exchanges(self, plugin: BedrockPlugin) -> list[Sample]:
        def sample(path: str, request: Any, body: bytes, headers: Any = JSON, status: int = 200, **told: Any) -> Sample:
            usage = told.pop("usage", None)
            exchange = sample_exchange(plugin, HOST + path, request=request, headers=headers, body=body, status=status)
            told["provider_request_id"] = JSON[1][1]
            return Sample(exchange, fields=told, usage=usage)

        nova = "/model/amazon.nova-micro-20250101-v1%3A0/"
        claude = "/model/eu.anthropic.claude-simulated-1-20250929-v1%3A0/"
        conversed: dict[str, Any] = {
            "requested_model": "amazon.nova-micro-20250101-v1:0",
            "actual_model": "amazon.nova-micro-20250101-v1:0",
            "model_build_date": "2025-01-01",
            "deployment_region": "eu-west-1",
            "finish_reason": "end_turn",
            "vendor_processing_ms": 321,
            "service_tier": "priority",
            "api_version": None,
            "usage": Usage(12, 9, cache_read=8, cache_write=0),
        }
        invoked: dict[str, Any] = {
            "requested_model": "eu.anthropic.claude-simulated-1-20250929-v1:0",
            "actual_model": "claude-simulated-1-20250929",
            "model_build_date": "2025-09-29",
            "deployment_region": "eu",
            "finish_reason": "max_tokens",
            "response_id": "msg_bdrk_1",
            "vendor_processing_ms": 321,
            "api_version": "bedrock-2023-05-31",
            "usage": Usage(12, 9, cache_read=3, cache_write=0),
        }
        refused = json.dumps({"message": "The provided model identifier is invalid."}).encode()
        body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 64, "messages": [{"role": "user"}]}
        return [
            sample(nova + "converse", ASKED, json.dumps(SAID).encode(), **conversed),
            sample(nova + "converse-stream", ASKED, EVENTS, STREAM, **conversed),
            sample(claude + "invoke", body, json.dumps(CLAUDE).encode(), (*JSON, *COUNTED), **invoked),
            sample(
                "/model/does-not-exist/converse",
                ASKED,
                refused,
                (*JSON, ("x-amzn-errortype", "ValidationException")),
                400,
                actual_model=None,
                requested_model="does-not-exist",
            ),
        ]

    @pytest.fixture(params=["converse", "invoke"])
    def drive(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Drive]:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDSIMULATED")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "simulated-secret-key")
        call = _converse if request.param == "converse" else _invoke
        with Simulator() as simulator:
            yield Drive(
                lambda prompt, stream: call(simulator.url, prompt, stream),
                simulator.count,
                lambda: simulator.inject(Fault(cut_after=2, path="/model/")),
            )


@contextlib.contextmanager
def _client(url: str) -> Iterator[Any]:
    config = Config(retries={"total_max_attempts": 1})
    one = boto3.session.Session().client("bedrock-runtime", region_name="us-east-1", endpoint_url=url, config=config)
    try:
        yield one
    finally:
        one.close()


def _converse(url: str, prompt: str, stream: bool) -> object:
    asked = {"modelId": "amazon.nova-micro-v1:0", "messages": [{"role": "user", "content": [{"text": prompt}]}]}
    with _client(url) as client:
        if not stream:
            return client.converse(**asked)["output"]
        with contextlib.closing(client.converse_stream(**asked)["stream"]) as events:
            return list(events)


def _invoke(url: str, prompt: str, stream: bool) -> object:
    asked = {"modelId": "meta.llama3-70b-instruct-v1:0", "body": json.dumps({"prompt": prompt})}
    with _client(url) as client:
        if not stream:
            return json.loads(client.invoke_model(**asked)["body"].read())
        with contextlib.closing(client.invoke_model_with_response_stream(**asked)["body"]) as events:
            return list(events)
