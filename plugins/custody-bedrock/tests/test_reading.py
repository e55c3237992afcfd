"""What an address, an event and an answer say, case by case."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from custody_bedrock import address, streams
from custody_bedrock.plugin import BedrockPlugin

from custody.plugin import Chunk, Event, Exchange, Forensics, RequestHead, ResponseHead

PLUGIN = BedrockPlugin()
HOST = "https://bedrock-runtime.eu-central-1.amazonaws.com"
METRICS = {"inputTokenCount": 7, "outputTokenCount": 5, "invocationLatency": 300, "firstByteLatency": 100}


def head(path: str, host: str = HOST, **sent: str) -> RequestHead:
    return RequestHead("POST", host + path, tuple(sent.items()))


def frame(name: str, payload: Any, kind: str = "event") -> bytes:
    headers = b""
    for key, value in ((f":{kind}-type", name), (":content-type", "application/json"), (":message-type", kind)):
        headers += bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
    body = json.dumps(payload).encode()
    start = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    whole = start + struct.pack(">I", zlib.crc32(start)) + headers + body
    return whole + struct.pack(">I", zlib.crc32(whole))


def chunk(event: Any) -> bytes:
    return frame("chunk", {"bytes": base64.b64encode(json.dumps(event).encode()).decode(), "p": "abc"})


def read(model: str, verb: str, body: bytes, *, asked: Any = None, headers: Any = (), status: int = 200) -> Forensics:
    kind = "application/vnd.amazon.eventstream" if "stream" in verb else "application/json"
    request = head(f"/model/{model}/{verb}")
    claim = PLUGIN.claim_exchange(request)
    assert claim is not None
    made = Exchange("c.1", request, json.dumps(asked or {}).encode(), claim, "test", datetime.now(UTC))
    made.head = ResponseHead(status, "", "HTTP/1.1", (("content-type", kind), *headers))
    made.chunks, made.ending = [Chunk(1.0, body)], "complete"
    found = PLUGIN.extract_forensics(made)
    assert found is not None
    return found


# -- addresses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "operation", "model"),
    [
        ("/model/amazon.nova-micro-v1%3A0/converse", "chat", "amazon.nova-micro-v1:0"),
        ("/model/amazon.nova-micro-v1:0/converse-stream", "chat", "amazon.nova-micro-v1:0"),
        ("/model/anthropic.claude-v2/invoke", "text_completion", "anthropic.claude-v2"),
        ("/model/amazon.titan-embed-text-v2%3A0/invoke", "embeddings", "amazon.titan-embed-text-v2:0"),
        ("/model/cohere.rerank-v3-5%3A0/invoke", "rerank", "cohere.rerank-v3-5:0"),
        ("/model/amazon.nova-canvas-v1%3A0/invoke", "image_generation", "amazon.nova-canvas-v1:0"),
        ("/model/us.meta.llama3-3-70b-instruct-v1%3A0/invoke", "text_completion", "us.meta.llama3-3-70b-instruct-v1:0"),
        ("/model/anthropic.claude-3-haiku-20240307-v1%3A0/count-tokens", "count_tokens", None),
        ("/gateway/model/amazon.nova-micro-v1%3A0/converse", "chat", "amazon.nova-micro-v1:0"),
        ("/guardrail/g1/version/DRAFT/apply", "apply_guardrail", ""),
        ("/async-invoke", "async_invoke", ""),
        (
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fabc/invoke",
            "invoke",
            "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc",
        ),
    ],
)
def test_an_address_says_operation_and_model(path: str, operation: str, model: str | None) -> None:
    found = address.of(head(path))
    assert found is not None
    assert found.operation == operation
    assert model is None or found.model == model


@pytest.mark.parametrize(
    "path", ["/", "/model/x/evaluate", "/models/x/converse", "/model//converse", "/foundation-models"]
)
def test_other_paths_are_not_claimed(path: str) -> None:
    assert PLUGIN.claim_exchange(head(path)) is None


@pytest.mark.parametrize(
    ("host", "vendor"),
    [
        ("https://bedrock-runtime.us-east-1.amazonaws.com", "Amazon Bedrock"),
        ("https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "Amazon Bedrock"),
        ("https://vpce-0a-1b.bedrock-runtime.us-east-1.vpce.amazonaws.com", "Amazon Bedrock"),
        ("https://bedrock-runtime.eu-west-1.api.aws", "Amazon Bedrock"),
        ("https://bedrock-runtime.cn-north-1.amazonaws.com.cn", "Amazon Bedrock"),
        ("https://bedrock-runtime.us-east-1.amazonaws.com.example.org", None),
        ("https://gateway.example", None),
        ("https://bedrock.us-east-1.amazonaws.com", None),
    ],
)
def test_hosts(host: str, vendor: str | None) -> None:
    """Without boto3 only AWS's own; with it any, named by itself."""
    path = "/model/amazon.nova-micro-v1%3A0/converse"
    claim = PLUGIN.claim_exchange(head(path, host))
    assert (claim.vendor if claim else None) == vendor
    inside = PLUGIN.claim_exchange(RequestHead("POST", host + path, (), sdk="bedrock"))
    assert inside is not None
    assert inside.vendor == vendor or inside.vendor == host.removeprefix("https://")
    assert PLUGIN.claim_exchange(RequestHead("POST", host + path, (), sdk="anthropic")) is None


@pytest.mark.parametrize(
    ("model", "actual", "region"),
    [
        ("amazon.nova-micro-v1:0", "amazon.nova-micro-v1:0", "eu-central-1"),
        ("eu.amazon.nova-micro-v1:0", "amazon.nova-micro-v1:0", "eu"),
        ("apac.anthropic.claude-sonnet-4-20250514-v1:0", "anthropic.claude-sonnet-4-20250514-v1:0", "apac"),
        ("global.anthropic.claude-x-v1:0", "anthropic.claude-x-v1:0", "global"),
        ("us-gov.anthropic.claude-x-v1:0", "anthropic.claude-x-v1:0", "us-gov"),
        (
            "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-micro-v1:0",
            "amazon.nova-micro-v1:0",
            "eu-central-1",
        ),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/us.amazon.nova-x-v1:0", "amazon.nova-x-v1:0", "us"),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", None, None),
        ("arn:aws:bedrock:us-east-1:1:provisioned-model/abc", None, "eu-central-1"),
        ("arn:aws:bedrock:us-east-1:1:imported-model/abc", None, "eu-central-1"),
        ("arn:aws:sagemaker:us-east-1:1:endpoint/abc", None, "eu-central-1"),
        ("a-prompt-id", None, "eu-central-1"),
    ],
)
def test_models_and_regions(model: str, actual: str | None, region: str | None) -> None:
    assert address.served(model).value == actual
    assert address.region(head("/"), model).value == region


# -- ends of streams -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (Event("messageStart", "{}"), None),
        (Event("messageStop", '{"stopReason":"end_turn"}'), None),
        (Event("metadata", '{"usage":{}}'), "complete"),
        (Event("throttlingException", '{"message":"wait"}'), "error"),
        (Event("modelStreamErrorException", "{}"), "error"),
        (Event("InternalFailure", "oops"), "error"),
        (Event("initial-response", "{}"), None),
        (Event("chunk", "not JSON"), None),
        (Event("chunk", '{"bytes":"%%%"}'), None),
        (Event("chunk", '{"bytes":5}'), None),
        (Event("", "{}"), None),
    ],
)
def test_an_event_says_whether_it_is_the_last(event: Event, said: str | None) -> None:
    assert streams.end(event) == said


@pytest.mark.parametrize(
    ("inner", "said"),
    [
        ({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, None),
        ({"type": "message_stop"}, "complete"),
        ({"generation": "x", "amazon-bedrock-invocationMetrics": METRICS}, "complete"),
        ({"outputText": "Input blocked", "totalOutputTextTokenCount": 3}, "complete_at_eof"),
        ({"messageStop": {"stopReason": "end_turn"}}, "complete_at_eof"),
        ({"generation": "x", "stop_reason": None}, None),
        ({"outputText": "x"}, None),
    ],
)
def test_a_chunk_says_whether_it_is_the_last(inner: Any, said: str | None) -> None:
    data = json.dumps({"bytes": base64.b64encode(json.dumps(inner).encode()).decode()})
    assert streams.end(Event("chunk", data)) == said


# -- answers -----------------------------------------------------------------------------------------------

STREAMS: dict[str, tuple[list[Any], str]] = {
    "meta.llama3-x": (
        [{"generation": "a", "stop_reason": None}, {"generation": "b", "stop_reason": "length"}],
        "truncated",
    ),
    "amazon.titan-text-x": ([{"outputText": "a"}, {"outputText": "b", "completionReason": "LENGTH"}], "truncated"),
    "mistral.mistral-x": ([{"outputs": [{"text": "a", "stop_reason": "length"}]}], "truncated"),
    "cohere.command-r-x": ([{"text": "a"}, {"finish_reason": "MAX_TOKENS", "is_finished": True}], "truncated"),
    "openai.gpt-oss-x": (
        [{"choices": [{"delta": {"content": "a"}}]}, {"choices": [{"delta": {}, "finish_reason": "length"}]}],
        "truncated",
    ),
    "anthropic.claude-x": (
        [
            {
                "type": "message_start",
                "message": {"model": "claude-x", "usage": {"input_tokens": 7, "output_tokens": 1}},
            },
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}},
            {"type": "message_delta", "delta": {"stop_reason": "refusal"}, "usage": {"output_tokens": 5}},
            {"type": "message_stop"},
        ],
        "refused",
    ),
}


@pytest.mark.parametrize("model", STREAMS)
def test_a_streams_end_is_read_in_every_shape(model: str) -> None:
    events, outcome = STREAMS[model]
    events = [*events[:-1], {**events[-1], "amazon-bedrock-invocationMetrics": METRICS}]
    found = read(model, "invoke-with-response-stream", b"".join(map(chunk, events)))
    assert found.outcome == outcome
    assert found.usage is not None
    assert (found.usage.input, found.usage.output) == (7, 5)
    assert found.findings["vendor_processing_ms"].value == 300
    assert found.usage.raw["amazon-bedrock-invocationMetrics"]["outputTokenCount"] == 5


def test_the_models_own_count_comes_first_and_both_are_kept() -> None:
    events = STREAMS["anthropic.claude-x"][0]
    wrong = {**METRICS, "outputTokenCount": 3}
    events = [*events[:-1], {**events[-1], "amazon-bedrock-invocationMetrics": wrong}]
    usage = read("anthropic.claude-x", "invoke-with-response-stream", b"".join(map(chunk, events))).usage
    assert usage is not None
    assert usage.output == 5
    assert usage.raw["output_tokens"] == 5
    assert usage.raw["amazon-bedrock-invocationMetrics"]["outputTokenCount"] == 3


def test_the_output_of_half_a_stream_is_unknown() -> None:
    usage = read("anthropic.claude-x", "invoke-with-response-stream", chunk(STREAMS["anthropic.claude-x"][0][0])).usage
    assert usage is not None
    assert (usage.input, usage.output) == (7, None)


def test_a_failure_inside_of_a_stream_is_an_error() -> None:
    body = frame("messageStart", {"role": "assistant"}) + frame("throttlingException", {"message": "x"}, "exception")
    assert read("amazon.nova-x", "converse-stream", body).outcome == "error"


@pytest.mark.parametrize(
    ("document", "outcome"),
    [
        ({"output": {"message": {"content": [{"text": "a"}]}}, "stopReason": "end_turn"}, None),
        ({"output": {"message": {"content": []}}, "stopReason": "end_turn"}, "empty"),
        ({"output": {"message": {"content": [{"text": ""}]}}, "stopReason": "end_turn"}, "empty"),
        ({"output": {"message": {"content": [{"reasoningContent": {}}]}}, "stopReason": "end_turn"}, "empty"),
        ({"output": {"message": {"content": [{"toolUse": {"name": "x"}}]}}, "stopReason": "tool_use"}, None),
        ({"output": {"message": {"content": [{"text": "a"}]}}, "stopReason": "max_tokens"}, "truncated"),
        ({"output": {"message": {"content": [{"text": "a"}]}}, "stopReason": "content_filtered"}, "filtered"),
        ({"output": {"message": {"content": [{"text": "a"}]}}, "stopReason": "guardrail_intervened"}, "filtered"),
        ({"output": {"message": {"content": [{"text": "a"}]}}, "stopReason": "malformed_tool_use"}, "error"),
        ({"generation": "a", "stop_reason": "stop", "amazon-bedrock-guardrailAction": "INTERVENED"}, "filtered"),
        ({"generation": "", "stop_reason": "stop"}, "empty"),
        ({"embedding": [0.1]}, None),
        ({"embeddings": []}, "empty"),
        ({}, "empty"),
        ([], "empty"),
    ],
)
def test_outcomes(document: Any, outcome: str | None) -> None:
    assert read("amazon.nova-x", "invoke", json.dumps(document).encode()).outcome == outcome


def test_a_page_in_place_of_an_answer_is_an_error() -> None:
    assert read("amazon.nova-x", "converse", b"<html>Welcome</html>").outcome == "error"


def test_tiers_and_parameters() -> None:
    asked = {
        "inferenceConfig": {"maxTokens": 64, "temperature": 0.5, "stopSequences": ["x y"]},
        "serviceTier": {"type": "flex"},
        "system": [{"text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"text": "A prompt that must not be kept."}]}],
        "toolConfig": {"tools": [{}]},
    }
    said = {
        "output": {"message": {"content": [{"text": "a"}]}},
        "stopReason": "end_turn",
        "serviceTier": {"type": "default"},
    }
    found = read("amazon.nova-x", "converse", json.dumps(said).encode(), asked=asked)
    assert found.findings["service_tier_requested"].value == "flex"
    assert found.findings["service_tier"].value == "default"
    assert found.parameters == {
        "inferenceConfig.maxTokens": 64,
        "inferenceConfig.temperature": 0.5,
        "serviceTier.type": "flex",
        "system_prompt_chars": 9,
        "messages": 1,
        "tools": 1,
    }


def test_a_prompt_router_names_the_model_that_it_chose() -> None:
    chosen = "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0"
    said = {"output": {}, "stopReason": "end_turn", "trace": {"promptRouter": {"invokedModelId": chosen}}}
    found = read(
        "arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Adefault-prompt-router%2Fx", "converse", json.dumps(said).encode()
    )
    assert found.findings["actual_model"].value == chosen
    assert found.findings["model_build_date"].value == "2024-03-07"


# -- damage ---------------------------------------------------------------------------------------------


WRONG: tuple[Any, ...] = (None, [], {}, "", "wrong", -1, 1.5, True, [None], {"wrong": None})


def damaged(value: Any) -> Iterator[Any]:
    """``value`` with one member at a time left out or of a wrong type, at every depth."""
    if not isinstance(value, (dict, list)):
        return
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        rest = dict(value) if isinstance(value, dict) else list(value)
        del rest[key]
        yield rest
        for wrong in (*WRONG, *damaged(value[key])):
            changed = dict(value) if isinstance(value, dict) else list(value)
            changed[key] = wrong
            yield changed


@pytest.mark.parametrize("model", STREAMS)
def test_reading_survives_any_chunk(model: str) -> None:
    """The contract's suite damages named events; these are damaged inside of their base64."""
    events = [*STREAMS[model][0][:-1], {**STREAMS[model][0][-1], "amazon-bedrock-invocationMetrics": METRICS}]
    tried = 0
    for number, event in enumerate(events):
        for changed in damaged(event):
            body = b"".join(chunk(changed if n == number else e) for n, e in enumerate(events))
            found = read(model, "invoke-with-response-stream", body)
            tried += 1
            for finding in found.findings.values():
                assert finding.value is None or isinstance(finding.value, (str, int, float))
            if found.usage is not None:
                counts = (found.usage.input, found.usage.output, found.usage.cache_read, found.usage.cache_write)
                assert all(n is None or (type(n) is int and n >= 0) for n in counts)
    assert tried > 20
