"""Mistral: OpenAI's bodies with headers of its own."""

from __future__ import annotations

from wireplay.oracle import openai
from wireplay.oracle.expected import Asked, Expected
from wireplay.recordings import Recorded


def expect(recorded: Recorded, asked: Asked) -> Expected:
    expected = openai.expect(recorded, asked)
    expected.fields["provider_request_id"] = recorded.header("mistral-correlation-id") or recorded.header(
        "x-kong-request-id"
    )
    return expected
