"""What Anthropic really sent, read by the plugin and by an oracle that shares no code with it."""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from custody_anthropic.plugin import AnthropicPlugin

from custody.plugin import Chunk, Exchange, Forensics, RequestHead, ResponseHead
from custody.redact import response_headers

PLUGIN = AnthropicPlugin()

# What was exercised when this was written, so that the test cannot quietly do nothing.
LEAST = {"chat": 69, "text_completion": 6}

_DATE = re.compile(r"(20\d{2})(\d{2})(\d{2})$")


class Recording:
    """One exchange of a cassette, raw, with the oracle's view of it."""

    def __init__(self, place: str, interaction: dict[str, Any]) -> None:
        request, response = interaction["request"], interaction["response"]
        self.place = place
        self.method, self.url = request["method"], request["uri"]
        self.sent = _pairs(request["headers"])
        self.asked = _bytes(request.get("body"))
        self.status = response["status"]["code"]
        self.headers = _pairs(response["headers"])
        self.raw = _bytes(response["body"].get("string"))
        plain = zlib.decompress(self.raw, 47) if self.raw[:2] == b"\x1f\x8b" else self.raw
        if self.header("content-type") is None and plain.startswith((b"data:", b"event:")):
            # Some sources had dropped the response headers; without this one nothing is a stream.
            self.headers = (*self.headers, ("content-type", "text/event-stream"))
        self.streamed = "event-stream" in self.header("content-type", "")
        texts = re.findall(r"^data: (.*)$", plain.decode(), re.MULTILINE) if self.streamed else [plain.decode()]
        self.documents: list[dict[str, Any]] = [json.loads(text) for text in texts]

    def header(self, name: str, otherwise: Any = None) -> Any:
        return next((v for k, v in self.headers if k.lower() == name), otherwise)

    def asked_header(self, name: str) -> Any:
        return next((v for k, v in self.sent if k.lower() == name), None)

    @property
    def message(self) -> dict[str, Any]:
        """The message as the vendor's documentation says a stream adds up to it."""
        whole: dict[str, Any] = {}
        for document in self.documents:
            start = document.get("message") if document["type"] == "message_start" else None
            whole |= start or (document if document["type"] in ("message", "completion") else {})
            whole |= document["delta"] if document["type"] == "message_delta" else {}
        return whole

    @property
    def usage(self) -> dict[str, Any]:
        counted: dict[str, Any] = {}
        for document in self.documents:
            counted |= (document.get("message") or {}).get("usage") or {}
            counted |= document.get("usage") or {}
        return counted

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
    asked, message, usage = json.loads(recording.asked), recording.message, recording.usage
    dated = _DATE.search(message.get("model", ""))
    geo = usage.get("inference_geo")
    return {
        "requested_model": asked["model"],
        "actual_model": message.get("model"),
        "model_build_date": date(*map(int, dated.groups())).isoformat() if dated else None,
        "response_id": message.get("id"),
        "provider_request_id": recording.header("request-id"),
        "organization": recording.header("anthropic-organization-id"),
        "project": recording.header("anthropic-workspace-id"),
        "deployment_region": None if geo == "not_available" else geo,
        "api_version": recording.asked_header("anthropic-version"),
        "service_tier": usage.get("service_tier"),
        "finish_reason": message.get("stop_reason"),
    }


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
    raw, usage = recording.usage, read.usage
    if not raw:
        if usage is not None:
            yield f"usage: read {usage}, and there is none"
        return
    if usage is None:
        yield f"usage: read none ({read.usage_reason}), and there is {raw}"
        return
    thinking = (raw.get("output_tokens_details") or {}).get("thinking_tokens")
    classes = {
        "input": raw["input_tokens"],
        "cache_read": raw.get("cache_read_input_tokens"),
        "cache_write": raw.get("cache_creation_input_tokens"),
        "reasoning": thinking,
        "output": raw["output_tokens"] - (thinking or 0),
    }
    for name, counted in classes.items():
        if getattr(usage, name) != counted:
            yield f"usage: {name} {getattr(usage, name)}, the vendor says {counted}"
    if usage.total != sum(raw.get(f"{name}_tokens") or 0 for name in _COUNTED):
        yield f"usage: adds up to {usage.total}, not to {raw}"


_COUNTED = "input", "cache_read_input", "cache_creation_input", "output"


def test_every_recording_reads_as_the_oracle_reads_it(wire: Path, record_property: Any) -> None:
    """Ids, model, usage, region, stop reason, outcome of every exchange."""
    exercised: Counter[str] = Counter()
    wrong = []
    for recording in recordings(wire, "anthropic"):
        exchange = recording.exchange()
        assert exchange is not None, recording.place
        read = PLUGIN.extract_forensics(exchange)
        assert read is not None
        assert exchange.claim.vendor == "Anthropic"
        exercised[exchange.claim.operation] += 1
        wrong += [f"{recording.place}: {difference}" for difference in differences(recording, read)]
        reason = recording.message.get("stop_reason")
        outcome = "error" if recording.status >= 400 else "truncated" if reason == "max_tokens" else None
        if read.outcome != outcome:
            wrong.append(f"{recording.place}: outcome {read.outcome}, expected {outcome}")
    record_property("exercised", dict(exercised))
    print(dict(exercised))
    assert not wrong, f"{len(wrong)} differences:\n" + "\n".join(wrong[:40])
    assert all(exercised[operation] >= least for operation, least in LEAST.items())


def test_every_complete_stream_is_seen_to_end(wire: Path) -> None:
    """Each recorded stream ends by its protocol, and not before its last event."""
    ended = 0
    for recording in recordings(wire, "anthropic"):
        exchange = recording.exchange()
        if exchange is None or not recording.streamed:
            continue
        end = exchange.claim.stream_end
        assert end is not None
        said = [end(event) for event in exchange.events]
        assert said[-1] in ("complete", "complete_at_eof"), recording.place
        assert "complete" not in said[:-1], recording.place
        ended += 1
    assert ended >= 15


@pytest.mark.parametrize("vendor", ["openai", "cohere", "groq", "gemini"])
def test_other_protocols_are_not_claimed(wire: Path, vendor: str) -> None:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    heads = {
        RequestHead(i["request"]["method"], i["request"]["uri"], _pairs(i["request"]["headers"]))
        for path in wire.glob(f"*/{vendor}/*")
        for i in yaml.load(path.read_bytes(), loader)["interactions"]
    }
    assert heads
    assert [head.url for head in heads if PLUGIN.claim_exchange(head)] == []
