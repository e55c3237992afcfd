"""Claude on Bedrock as AWS really sent it, read by the plugin and by an oracle that shares no code with it."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml
from custody_anthropic.plugin import AnthropicPlugin

from custody.plugin import Chunk, Exchange, RequestHead, ResponseHead

frames = pytest.importorskip("botocore.eventstream", reason="the oracle's parser of AWS's frames is botocore's")

PLUGIN = AnthropicPlugin()
LEAST = {"whole": 20, "stream": 10}  # what was exercised when this was written


class Recording:
    """One exchange of a cassette with a model of Anthropic's over InvokeModel."""

    def __init__(self, place: str, interaction: dict[str, Any]) -> None:
        request, response = interaction["request"], interaction["response"]
        self.place, self.url = place, request["uri"]
        self.asked = _bytes(request.get("body"))
        self.headers = _pairs(response["headers"])
        self.raw = _bytes(response["body"].get("string"))
        self.streamed = self.raw[:1] == b"\x00"
        if self.streamed and self.header("content-type") is None:  # some sources had dropped the response headers
            self.headers = (*self.headers, ("content-type", "application/vnd.amazon.eventstream"))
        self.documents = list(_events(self.raw)) if self.streamed else [json.loads(self.raw)]
        self.model = unquote(self.url.split("/model/")[1].split("/")[0])

    def header(self, name: str) -> str | None:
        return next((v for k, v in self.headers if k.lower() == name), None)

    def exchange(self) -> Exchange:
        request = RequestHead("POST", self.url, (), sdk="anthropic")
        claim = PLUGIN.claim_exchange(request)
        assert claim is not None
        assert claim.vendor == "Amazon Bedrock"
        made = Exchange("c.1", request, self.asked, claim, "vcr", datetime.now(UTC))
        made.head = ResponseHead(200, "", "HTTP/1.1", self.headers)
        made.chunks, made.ending, made.streamed = [Chunk(1.0, self.raw)], "complete", self.streamed
        return made

    @property
    def message(self) -> dict[str, Any]:
        """The message as the vendor's documentation says a stream adds up to it."""
        whole: dict[str, Any] = {}
        for document in self.documents:
            whole |= document.get("message") or {k: v for k, v in document.items() if k != "usage"}
            whole |= document.get("delta") or {}
        return whole

    @property
    def usage(self) -> dict[str, Any]:
        counted: dict[str, Any] = {}
        for document in self.documents:
            counted |= (document.get("message") or {}).get("usage") or {}
            counted |= document.get("usage") or {}
        return counted


def _events(raw: bytes) -> Iterator[dict[str, Any]]:
    buffer = frames.EventStreamBuffer()
    buffer.add_data(raw)
    for message in buffer:
        yield json.loads(base64.b64decode(json.loads(message.payload)["bytes"]))


def _pairs(headers: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((k, str(v)) for k, vs in headers.items() for v in (vs if isinstance(vs, list) else [vs]))


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else (value or "").encode()


def recordings(wire: Path) -> Iterator[Recording]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for path in sorted(wire.glob("*/bedrock/*")):
        for number, interaction in enumerate(yaml.load(path.read_bytes(), loader)["interactions"]):
            url = interaction["request"]["uri"]
            if "anthropic." in url and "/invoke" in url:
                yield Recording(f"{path.relative_to(wire)}#{number}", interaction)


def differences(recording: Recording) -> Iterator[str]:
    exchange = recording.exchange()
    read = PLUGIN.extract_forensics(exchange)
    assert read is not None
    message, usage, asked = recording.message, recording.usage, json.loads(recording.asked)
    metrics = recording.documents[-1].get("amazon-bedrock-invocationMetrics", {})
    latency = metrics.get("invocationLatency") or recording.header("x-amzn-bedrock-invocation-latency")
    expected = {
        "requested_model": recording.model,
        "actual_model": message.get("model"),
        "response_id": message.get("id"),
        "provider_request_id": recording.header("x-amzn-requestid"),
        "deployment_region": "us" if recording.model.startswith("us.") else "us-east-1",
        "api_version": asked.get("anthropic_version"),
        "finish_reason": message.get("stop_reason"),
        "vendor_processing_ms": int(latency) if latency is not None else None,
    }
    for name, value in expected.items():
        if read.findings[name].value != value:
            yield f"{name}: read {read.findings[name].value!r}, expected {value!r}"
    header = recording.header("x-amzn-bedrock-input-token-count")
    tokens = {
        "input": usage.get("input_tokens", int(header) if header else None),
        "cache_read": usage.get("cache_read_input_tokens"),
        "cache_write": usage.get("cache_creation_input_tokens"),
    }
    made = usage.get("output_tokens", recording.header("x-amzn-bedrock-output-token-count"))
    tokens["output"] = int(made) if made is not None else None
    for name, value in tokens.items():
        if getattr(read.usage, name, None) != value:
            yield f"usage: {name} {getattr(read.usage, name, None)}, the vendor says {value}"
    cut = "truncated" if message.get("stop_reason") == "max_tokens" else None
    if read.outcome != cut:
        yield f"outcome: {read.outcome}, expected {cut}"
    said = [exchange.claim.stream_end(event) for event in exchange.events] if exchange.claim.stream_end else []
    if recording.streamed and (said[-1:] != ["complete"] or "complete" in said[:-1]):
        yield f"the end of the stream: {said}"


def test_every_recording_of_claude_on_bedrock_reads_as_the_oracle_reads_it(wire: Path) -> None:
    exercised: Counter[str] = Counter()
    wrong = []
    for recording in recordings(wire):
        exercised["stream" if recording.streamed else "whole"] += 1
        wrong += [f"{recording.place}: {difference}" for difference in differences(recording)]
    print(dict(exercised))
    assert not wrong, f"{len(wrong)} differences:\n" + "\n".join(wrong[:40])
    assert all(exercised[kind] >= least for kind, least in LEAST.items())


def test_what_other_sdks_send_to_bedrock_is_left_to_its_plugin(wire: Path) -> None:
    heads = [RequestHead("POST", recording.url, ()) for recording in recordings(wire)]
    assert heads
    assert [head.url for head in heads if PLUGIN.claim_exchange(head)] == []


@pytest.mark.parametrize(
    ("host", "location", "region"),
    [
        ("us-east5-aiplatform.googleapis.com", "us-east5", "us-east5"),
        ("aiplatform.googleapis.com", "global", "global"),
        ("aiplatform.eu.rep.googleapis.com", "eu", "eu"),
    ],
)
def test_vertex_is_claimed_by_its_address(host: str, location: str, region: str) -> None:
    path = f"/v1/projects/p-1/locations/{location}/publishers/anthropic/models/claude-x@20250929:streamRawPredict"
    claim = PLUGIN.claim_exchange(RequestHead("POST", f"https://{host}{path}", ()))
    assert claim is not None
    assert (claim.vendor, claim.operation) == ("Google Vertex AI", "chat")
    assert (
        PLUGIN.claim_exchange(RequestHead("POST", f"https://{host}{path.replace('anthropic', 'google')}", ())) is None
    )
    exchange = Exchange("c", RequestHead("POST", f"https://{host}{path}", ()), b"{}", claim, "x", datetime.now(UTC))
    read = PLUGIN.extract_forensics(exchange)
    assert read is not None
    assert read.findings["deployment_region"].value == region
    assert read.findings["project"].value == "p-1"
    assert read.findings["requested_model"].value == "claude-x@20250929"


@pytest.mark.parametrize(
    ("url", "vendor", "region"),
    [
        ("https://api.anthropic.com/v1/messages", "Anthropic", None),
        ("https://bedrock-runtime.eu-west-1.amazonaws.com/model/x/invoke", "Amazon Bedrock", "eu-west-1"),
        ("https://bedrock-mantle.us-east-1.api.aws/anthropic/v1/messages", "Amazon Bedrock", "us-east-1"),
        ("https://aws-external-anthropic.us-west-2.api.aws/v1/messages", "Anthropic", "us-west-2"),
        ("https://my-thing.services.ai.azure.com/anthropic/v1/messages", "Azure AI Foundry", None),
        ("https://anthropic.com.example.org:8443/v1/messages", "anthropic.com.example.org:8443", None),
    ],
)
def test_the_vendor_is_who_answers_at_the_host(url: str, vendor: str, region: str | None) -> None:
    request = RequestHead("POST", url, (), sdk="anthropic")
    claim = PLUGIN.claim_exchange(request)
    assert claim is not None
    assert (claim.vendor, claim.operation) == (vendor, "chat")
    read = PLUGIN.extract_forensics(Exchange("c", request, b"{}", claim, "x", datetime.now(UTC)))
    assert read is not None
    assert read.findings["deployment_region"].value == region
