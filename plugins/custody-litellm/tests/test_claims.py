"""What the plugin claims inside a call of litellm's, and what it leaves alone."""

from __future__ import annotations

import pytest
from custody_litellm.plugin import LitellmPlugin

from custody.plugin import RequestHead

JSON = (("content-type", "application/json"),)
FORM = (("content-type", "application/x-www-form-urlencoded"),)

OPERATIONS = {
    "https://models.example/v1/chat/completions": "chat",
    "https://models.example/v1/messages": "chat",
    "https://models.example/v1beta/models/g:streamGenerateContent?alt=sse": "chat",
    "https://models.example/model/a.b-v1:0/converse-stream": "chat",
    "https://models.example/model/a.b-v1:0/invoke": "chat",
    "https://models.example/api/chat": "chat",
    "https://models.example/v2/chat": "chat",
    "https://models.example/ml/v1/text/chat?version=2024-03-13": "chat",
    "https://models.example/v1/responses": "responses",
    "https://models.example/v1/embeddings": "embeddings",
    "https://models.example/v2/embed": "embeddings",
    "https://models.example/v1beta/models/g:batchEmbedContents": "embeddings",
    "https://models.example/v1/rerank": "rerank",
    "https://models.example/v1/images/generations": "image_generation",
    "https://models.example/v1/audio/transcriptions": "audio",
    "https://models.example/v1/ocr": "ocr",
    "https://models.example/v1/completions": "text_completion",
    "https://models.example/api/generate": "text_completion",
    "https://models.example/v1/models/o/m/predictions": "other",
    "https://models.example/v1/projects/p/locations/l/publishers/google/models/i:predict": "other",
}

LEFT_ALONE = [
    ("POST", "https://oauth2.googleapis.com/token", JSON),
    ("POST", "https://login.microsoftonline.com/t/oauth2/v2.0/token", FORM),
    ("POST", "https://models.example/v1/chat/completions", FORM),
    ("POST", "https://iam.cloud.ibm.com/identity/token", JSON),
    ("POST", "https://sts.us-east-1.amazonaws.com/", JSON),
    ("GET", "http://metadata.google.internal/computeMetadata/v1/project", ()),
    ("GET", "https://models.example/v1/models", ()),
    ("POST", "https://observer.example/api/public/ingestion", JSON),
    ("POST", "https://observer.example/v1/traces", JSON),
    ("POST", "https://hooks.slack.com/services/x", JSON),
    ("POST", "http://127.0.0.1:11434/api/show", JSON),
    ("PUT", "https://models.example/v1/chat/completions", JSON),
]


@pytest.mark.parametrize(("url", "operation"), OPERATIONS.items())
def test_questions_to_a_model_are_claimed(url: str, operation: str) -> None:
    claim = LitellmPlugin().claim_exchange(RequestHead("POST", url, JSON, through="litellm"))
    assert claim is not None
    assert (claim.plugin, claim.vendor, claim.operation) == ("litellm", "models.example", operation)


@pytest.mark.parametrize(("method", "url", "headers"), LEFT_ALONE)
def test_everything_else_is_left_alone(method: str, url: str, headers: tuple[tuple[str, str], ...]) -> None:
    assert LitellmPlugin().claim_exchange(RequestHead(method, url, headers, through="litellm")) is None


@pytest.mark.parametrize("url", OPERATIONS)
def test_nothing_is_claimed_outside_of_a_call(url: str) -> None:
    assert LitellmPlugin().claim_exchange(RequestHead("POST", url, JSON)) is None
    assert LitellmPlugin().claim_exchange(RequestHead("POST", url, JSON, sdk="openai")) is None
    assert LitellmPlugin().claim_exchange(RequestHead("POST", url, JSON, through="another")) is None


def test_an_answer_that_is_fetched_later_is_claimed() -> None:
    url = "https://models.example/v1/predictions/p-1"
    assert LitellmPlugin().claim_exchange(RequestHead("GET", url, (), through="litellm")) is not None
