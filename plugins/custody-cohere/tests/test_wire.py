"""What Cohere really sent, read by the plugin and by an oracle that shares no code with it."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from custody_cohere.plugin import CoherePlugin

from custody.plugin import Chunk, Exchange, RequestHead, ResponseHead
from custody.redact import response_headers

PLUGIN = CoherePlugin()
RECORDINGS = {"/v1/chat": 23, "/v2/chat": 18, "/v1/generate": 1, "/v2/embed": 2, "/v1/rerank": 1, "/v2/rerank": 3}


class Recording:
    """One exchange of a cassette, raw, with the oracle's view of it."""

    def __init__(self, place: str, interaction: dict[str, Any]) -> None:
        request, response = interaction["request"], interaction["response"]
        self.place, self.method, self.url = place, request["method"], request["uri"]
        self.path = urlsplit(self.url).path
        self.asked = json.loads(request["body"])
        self.sent = _pairs(request["headers"])
        self.status, self.headers = response["status"]["code"], _pairs(response["headers"])
        data = response["body"]["string"]
        self.raw = data if isinstance(data, bytes) else data.encode()
        self.text = (gzip.decompress(self.raw) if self.raw[:2] == b"\x1f\x8b" else self.raw).decode()
        self.kind = (self.header("content-type") or "").split(";")[0]
        self.streamed = self.kind in ("text/event-stream", "application/stream+json")

    def header(self, name: str) -> str | None:
        return next((v for k, v in self.headers if k.lower() == name), None)

    @property
    def answer(self) -> dict[str, Any]:
        if self.kind == "application/stream+json":
            return json.loads(self.text.splitlines()[-1])["response"]  # type: ignore[no-any-return]
        if self.kind == "text/event-stream":
            told = [json.loads(line[6:]) for line in self.text.splitlines() if line.startswith("data: {")]
            assert (told[0]["type"], told[-1]["type"]) == ("message-start", "message-end")
            return {"id": told[0]["id"], **told[-1]["delta"]}
        return json.loads(self.text)  # type: ignore[no-any-return]

    @property
    def expected(self) -> dict[str, Any]:
        answer = self.answer
        generated = answer.get("generations", [{}])[0].get("finish_reason")
        return {
            "requested_model": self.asked.get("model"),
            "actual_model": None,
            "api_version": self.path[1:3],
            "provider_request_id": self.header("x-debug-trace-id"),
            "response_id": answer.get("response_id") or answer["id"],
            "finish_reason": answer.get("finish_reason", generated),
        }

    @property
    def tokens(self) -> tuple[int | None, int | None] | None:
        counted = self.answer.get("usage") or self.answer.get("meta")
        if not counted:
            return None
        part = counted.get("tokens") or counted["billed_units"]
        return part.get("input_tokens"), part.get("output_tokens")

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
        for path in sorted(wire.glob("*/cohere/*")):
            for number, one in enumerate(yaml.load(path.read_bytes(), yaml.CSafeLoader)["interactions"]):
                yield Recording(f"{path.name}#{number}", one)

    return list(every())


def test_every_recording_reads_as_the_oracle_reads_it(recordings: list[Recording]) -> None:
    assert Counter(recording.path for recording in recordings) == RECORDINGS
    for recording in recordings:
        read = PLUGIN.extract_forensics(recording.exchange())
        assert read is not None
        got = {name: read.findings[name].value for name in recording.expected}
        assert got == recording.expected, recording.place
        for finding in read.findings.values():
            place, _, name = finding.evidence.partition(":")
            assert (finding.value is None) == (place == "unknown")
            assert place != "response_header" or response_headers(((name, ""),)), f"{name} is not stored"
        if recording.tokens is None:
            assert read.usage is None
        else:
            assert read.usage is not None
            whole = None if read.usage.input is None else read.usage.input + (read.usage.cache_read or 0)
            assert (whole, read.usage.output) == recording.tokens, recording.place
            assert read.usage.cache_read == (recording.answer.get("usage") or recording.answer["meta"]).get(
                "cached_tokens"
            )
        assert read.outcome is None, recording.place


def test_every_stream_is_seen_to_end(recordings: list[Recording]) -> None:
    seen: Counter[str] = Counter()
    for recording in recordings:
        if not recording.streamed:
            continue
        exchange = recording.exchange()
        assert exchange.claim.stream_end is not None
        said = [exchange.claim.stream_end(event) for event in exchange.events]
        last: list[Any] = ["complete_at_eof", "complete"] if recording.kind == "text/event-stream" else ["complete"]
        assert said[-len(last) :] == last, recording.place
        assert set(said[: -len(last)]) == {None}
        seen[recording.kind] += 1
    assert seen == {"text/event-stream": 10, "application/stream+json": 2}


@pytest.mark.parametrize("vendor", ["anthropic", "mistral", "gemini", "bedrock", "openai", "voyage", "azure-openai"])
def test_others_are_not_claimed(wire: Path, vendor: str) -> None:
    for path in sorted(wire.glob(f"*/{vendor}/*"))[:20]:
        for one in yaml.load(path.read_bytes(), yaml.CSafeLoader)["interactions"]:
            request = one["request"]
            assert PLUGIN.claim_exchange(RequestHead(request["method"], request["uri"], ())) is None
