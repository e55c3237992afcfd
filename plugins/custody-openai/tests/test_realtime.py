"""The Realtime API's conversations: whose they are, and what is read from their frames."""

from __future__ import annotations

import json
from typing import Any

import pytest
from custody_openai.plugin import OpenAIPlugin

from custody.exchange import Chunk, Exchange, RequestHead, ResponseHead
from custody.testing.samples import manager_of, sample_exchange

URL = "wss://api.openai.com/v1/realtime?model=gpt-realtime"
USAGE = {"input_tokens": 10, "output_tokens": 4, "input_token_details": {"cached_tokens": 3, "text_tokens": 10}}


def conversation(*events: Any, url: str = URL) -> Exchange:
    exchange = sample_exchange(OpenAIPlugin(), url, method="GET", status=101, headers=())
    frames = [f"received text\n{json.dumps(event)}".encode() for event in events]
    exchange.head = ResponseHead(101, "Switching Protocols", "HTTP/1.1", (("x-request-id", "req_1"),))
    exchange.chunks = [Chunk(float(n), frame) for n, frame in enumerate(frames)]
    return exchange


def read(exchange: Exchange) -> Any:
    (found,) = manager_of(OpenAIPlugin()).extract_forensics(exchange)
    return found


@pytest.mark.parametrize(
    ("url", "vendor"),
    [
        (URL, "OpenAI"),
        ("wss://r.openai.azure.com/openai/realtime?deployment=d&api-version=2025-01-01", "Azure OpenAI"),
        ("ws://127.0.0.1:8000/v1/realtime", "127.0.0.1:8000"),
    ],
)
def test_claims(url: str, vendor: str) -> None:
    claim = manager_of(OpenAIPlugin()).claim_exchange(RequestHead("GET", url, ()))
    assert claim is not None and (claim.operation, claim.vendor) == ("realtime", vendor)


def test_does_not_claim_other_websockets() -> None:
    for url in ("wss://example.org/chat", "wss://api.openai.com/v1/chat/completions"):
        assert manager_of(OpenAIPlugin()).claim_exchange(RequestHead("GET", url, ())) is None


def test_reads_model_and_adds_up_usage() -> None:
    found = read(
        conversation(
            {"type": "session.created", "session": {"id": "sess_1", "model": "gpt-realtime-2025-08-28"}},
            {"type": "response.done", "response": {"status": "completed", "usage": USAGE}},
            {"type": "response.done", "response": {"status": "incomplete", "usage": USAGE}},
        )
    )
    values = {name: finding.value for name, finding in found.findings.items()}
    assert (values["requested_model"], values["actual_model"]) == ("gpt-realtime", "gpt-realtime-2025-08-28")
    assert (values["model_build_date"], values["response_id"]) == ("2025-08-28", "sess_1")
    assert (values["provider_request_id"], values["finish_reason"]) == ("req_1", "completed,incomplete")
    assert (found.usage.input, found.usage.cache_read, found.usage.output, found.usage.total) == (14, 6, 8, 28)
    assert found.findings["service_tier"].evidence == "unknown:not_stated"


@pytest.mark.parametrize(
    "event",
    [None, [], "x", {}, {"type": "response.done"}, {"type": "response.done", "response": {"usage": 5, "status": 1}},
     {"type": "session.created", "session": {"model": 5}}],
)  # fmt: skip
def test_frames_of_any_form(event: Any) -> None:
    found = read(conversation(event))
    assert found.usage is None
    assert found.findings["actual_model"].value is None
