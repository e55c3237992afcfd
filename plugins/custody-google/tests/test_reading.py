"""Claims and readings that the recordings do not show: hosts, regions, odd endings, odd bodies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from custody_google.plugin import GooglePlugin
from custody_google.streams import stream_end

from custody.plugin import Claim, Event, Forensics, RequestHead
from custody.testing import sample_exchange

PLUGIN = GooglePlugin()
GEMINI = "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash"
VERTEX = "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1/publishers/google/models/m"
SSE = (("content-type", "text/event-stream"),)


def claimed(url: str, method: str = "POST", sdk: str | None = None, *headers: tuple[str, str]) -> Claim | None:
    return PLUGIN.claim_exchange(RequestHead(method, url, headers, sdk))


def read(body: Any, url: str = f"{GEMINI}:generateContent", **more: Any) -> Forensics:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = PLUGIN.extract_forensics(sample_exchange(PLUGIN, url, body=raw, **more))
    assert found is not None
    return found


def values(found: Forensics, *names: str) -> list[Any]:
    return [found.findings[name].value for name in names]


def candidate(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": list(parts), "role": "model"}, **more}]}


HOSTS = [
    ("https://generativelanguage.googleapis.com/v1/models/m:generateContent", "Google Gemini API", None),
    ("https://generativelanguage.mtls.googleapis.com/v1/models/m:generateContent", "Google Gemini API", None),
    ("https://aiplatform.googleapis.com/v1/projects/p/locations/global/publishers/google/models/m:predict",
     "Google Vertex AI", "global"),
    ("https://europe-west4-aiplatform.googleapis.com/v1beta1/projects/p/locations/europe-west4/publishers/google/"
     "models/m:generateContent", "Google Vertex AI", "europe-west4"),
    ("https://aiplatform.eu.rep.googleapis.com/v1/projects/p/locations/eu/publishers/google/models/m:generateContent",
     "Google Vertex AI", "eu"),
    ("https://us-east1-aiplatform.mtls.googleapis.com/v1/projects/p/locations/us-east1/endpoints/12:generateContent",
     "Google Vertex AI", "us-east1"),
    ("https://gateway.example/google/v1beta/models/m:generateContent", "gateway.example", None),
    ("http://127.0.0.1:8080/models/m:streamGenerateContent?alt=sse", "127.0.0.1:8080", None),
]  # fmt: skip


@pytest.mark.parametrize(("url", "vendor", "region"), HOSTS)
def test_who_answers_and_where(url: str, vendor: str, region: str | None) -> None:
    claim = claimed(url)
    assert claim is not None and claim.vendor == vendor
    assert values(read({}, url), "deployment_region") == [region]


OPERATIONS = [
    ("POST", f"{GEMINI}:generateContent", "generate_content"),
    ("POST", f"{GEMINI}:streamGenerateContent?alt=sse", "generate_content"),
    ("POST", f"{GEMINI}:batchEmbedContents", "embeddings"),
    ("POST", f"{GEMINI}:countTokens", "count_tokens"),
    ("POST", f"{GEMINI}:batchGenerateContent", "batches"),
    ("POST", f"{GEMINI}:predictLongRunning", "video_generation"),
    ("GET", f"{GEMINI}/operations/1", "operations"),
    ("GET", GEMINI, "models"),
    ("POST", "https://generativelanguage.googleapis.com/upload/v1beta/files", "files"),
    ("GET", "https://generativelanguage.googleapis.com/download/v1beta/files/f:download?alt=media", "files"),
    ("POST", "https://generativelanguage.googleapis.com/v1beta/cachedContents", "caches"),
    ("POST", "https://generativelanguage.googleapis.com/v1beta/interactions", "interactions"),
    ("POST", VERTEX.replace("models/m", "models/imagen-4:predict"), "image_generation"),
    ("POST", VERTEX.replace("models/m", "models/text-embedding-005:predict"), "embeddings"),
    ("POST", "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/l/batchPredictionJobs", "batches"),
]


@pytest.mark.parametrize(("method", "url", "operation"), OPERATIONS)
def test_what_is_asked_for(method: str, url: str, operation: str) -> None:
    claim = claimed(url, method)
    assert claim is not None and claim.operation == operation


@pytest.mark.parametrize(
    "url",
    [
        "https://oauth2.googleapis.com/token",
        "https://sts.googleapis.com/v1/token",
        "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a:generateAccessToken",
        "https://storage.googleapis.com/v1/b/bucket/o/object",
        "https://accounts.google.com/o/oauth2/token",
        "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token",
    ],
)
@pytest.mark.parametrize("sdk", [None, "google"])
def test_tokens_and_storage_are_never_claimed(url: str, sdk: str | None) -> None:
    assert claimed(url, "POST", sdk) is None


def test_what_belongs_to_others() -> None:
    claude = VERTEX.replace("google/models/m", "anthropic/models/claude:rawPredict")
    assert claimed(claude) is None
    assert claimed(f"{GEMINI}:generateContent", "POST", "openai") is None
    assert claimed("https://generativelanguage.googleapis.com/v1beta/openai/chat/completions") is None
    assert claimed("https://example.org/v1/models/m", "GET") is None
    assert claimed("https://example.org/v1/models/m", "GET", "google") is not None


def test_who_pays_is_in_the_key_unless_it_comes_from_credentials() -> None:
    by_key = claimed(f"{GEMINI}:generateContent", "POST", None, ("x-goog-api-key", "k"))
    by_token = claimed(f"{VERTEX}:generateContent", "POST", None, ("Authorization", "Bearer t"))
    assert by_key is not None and "x-goog-user-project" not in by_key.key_ignore
    assert by_token is not None and "x-goog-user-project" in by_token.key_ignore


SAID = {"text": "Yes."}
ENDINGS = [
    (candidate(SAID, finishReason="STOP"), "STOP", None),
    (candidate(SAID, finishReason="MAX_TOKENS"), "MAX_TOKENS", "truncated"),
    (candidate(finishReason="MAX_TOKENS"), "MAX_TOKENS", "truncated"),
    (candidate(finishReason="SAFETY"), "SAFETY", "filtered"),
    (candidate(finishReason="RECITATION"), "RECITATION", "filtered"),
    (candidate(finishReason="PROHIBITED_CONTENT"), "PROHIBITED_CONTENT", "filtered"),
    (candidate(finishReason="MALFORMED_FUNCTION_CALL"), "MALFORMED_FUNCTION_CALL", "empty"),
    (candidate(finishReason="STOP"), "STOP", "empty"),
    (candidate({"text": "Hm.", "thought": True}, finishReason="STOP"), "STOP", "empty"),
    (candidate({"functionCall": {"name": "f"}}, finishReason="STOP"), "STOP", None),
    (candidate({"inlineData": {"mimeType": "image/png"}}, finishReason="STOP"), "STOP", None),
    (candidate(SAID, finishReason=2), "MAX_TOKENS", "truncated"),
    (candidate(finishReason=3), "SAFETY", "filtered"),
    (candidate(SAID, finishReason=99), None, None),
    ({"promptFeedback": {"blockReason": "SAFETY"}}, "SAFETY", "filtered"),
    ({"promptFeedback": {"blockReason": "OTHER"}}, "OTHER", "filtered"),
    ({"candidates": [{"finishReason": "STOP", **candidate(SAID)["candidates"][0]}, {"finishReason": "SAFETY"}]},
     "SAFETY,STOP", "filtered"),
    ({"error": {"code": 500}}, None, "error"),
    (b"<html>Welcome to this network</html>", None, "error"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "reason", "outcome"), ENDINGS)
def test_how_it_ended(body: Any, reason: str | None, outcome: str | None) -> None:
    found = read(body)
    assert (found.findings["finish_reason"].value, found.outcome) == (reason, outcome)


def test_counts_are_disjoint_and_add_up() -> None:
    usage = {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 60,
        "toolUsePromptTokenCount": 5,
        "candidatesTokenCount": 7,
        "thoughtsTokenCount": 11,
        "totalTokenCount": 123,
    }
    found = read({**candidate(SAID, finishReason="STOP"), "usageMetadata": usage}).usage
    assert found is not None
    assert (found.input, found.cache_read, found.output, found.reasoning, found.total) == (45, 60, 7, 11, 123)
    assert found.raw == usage


def test_what_the_total_says_is_not_invented() -> None:
    """Nothing was said: the count is left out, and the total leaves no room for it."""
    silent = read({"usageMetadata": {"promptTokenCount": 9, "thoughtsTokenCount": 5, "totalTokenCount": 14}}).usage
    unsure = read({"usageMetadata": {"promptTokenCount": 9}}).usage
    absurd = read({"usageMetadata": {"promptTokenCount": 9, "cachedContentTokenCount": 10, "totalTokenCount": 8}}).usage
    assert silent is not None and (silent.input, silent.output) == (9, 0)
    assert unsure is not None and (unsure.input, unsure.output) == (9, None)
    assert absurd is not None and (absurd.input, absurd.cache_read, absurd.output) == (9, None, None)


def test_embeddings_on_vertex_count_their_inputs() -> None:
    rows = [{"embeddings": {"values": [0.1], "statistics": {"token_count": n}}} for n in (3, 4)]
    url = VERTEX.replace("models/m", "models/text-embedding-005:predict")
    found = read({"predictions": rows}, url)
    assert found.usage is not None and (found.usage.input, found.usage.output) == (7, None)
    unsaid = read({"predictions": [*rows, {"embeddings": {"values": [0.1]}}]}, url)
    assert (unsaid.usage, unsaid.usage_reason) == (None, "not_stated")


def test_a_stream_as_one_json_array() -> None:
    first = {**candidate({"text": "Ye"}), "modelVersion": "m-1", "responseId": "r"}
    last = {
        **candidate({"text": "s."}, finishReason=1),
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3, "trafficType": 2},
    }
    found = read([first, last], f"{VERTEX}:streamGenerateContent")
    assert values(found, "actual_model", "response_id", "finish_reason", "service_tier", "api_version") == [
        "m-1", "r", "STOP", "PROVISIONED_THROUGHPUT", "v1",
    ]  # fmt: skip
    assert found.findings["service_tier"].evidence.startswith("derived:")
    assert found.usage is not None and found.usage.total == 3


def test_a_stream_that_was_left_has_no_counts_that_it_did_not_state() -> None:
    early = {**candidate({"text": "Ye"}), "usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4}}
    body = f"data: {json.dumps(early)}\r\n\r\n".encode()
    found = read(body, f"{GEMINI}:streamGenerateContent", headers=SSE, ending="closed_early")
    assert found.usage is not None and (found.usage.input, found.usage.output) == (4, None)
    assert found.findings["finish_reason"].evidence == "unknown:response_incomplete"


def test_parameters_without_text() -> None:
    request = {
        "contents": [{"parts": [{"text": "A secret question."}]}],
        "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]},
        "generationConfig": {"temperature": 0, "maxOutputTokens": 9, "thinkingConfig": {"thinkingBudget": 0}},
        "tools": [{}, {}],
        "serviceTier": "flex",
    }
    found = read({}, request=request)
    assert found.parameters == {
        "generationConfig.temperature": 0,
        "generationConfig.maxOutputTokens": 9,
        "generationConfig.thinkingConfig.thinkingBudget": 0,
        "serviceTier": "flex",
        "system_prompt_chars": 17,
        "contents": 1,
        "tools": 2,
    }
    assert values(found, "service_tier_requested", "requested_model") == ["flex", "gemini-2.5-flash"]


STREAM_ENDS = [
    (candidate(SAID), "", None),
    (candidate(SAID, finishReason="STOP"), "", "complete_at_eof"),
    ({"promptFeedback": {"blockReason": "SAFETY"}}, "", "complete_at_eof"),
    ({"error": {"code": 503}}, "", "error"),
    ({"event_type": "interaction.completed"}, "interaction.completed", "complete_at_eof"),
    ({"event_type": "step.delta", "delta": {"text": "finishReason"}}, "step.delta", None),
]


@pytest.mark.parametrize(("data", "name", "end"), STREAM_ENDS)
def test_what_an_event_says_of_the_end(data: Any, name: str, end: str | None) -> None:
    assert stream_end(Event(name, json.dumps(data))) == end


def test_the_end_is_said_in_words() -> None:
    assert stream_end(Event("done", "[DONE]")) == "complete"
    assert stream_end(Event("", "no JSON")) is None
