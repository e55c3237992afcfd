"""What Mistral really sent, read by the plugin and by an oracle that shares no code with it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from custody_mistral.plugin import MistralPlugin

from custody.plugin import Chunk, Exchange, RequestHead, ResponseHead
from custody.redact import response_headers

PLUGIN = MistralPlugin()
RECORDINGS = 24


class Recording:
    """One exchange of a cassette, raw, with the oracle's view of it."""

    def __init__(self, place: str, interaction: dict[str, Any]) -> None:
        request, response = interaction["request"], interaction["response"]
        self.place, self.method, self.url = place, request["method"], request["uri"]
        self.asked = json.loads(request["body"])
        self.sent = _pairs(request["headers"])
        self.status, self.headers = response["status"]["code"], _pairs(response["headers"])
        data = response["body"]["string"]
        self.raw = data if isinstance(data, bytes) else data.encode()
        text = (gzip.decompress(self.raw) if self.raw[:2] == b"\x1f\x8b" else self.raw).decode()
        self.streamed = text.startswith("data:")
        lines = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
        self.documents = [json.loads(one) for one in (lines if self.streamed else [text])]

    def header(self, name: str) -> str | None:
        return next((v for k, v in self.headers if k.lower() == name), None)

    @property
    def usage(self) -> dict[str, Any]:
        return [document["usage"] for document in self.documents if document.get("usage")][-1]  # type: ignore[no-any-return]

    @property
    def expected(self) -> dict[str, Any]:
        reasons = [c.get("finish_reason") for d in self.documents for c in d.get("choices", [])]
        return {
            "requested_model": self.asked["model"],
            "actual_model": self.documents[-1]["model"],
            "model_build_date": None,
            "api_version": "v1",
            "deployment_region": None,
            "provider_request_id": self.header("mistral-correlation-id") or self.header("x-kong-request-id"),
            "response_id": self.documents[-1]["id"],
            "finish_reason": next((reason for reason in reasons if reason), None),
        }

    def exchange(self) -> Exchange:
        request = RequestHead(self.method, self.url, self.sent)
        claim = PLUGIN.claim_exchange(request)
        assert claim is not None, self.url
        made = Exchange("c.1", request, json.dumps(self.asked).encode(), claim, "vcr", datetime.now(UTC))
        made.head = ResponseHead(self.status, "", "HTTP/1.1", self.headers)
        half = len(self.raw) // 2
        made.chunks = [Chunk(1.0, self.raw[:half]), Chunk(2.0, self.raw[half:])]
        made.ending, made.streamed = "complete", self.streamed
        return made


def _pairs(headers: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((k, str(v)) for k, vs in headers.items() for v in (vs if isinstance(vs, list) else [vs]))


@pytest.fixture
def recordings(wire: Path) -> list[Recording]:
    def every() -> Iterator[Recording]:
        for path in sorted(wire.glob("*/mistral/*")):
            for number, one in enumerate(yaml.load(path.read_bytes(), yaml.CSafeLoader)["interactions"]):
                yield Recording(f"{path.name}#{number}", one)

    return list(every())


def test_every_recording_reads_as_the_oracle_reads_it(recordings: list[Recording]) -> None:
    assert len(recordings) == RECORDINGS
    for recording in recordings:
        read = PLUGIN.extract_forensics(recording.exchange())
        assert read is not None
        got = {name: read.findings[name].value for name in recording.expected}
        assert got == recording.expected, recording.place
        for finding in read.findings.values():
            place, _, name = finding.evidence.partition(":")
            assert (finding.value is None) == (place == "unknown")
            assert place != "response_header" or response_headers(((name, ""),)), f"{name} is not stored"
        raw, usage = recording.usage, read.usage
        assert usage is not None
        cached = (raw.get("prompt_tokens_details") or {}).get("cached_tokens")
        assert usage.cache_read == cached
        assert usage.input == raw["prompt_tokens"] - (cached or 0)
        assert (usage.output, usage.total) == (raw["completion_tokens"], raw["total_tokens"])
        assert read.outcome is None


def test_every_stream_is_seen_to_end(recordings: list[Recording]) -> None:
    streams = [recording.exchange() for recording in recordings if recording.streamed]
    assert len(streams) == 11
    for exchange in streams:
        assert exchange.claim.stream_end is not None
        said = [exchange.claim.stream_end(event) for event in exchange.events]
        assert said[-2:] == ["complete_at_eof", "complete"]
        assert set(said[:-2]) == {None}


@pytest.mark.parametrize("vendor", ["anthropic", "cohere", "gemini", "bedrock", "openai", "groq", "azure-openai"])
def test_others_are_not_claimed(wire: Path, vendor: str) -> None:
    for path in sorted(wire.glob(f"*/{vendor}/*"))[:20]:
        for one in yaml.load(path.read_bytes(), yaml.CSafeLoader)["interactions"]:
            request = one["request"]
            assert PLUGIN.claim_exchange(RequestHead(request["method"], request["uri"], ())) is None
