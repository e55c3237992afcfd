"""What vendors of OpenAI's protocol really sent, read by the plugin and by an oracle that shares no code with it."""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from custody_openai.plugin import OpenAIPlugin

from custody.plugin import Chunk, Exchange, Forensics, RequestHead, ResponseHead
from custody.redact import response_headers

PLUGIN = OpenAIPlugin()

# Fewer than were exercised when this was written, so that the test cannot quietly do nothing.
LEAST = {"OpenAI": 890, "Azure OpenAI": 79, "Groq": 14, "DeepSeek": 3, "Together": 10, "Mistral": 24, "Voyage AI": 4}

_DATE = re.compile(r"(?<!\d)(\d{4})-(\d{2})-(\d{2})(?!\d)|(?<!\d)(20\d{2})(\d{2})(\d{2})(?!\d)")


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
        self.text = plain.decode("utf-8", "replace")
        if self.header("content-type") is None and plain.startswith((b"data:", b"event:")):
            # Some sources had dropped the response headers; without this one nothing is a stream.
            self.headers = (*self.headers, ("content-type", "text/event-stream"))
        self.streamed = "event-stream" in self.header("content-type", "")
        self.documents = list(self._documents())

    def _documents(self) -> Iterator[dict[str, Any]]:
        lines = self.text.splitlines() if self.streamed else []
        texts = [line[5:] for line in lines if line.startswith("data:")] if self.streamed else [self.text]
        for text in texts:
            try:
                value = json.loads(text)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield value.get("response", value) if self.streamed else value

    def header(self, name: str, otherwise: Any = None) -> Any:
        return next((v for k, v in self.headers if k.lower() == name), otherwise)

    def last(self, name: str) -> Any:
        """The last value of a top-level field that is neither null nor empty."""
        return next((d[name] for d in reversed(self.documents) if d.get(name) not in (None, "")), None)

    @property
    def usage(self) -> dict[str, Any]:
        extra = [d["x_groq"]["usage"] for d in self.documents if (d.get("x_groq") or {}).get("usage")]
        return self.last("usage") or (extra[-1] if extra else {})

    @property
    def finish(self) -> str | None:
        reasons = {c.get("finish_reason") for d in self.documents for c in d.get("choices") or []} - {None}
        if reasons:
            return ",".join(sorted(reasons))
        if self.last("object") != "response":
            return None
        details = self.last("incomplete_details")
        return details["reason"] if details else self.last("status")

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
    yield from usage_differences(recording.usage, read)


def expectations(recording: Recording) -> dict[str, Any]:
    asked = json.loads(recording.asked) if recording.asked[:1] == b"{" else {}
    url = urlsplit(recording.url)
    deployment = re.search(r"/deployments/([^/]+)/", url.path)
    model = recording.last("model")
    dated = _DATE.search(model or "")
    version = parse_qs(url.query).get("api-version") or [recording.header("openai-version")]
    path_version = re.search(r"/(v\d+)/", url.path)
    processing = recording.header("openai-processing-ms")
    return {
        "requested_model": deployment[1] if deployment else asked.get("model"),
        "actual_model": model,
        "model_build_date": date(*(int(p) for p in dated.groups() if p)).isoformat() if dated else None,
        "response_id": recording.last("id"),
        "provider_request_id": recording.header("apim-request-id")
        or recording.header("x-request-id")
        or recording.header("x-ds-trace-id"),
        "organization": recording.header("openai-organization"),
        "project": recording.header("openai-project"),
        "vendor_processing_ms": None if processing is None else float(processing),
        "deployment_region": recording.header("x-ms-region") or recording.header("x-groq-region"),
        "api_version": version[0] or (path_version[1] if path_version else None),
        "system_fingerprint": recording.last("system_fingerprint"),
        "service_tier": recording.last("service_tier"),
        "finish_reason": recording.finish,
    }


def usage_differences(raw: dict[str, Any], read: Forensics) -> Iterator[str]:
    if not raw:
        if read.usage is not None:
            yield f"usage: read {read.usage}, and there is none"
        return
    if read.usage is None:
        yield f"usage: read none ({read.usage_reason}), and there is {raw}"
        return
    usage = read.usage
    given = raw.get("prompt_tokens", raw.get("input_tokens"))
    made = raw.get("completion_tokens", raw.get("output_tokens"))
    if given is None and made is None:
        given = raw["total_tokens"]
    total = raw.get("total_tokens", (given or 0) + (made or 0))
    if usage.total != total:
        yield f"usage: adds up to {usage.total}, the vendor says {total}"
    if (usage.input or 0) + (usage.cache_read or 0) + (usage.cache_write or 0) != (given or 0):
        yield f"usage: input classes {usage} against {given}"
    if (usage.output or 0) + (usage.reasoning or 0) != (made or 0):
        yield f"usage: output classes {usage} against {made}"
    stated = re.search(r'"cached_tokens": (\d+)', json.dumps(raw))
    if usage.cache_read != (int(stated[1]) if stated else None):
        yield f"usage: cache_read {usage.cache_read}, stated {stated and stated[0]}"
    stated = re.search(r'"reasoning_tokens": (\d+)', json.dumps(raw))
    if usage.reasoning != (int(stated[1]) if stated else None):
        yield f"usage: reasoning {usage.reasoning}, stated {stated and stated[0]}"


def test_every_recording_reads_as_the_oracle_reads_it(wire: Path, record_property: Any) -> None:
    """Ids, model, usage, region, finish reason of every exchange that the plugin claims."""
    exercised: Counter[str] = Counter()
    wrong = []
    for recording in recordings(wire, "openai", "azure-openai", "groq", "deepseek", "together", "mistral", "voyage"):
        exchange = recording.exchange()
        if exchange is None:
            continue
        read = PLUGIN.extract_forensics(exchange)
        assert read is not None
        exercised[exchange.claim.vendor] += 1
        wrong += [f"{recording.place}: {difference}" for difference in differences(recording, read)]
        if recording.status >= 400 and read.outcome is not None:
            wrong.append(f"{recording.place}: outcome {read.outcome} for status {recording.status}")
    record_property("exercised", dict(exercised))
    print(dict(exercised))
    assert not wrong, f"{len(wrong)} differences:\n" + "\n".join(wrong[:40])
    assert {vendor: exercised[vendor] >= least for vendor, least in LEAST.items()} == dict.fromkeys(LEAST, True)


def test_every_complete_stream_is_seen_to_end(wire: Path) -> None:
    """Each recorded stream ends by its protocol, and not before its last event."""
    ended = 0
    for recording in recordings(wire, "openai", "azure-openai", "groq", "deepseek", "together"):
        exchange = recording.exchange()
        if exchange is None or not recording.streamed or recording.status != 200:
            continue
        end = exchange.claim.stream_end
        if end is None:  # assistants' runs: not replayed as streams
            continue
        said = [end(event) for event in exchange.events]
        assert said[-1] in ("complete", "complete_at_eof"), recording.place
        assert "complete" not in said[:-1], recording.place
        ended += 1
    assert ended >= 100


@pytest.mark.parametrize("vendor", ["anthropic", "cohere", "gemini", "bedrock"])
def test_other_protocols_are_not_claimed(wire: Path, vendor: str) -> None:
    urls = {(r.method, r.url, r.sent) for r in recordings(wire, vendor)}
    assert urls
    claimed = [url for method, url, sent in urls if PLUGIN.claim_exchange(RequestHead(method, url, sent))]
    assert claimed == []
