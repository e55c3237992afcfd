"""What Google really sent, read by the plugin and by an oracle that shares no code with it."""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from custody_google.plugin import GooglePlugin

from custody.plugin import Chunk, Exchange, Forensics, RequestHead, ResponseHead
from custody.redact import response_headers

PLUGIN = GooglePlugin()

# What was exercised when this was written, so that the test cannot quietly do nothing.
LEAST = {"generate_content": 74, "interactions": 8, "embeddings": 3, "caches": 2}

# google.cloud.aiplatform.v1beta1.Candidate.FinishReason, by number.
_NUMBERED = {1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY"}


class Recording:
    """One exchange of a cassette, raw, with the oracle's view of it."""

    def __init__(self, place: str, interaction: dict[str, Any]) -> None:
        request, response = interaction["request"], interaction["response"]
        self.place = place
        self.method, self.url = request["method"].upper(), request["uri"]
        self.sent = _pairs(request["headers"])
        self.asked = _bytes(request.get("body"))
        self.status = response["status"]["code"]
        self.headers = _pairs(response["headers"])
        self.raw = _bytes(response["body"].get("string"))
        packed = self.raw[:2] == b"\x1f\x8b"
        plain = zlib.decompress(self.raw, 47) if packed else self.raw
        if not packed:  # the recorder had undone the encoding and kept its header
            self.headers = tuple(pair for pair in self.headers if pair[0].lower() != "content-encoding")
        if self.header("content-type") is None and plain.startswith((b"data:", b"event:")):
            # Some sources had dropped the response headers; without this one nothing is a stream.
            self.headers = (*self.headers, ("content-type", "text/event-stream"))
        self.streamed = "event-stream" in self.header("content-type", "")
        self.documents: list[dict[str, Any]]
        if self.streamed:
            lines = re.findall(r"^data: (.*?)\r?$", plain.decode(), re.MULTILINE)
            self.documents = [json.loads(line) for line in lines if line != "[DONE]"]
        else:
            value = json.loads(plain)
            self.documents = value if isinstance(value, list) else [value]

    def header(self, name: str, otherwise: Any = None) -> Any:
        return next((v for k, v in self.headers if k.lower() == name), otherwise)

    @property
    def last(self) -> dict[str, Any]:
        """The document that says how it ended: the last one, or the interaction in the last event that has one."""
        if "/interactions" in self.url and self.streamed:
            return [d["interaction"] for d in self.documents if "interaction" in d][-1]
        return self.documents[-1]

    def exchange(self) -> Exchange | None:
        """None where the plugin does not claim it."""
        request = RequestHead(self.method, self.url, self.sent)
        claim = PLUGIN.claim_exchange(request)
        if claim is None:
            return None
        made = Exchange("c.1", request, self.asked, claim, "vcr", datetime.now(UTC))
        made.head = ResponseHead(self.status, "", "HTTP/1.1", self.headers)
        half = len(self.raw) // 2
        made.chunks = [Chunk(1.0, self.raw[:half]), Chunk(2.0, self.raw[half:])]
        made.ending, made.streamed = "complete", self.streamed
        return made


def _pairs(headers: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((k, str(v)) for k, vs in headers.items() for v in (vs if isinstance(vs, list) else [vs]))


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else (value or "").encode()


def recordings(wire: Path, *vendors: str) -> Iterator[Recording]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for vendor in vendors:
        for path in sorted(wire.glob(f"*/{vendor}/*")):
            document = yaml.load(path.read_bytes(), loader)
            for number, interaction in enumerate(document["interactions"]):
                yield Recording(f"{path.relative_to(wire)}#{number}", interaction)


def expectations(recording: Recording) -> dict[str, Any]:
    """By hand from the URL and the documents: no field is read as the plugin reads it."""
    url, last = recording.url, recording.last
    path = url.split("googleapis.com/")[1].split("?")[0].split("/")
    expected: dict[str, Any] = {"api_version": path[0], "project": None, "deployment_region": None}
    if "projects" in path:
        expected["project"], expected["deployment_region"] = path[2], path[4]
    if "models" in path:
        expected["requested_model"] = path[-1].split(":")[0]
    else:
        expected["requested_model"] = json.loads(recording.asked).get("model")
    if "interactions" in path:
        expected["actual_model"], expected["response_id"] = last.get("model"), last["id"]
        expected["finish_reason"] = None if last["status"] == "in_progress" else last["status"]
        expected["service_tier"] = last.get("service_tier")
    elif "cachedContents" in path:
        expected["actual_model"], expected["response_id"] = last["model"], None
    else:
        expected["actual_model"], expected["response_id"] = last.get("modelVersion"), last.get("responseId")
        reasons = [
            c["finishReason"] for d in recording.documents for c in d.get("candidates", []) if "finishReason" in c
        ]
        named = {_NUMBERED.get(reason, reason) for reason in reasons}
        expected["finish_reason"] = ",".join(sorted(named)) or None
        usage = last.get("usageMetadata", {})
        kind = usage.get("trafficType")
        expected["service_tier"] = usage.get("serviceTier", "ON_DEMAND" if kind == 1 else kind)
    timing = recording.header("server-timing")
    expected["vendor_processing_ms"] = float(timing.split("dur=")[1]) if timing else None
    expected["provider_request_id"] = expected["response_id"]
    return expected


def counts(recording: Recording) -> tuple[dict[str, int | None], int] | None:
    """The classes and their sum; None where no tokens are stated for the call itself."""
    if "/interactions" in recording.url:
        usage = recording.last.get("usage")
        if usage is None:
            return None
        classes = {
            "input": usage["total_input_tokens"] - usage["total_cached_tokens"] + usage["total_tool_use_tokens"],
            "cache_read": usage["total_cached_tokens"],
            "output": usage["total_output_tokens"],
            "reasoning": usage["total_thought_tokens"],
        }
        return classes, usage["total_tokens"]
    stated = [d["usageMetadata"] for d in recording.documents if "usageMetadata" in d]
    if not stated or not {"promptTokenCount", "candidatesTokenCount"} & set(stated[-1]):
        return None
    usage = stated[-1]
    prompt, thoughts = usage.get("promptTokenCount"), usage.get("thoughtsTokenCount")
    tool, total = usage.get("toolUsePromptTokenCount", 0), usage.get("totalTokenCount")
    made = usage.get("candidatesTokenCount")
    if made is None:
        made = total - prompt - (thoughts or 0) - tool
    cached = usage.get("cachedContentTokenCount")
    given = None if prompt is None else prompt + tool - (cached or 0)
    classes = {"input": given, "cache_read": cached, "output": made, "reasoning": thoughts}
    return classes, total if prompt is not None else made + (thoughts or 0)


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
    counted, usage = counts(recording), read.usage
    if counted is None:
        if usage is not None:
            yield f"usage: read {usage}, and there is none"
        return
    if usage is None:
        yield f"usage: read none ({read.usage_reason}), and there is {counted}"
        return
    classes, total = counted
    for name, number in classes.items():
        if getattr(usage, name) != number:
            yield f"usage: {name} {getattr(usage, name)}, the vendor says {number}"
    if usage.total != total:
        yield f"usage: adds up to {usage.total}, the vendor says {total}"


def outcome(recording: Recording) -> str | None:
    if recording.status >= 400:
        return "error"
    if recording.last.get("status") in ("incomplete", "in_progress"):
        return "truncated" if recording.last["status"] == "incomplete" else "incomplete"
    cut = any(c.get("finishReason") in ("MAX_TOKENS", 2) for d in recording.documents for c in d.get("candidates", []))
    return "truncated" if cut else None


def test_every_recording_reads_as_the_oracle_reads_it(wire: Path, record_property: Any) -> None:
    """Ids, model, region, version, usage, finish reason, outcome of every exchange."""
    exercised: Counter[str] = Counter()
    wrong = []
    for recording in recordings(wire, "gemini", "vertexai"):
        exchange = recording.exchange()
        assert exchange is not None, recording.place
        read = PLUGIN.extract_forensics(exchange)
        assert read is not None
        vertex = "aiplatform" in recording.url
        assert exchange.claim.vendor == ("Google Vertex AI" if vertex else "Google Gemini API")
        exercised[exchange.claim.operation] += 1
        wrong += [f"{recording.place}: {difference}" for difference in differences(recording, read)]
        if read.outcome != outcome(recording):
            wrong.append(f"{recording.place}: outcome {read.outcome}, expected {outcome(recording)}")
    record_property("exercised", dict(exercised))
    print(dict(exercised))
    assert not wrong, f"{len(wrong)} differences:\n" + "\n".join(wrong[:40])
    assert all(exercised[operation] >= least for operation, least in LEAST.items())


def test_every_complete_stream_is_seen_to_end(wire: Path) -> None:
    """Each recorded stream ends by its protocol, and not before its last event."""
    ended = 0
    for recording in recordings(wire, "gemini", "vertexai"):
        exchange = recording.exchange()
        if exchange is None or not recording.streamed:
            continue
        end = exchange.claim.stream_end
        assert end is not None
        said = [end(event) for event in exchange.events]
        assert said[-1] in ("complete", "complete_at_eof"), recording.place
        assert "complete" not in said[:-1], recording.place
        assert "error" not in said, recording.place
        if "/interactions" not in recording.url:
            assert set(said[:-1]) <= {None}, recording.place
        ended += 1
    assert ended >= 17


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "cohere", "groq", "mistral", "bedrock"])
def test_other_protocols_are_not_claimed(wire: Path, vendor: str) -> None:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    heads = {
        RequestHead(i["request"]["method"], i["request"]["uri"], _pairs(i["request"]["headers"]))
        for path in wire.glob(f"*/{vendor}/*")
        for i in yaml.load(path.read_bytes(), loader)["interactions"]
    }
    assert heads
    assert [head.url for head in heads if PLUGIN.claim_exchange(head)] == []
