"""What Bedrock really sent, read by the plugin and by an oracle that shares no code with it."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.eventstream import EventStreamBuffer
from custody_bedrock.plugin import BedrockPlugin

from custody.plugin import Chunk, Exchange, Forensics, RequestHead, ResponseHead
from custody.redact import response_headers

PLUGIN = BedrockPlugin()

# What was exercised when this was written, so that the test cannot quietly do nothing.
LEAST = {"chat": 85, "text_completion": 20, "apply_guardrail": 3}

_DATE = re.compile(r"(20\d{2})(\d{2})(\d{2})")
_LATENCY = "x-amzn-bedrock-invocation-latency"


class Recording:
    """One exchange of a cassette, raw, with the oracle's view of it: botocore's own parser splits the events."""

    def __init__(self, place: str, interaction: dict[str, Any]) -> None:
        request, response = interaction["request"], interaction["response"]
        self.place = place
        self.method, self.url = request["method"], request["uri"]
        self.sent = _pairs(request["headers"])
        self.asked = _bytes(request.get("body"))
        self.status = response["status"]["code"]
        self.headers = _pairs(response["headers"])
        self.raw = _bytes(response["body"].get("string"))
        self.streamed = self.raw[:1] == b"\x00"
        if self.streamed and self.header("content-type") is None:
            # Some sources had dropped the response headers; without this one nothing is a stream.
            self.headers = (*self.headers, ("content-type", "application/vnd.amazon.eventstream"))
        self.events = list(_events(self.raw)) if self.streamed else []
        self.body: dict[str, Any] = {} if self.streamed else json.loads(self.raw)
        self.model = re.sub(
            r"%([0-9A-F]{2})", lambda m: chr(int(m[1], 16)), self.url.split("/model/")[-1].split("/")[0]
        )
        self.verb = self.url.rpartition("/")[2]

    def header(self, name: str) -> str | None:
        return next((v for k, v in self.headers if k.lower() == name), None)

    def last(self, *names: str) -> Any:
        """The last value at this path, in the body or in any event."""
        seen = None
        for document in [self.body, *(event for _, event in self.events)]:
            value: Any = document
            for name in names:
                value = value[0] if isinstance(value, list) and value else value
                value = value.get(name) if isinstance(value, dict) else None
            seen = value if value is not None else seen
        return seen

    def exchange(self) -> Exchange:
        request = RequestHead(self.method, self.url, self.sent)
        claim = PLUGIN.claim_exchange(request)
        assert claim is not None, self.place
        made = Exchange("c.1", request, self.asked, claim, "vcr", datetime.now(UTC))
        made.head = ResponseHead(self.status, "", "HTTP/1.1", self.headers)
        half = len(self.raw) // 2
        made.chunks = [Chunk(1.0, self.raw[:half]), Chunk(2.0, self.raw[half:])]
        made.ending, made.streamed = "complete", self.streamed
        return made


def _events(raw: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    buffer = EventStreamBuffer()
    buffer.add_data(raw)
    for message in buffer:
        name, value = message.headers[":event-type"], json.loads(message.payload)
        yield name, json.loads(base64.b64decode(value["bytes"])) if name == "chunk" else value


def _pairs(headers: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((k, str(v)) for k, vs in headers.items() for v in (vs if isinstance(vs, list) else [vs]))


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else (value or "").encode()


def recordings(wire: Path) -> Iterator[Recording]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for path in sorted(wire.glob("*/bedrock/*")):
        document = yaml.load(path.read_bytes(), loader)
        for number, interaction in enumerate(document["interactions"]):
            yield Recording(f"{path.relative_to(wire)}#{number}", interaction)


_STOPS = (
    ("stopReason",),
    ("messageStop", "stopReason"),
    ("stop_reason",),
    ("delta", "stop_reason"),
    ("completionReason",),
    ("results", "completionReason"),
    ("outputs", "stop_reason"),
    ("generations", "finish_reason"),
    ("finish_reason",),
    ("choices", "finish_reason"),
    ("completions", "finishReason", "reason"),
)


def stop(recording: Recording) -> str | None:
    return next((value for path in _STOPS if (value := recording.last(*path)) is not None), None)


def expectations(recording: Recording) -> dict[str, Any]:
    ok, plain = recording.status == 200, recording.verb == "apply"
    model = None if plain else recording.model
    named = recording.last("model") or recording.last("message", "model")
    profile = re.search(r"(?:^|/)(us)\.", model or "")
    actual = named
    if actual is None and ok and model and "sagemaker" not in model:
        actual = re.sub(r"^(arn:.*/)?(us\.)?", "", model)
    dated = _DATE.search(actual or "")
    latency = recording.last("metrics", "latencyMs") or recording.last("latencyMs")
    latency = latency or recording.last("amazon-bedrock-invocationMetrics", "invocationLatency")
    header = recording.header(_LATENCY)
    return {
        "requested_model": model,
        "actual_model": actual,
        "model_build_date": "-".join(dated.groups()) if dated else None,
        "response_id": message_id(recording),
        "provider_request_id": recording.header("x-amzn-requestid"),
        "deployment_region": "us" if profile else "us-east-1",
        "api_version": json.loads(recording.asked or b"{}").get("anthropic_version"),
        "service_tier": None,
        "finish_reason": stop(recording),
        "vendor_processing_ms": latency if latency is not None else int(header) if header else None,
    }


def message_id(recording: Recording) -> str | None:
    """Of the makers that name their answers; AI21's is a number made by nobody."""
    if "ai21" in recording.model or recording.verb == "apply":
        return None
    own = recording.last("message", "id") or recording.last("id") or recording.last("response_id")
    return own or recording.last("generation_id")


_CLASSES = {
    "input": ("inputTokens", "input_tokens", "prompt_tokens"),
    "output": ("outputTokens", "output_tokens", "completion_tokens"),
    "cache_read": ("cacheReadInputTokens", "cacheReadInputTokenCount", "cache_read_input_tokens"),
    "cache_write": ("cacheWriteInputTokens", "cacheWriteInputTokenCount", "cache_creation_input_tokens"),
}


def counted(recording: Recording, name: str) -> int | None:
    """A class of tokens: the model's own word, else Bedrock's in the stream's last event, else in a header."""
    for key in _CLASSES[name]:
        for place in ((), ("message",), ("metadata",)):
            value = recording.last(*place, "usage", key)
            if value is not None:
                return int(value)
    camel = {"cache_read": "cacheReadInput", "cache_write": "cacheWriteInput"}.get(name, name)
    value = recording.last("amazon-bedrock-invocationMetrics", f"{camel}TokenCount")
    if value is None:
        dashed = {"cache_read": "cache-read-input", "cache_write": "cache-write-input"}.get(name, name)
        value = recording.header(f"x-amzn-bedrock-{dashed}-token-count")
    if value is None:  # a prompt that a guardrail blocked
        value = recording.last({"input": "inputTextTokenCount", "output": "totalOutputTextTokenCount"}.get(name, "-"))
    return int(value) if value is not None else None


def differences(recording: Recording, read: Forensics) -> Iterator[str]:
    """What the plugin says and the oracle does not, or the other way round."""
    for name, expected in expectations(recording).items():
        got = read.findings[name]
        if got.value != expected:
            yield f"{name}: read {got.value!r}, expected {expected!r}"
        if (got.value is None) != got.evidence.startswith("unknown:"):
            yield f"{name}: {got.value!r} with evidence {got.evidence!r}"
        place, _, header = got.evidence.partition(":")
        if place == "response_header" and not response_headers(((header, ""),)):
            yield f"{name}: its evidence, the header {header}, is not stored"
    tokens = {name: counted(recording, name) for name in _CLASSES} if recording.verb != "apply" else {}
    if tokens.get("input") is None and tokens.get("output") is None:
        if read.usage is not None:
            yield f"usage: read {read.usage}, and there is none"
        return
    if read.usage is None:
        yield f"usage: read none ({read.usage_reason}), and there is {tokens}"
        return
    for name, value in tokens.items():
        if getattr(read.usage, name) != value:
            yield f"usage: {name} {getattr(read.usage, name)}, the vendor says {value}"
    if read.usage.total != sum(n or 0 for n in tokens.values()):
        yield f"usage: adds up to {read.usage.total}, not to {tokens}"


def outcome(recording: Recording) -> str | None:
    if recording.status >= 400:
        return None  # the status says it
    blocked = (b"INTERVENED", b"guardrail_intervened")
    if any(word in recording.raw or word in json.dumps(recording.events).encode() for word in blocked):
        return "filtered"
    return "truncated" if str(stop(recording)).lower() in ("max_tokens", "length") else None


def test_every_recording_reads_as_the_oracle_reads_it(wire: Path, record_property: Any) -> None:
    exercised: Counter[str] = Counter()
    wrong = []
    for recording in recordings(wire):
        exchange = recording.exchange()
        read = PLUGIN.extract_forensics(exchange)
        assert read is not None
        assert exchange.claim.vendor == "Amazon Bedrock"
        exercised[exchange.claim.operation] += 1
        wrong += [f"{recording.place}: {difference}" for difference in differences(recording, read)]
        if read.outcome != outcome(recording):
            wrong.append(f"{recording.place}: outcome {read.outcome}, expected {outcome(recording)}")
    record_property("exercised", dict(exercised))
    print(dict(exercised))
    assert not wrong, f"{len(wrong)} differences:\n" + "\n".join(wrong[:60])
    assert all(exercised[operation] >= least for operation, least in LEAST.items())


def test_every_complete_stream_is_seen_to_end(wire: Path) -> None:
    """Each recorded stream ends by its protocol, and not before its last event."""
    ended = 0
    for recording in recordings(wire):
        exchange = recording.exchange()
        if not recording.streamed:
            continue
        end = exchange.claim.stream_end
        assert end is not None
        assert [event.name for event in exchange.events] == [name for name, _ in recording.events]
        said = [end(event) for event in exchange.events]
        assert said[-1] in ("complete", "complete_at_eof"), recording.place
        assert "complete" not in said[:-1], recording.place
        ended += 1
    assert ended >= 40


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "cohere", "groq", "gemini", "vertexai"])
def test_other_protocols_are_not_claimed(wire: Path, vendor: str) -> None:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    heads = {
        RequestHead(i["request"]["method"], i["request"]["uri"], _pairs(i["request"]["headers"]))
        for path in wire.glob(f"*/{vendor}/*")
        for i in yaml.load(path.read_bytes(), loader)["interactions"]
    }
    assert heads
    assert [head.url for head in heads if PLUGIN.claim_exchange(head)] == []
