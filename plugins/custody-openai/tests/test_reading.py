"""Pure readers on exchanges made by hand: every field and its evidence, outcomes, usage, and hostile bodies."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from custody_openai.plugin import OpenAIPlugin
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.plugin import Chunk, Exchange, Forensics, RequestHead, ResponseHead
from custody.record import FORENSIC_FIELDS, PLACES, REASONS, RESPONSE_FIELDS

PLUGIN = OpenAIPlugin()
CHAT = "https://api.openai.com/v1/chat/completions"
RESPONSES = "https://api.openai.com/v1/responses"
EMBEDDINGS = "https://api.openai.com/v1/embeddings"
HEADERS = {
    "x-request-id": "req_1",
    "openai-organization": "org-1",
    "openai-project": "proj_1",
    "openai-processing-ms": "763",
    "openai-version": "2020-10-01",
}
ASKED = {
    "model": "gpt-4o",
    "temperature": 0.5,
    "seed": 7,
    "service_tier": "auto",
    "response_format": {"type": "json_object"},
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Rivers?"}],
    "tools": [{}],
}
USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
    "completion_tokens_details": {"reasoning_tokens": 20},
}
ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Long."}, "finish_reason": "stop"}],
    "usage": USAGE,
    "system_fingerprint": "fp_1",
    "service_tier": "default",
}
RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "model": "gpt-4o-2024-08-06",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "Long."}]}],
    "usage": {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 6,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 15,
    },
}


def exchange(
    body: Any = ANSWER, *, url: str = CHAT, asked: Any = ASKED, headers: Any = HEADERS, status: int = 200, **more: Any
) -> Exchange:
    """A finished exchange; a list is a stream of these events, ``end`` its ending."""
    request = RequestHead("POST", url, (("content-type", "application/json"),), "openai")
    claim = PLUGIN.claim_exchange(request)
    assert claim is not None
    made = Exchange("c.1", request, json.dumps(asked).encode(), claim, "test", datetime.now(UTC))
    kind = "text/event-stream" if isinstance(body, list) else "application/json"
    made.head = ResponseHead(status, "", "HTTP/1.1", (("content-type", kind), *headers.items()))
    made.chunks = [Chunk(1.0, data) for data in _wire(body)]
    made.ending = more.get("end", "complete")
    return made


def _wire(body: Any) -> list[bytes]:
    if not isinstance(body, list):
        return [body if isinstance(body, bytes) else json.dumps(body).encode()]
    return [b"data: " + (e.encode() if isinstance(e, str) else json.dumps(e).encode()) + b"\n\n" for e in body]


def read(*args: Any, **kwargs: Any) -> Forensics:
    found = PLUGIN.extract_forensics(exchange(*args, **kwargs))
    assert found is not None
    return found


def evidence(forensics: Forensics) -> dict[str, tuple[Any, str]]:
    return {name: (finding.value, finding.evidence) for name, finding in forensics.findings.items()}


def chunk(delta: Any = None, reason: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
    return {"id": "chatcmpl-1", "model": "gpt-4o-2024-08-06", "choices": choices, **more}


# -- fields -------------------------------------------------------------------------------------------


def test_every_field_of_a_whole_answer_and_its_evidence() -> None:
    assert evidence(read()) == {
        "requested_model": ("gpt-4o", "request_body:model"),
        "actual_model": ("gpt-4o-2024-08-06", "response_body:model"),
        "model_build_date": ("2024-08-06", "derived:date in actual_model"),
        "api_version": ("2020-10-01", "response_header:openai-version"),
        "deployment_region": (None, "unknown:not_stated"),
        "provider_request_id": ("req_1", "response_header:x-request-id"),
        "response_id": ("chatcmpl-1", "response_body:id"),
        "organization": ("org-1", "response_header:openai-organization"),
        "project": ("proj_1", "response_header:openai-project"),
        "vendor_processing_ms": (763.0, "response_header:openai-processing-ms"),
        "system_fingerprint": ("fp_1", "response_body:system_fingerprint"),
        "service_tier": ("default", "response_body:service_tier"),
        "service_tier_requested": ("auto", "request_body:service_tier"),
        "finish_reason": ("stop", "response_body:choices[].finish_reason"),
    }


def test_the_fields_are_the_layouts() -> None:
    assert set(read().findings) == {*FORENSIC_FIELDS, *RESPONSE_FIELDS} - {"vendor"}


def test_a_stream_says_where_it_said_it() -> None:
    last = chunk(usage=USAGE)
    found = read(
        [chunk({"role": "assistant", "content": ""}), chunk({"content": "a"}), chunk({}, "stop"), last, "[DONE]"]
    )
    assert found.findings["actual_model"].evidence == "response_body:chunk.model"
    assert found.findings["finish_reason"].evidence == "response_body:chunk.choices[].finish_reason"
    assert found.usage is not None and (found.usage.total, found.usage.evidence) == (150, "response_body:chunk.usage")
    assert found.outcome is None


def test_azure_is_read_from_its_own_headers_and_url() -> None:
    url = "https://x.openai.azure.com/openai/deployments/mine/chat/completions?api-version=2024-10-21"
    headers = {"apim-request-id": "apim-1", "x-request-id": "inner", "x-ms-region": "East US 2"}
    found = evidence(read(url=url, asked={"messages": []}, headers=headers))
    assert found["requested_model"] == ("mine", "url:path deployments")
    assert found["api_version"] == ("2024-10-21", "url:query api-version")
    assert found["provider_request_id"] == ("apim-1", "response_header:apim-request-id")
    assert found["deployment_region"] == ("East US 2", "response_header:x-ms-region")


@pytest.mark.parametrize(("host", "region"), [("eu.api.openai.com", "eu"), ("us.api.openai.com", "us")])
def test_a_regional_host_states_the_region(host: str, region: str) -> None:
    found = read(url=CHAT.replace("api.openai.com", host)).findings["deployment_region"]
    assert (found.value, found.evidence) == (region, "url:host")


def test_parameters_are_those_of_the_wire_and_hold_no_text() -> None:
    assert read().parameters == {
        "temperature": 0.5,
        "seed": 7,
        "service_tier": "auto",
        "response_format.type": "json_object",
        "messages": 2,
        "system_prompt_chars": 9,
        "tools": 1,
    }


# -- absence ------------------------------------------------------------------------------------------


def test_an_alias_has_no_build_date() -> None:
    assert read({**ANSWER, "model": "gpt-4o"}).findings["model_build_date"].evidence == "unknown:alias_undated"


@pytest.mark.parametrize("name", ["model", "id", "system_fingerprint", "service_tier"])
@pytest.mark.parametrize("value", [None, "", [], {}, True, math.nan, math.inf])
def test_what_is_not_stated_is_null(name: str, value: Any) -> None:
    field = {"model": "actual_model", "id": "response_id"}.get(name, name)
    assert evidence(read({**ANSWER, name: value}))[field] == (None, "unknown:not_stated")


def test_without_a_response_everything_of_it_is_null() -> None:
    lost = exchange(b"")
    lost.head, lost.chunks, lost.ending = None, [], "no_response"
    found = PLUGIN.extract_forensics(lost)
    assert found is not None and (found.usage, found.usage_reason, found.outcome) == (None, "no_response", None)
    known = {name for name, finding in found.findings.items() if finding.value is not None}
    assert known == {"requested_model", "service_tier_requested", "api_version"}


@pytest.mark.parametrize(
    ("body", "end", "reason"),
    [(b"<html>", "complete", "unreadable"), (b"{", "broken", "response_incomplete"), (b"[]", "complete", "not_stated")],
)
def test_why_a_value_is_missing(body: bytes, end: str, reason: str) -> None:
    found = read(body, end=end)
    assert found.findings["actual_model"].evidence == f"unknown:{reason}"
    assert found.usage_reason == reason


def test_a_chat_stream_without_include_usage_has_none() -> None:
    found = read([chunk({"content": "a"}, "stop"), "[DONE]"])
    assert (found.usage, found.usage_reason) == (None, "not_stated")


@pytest.mark.parametrize("value", ["nan", "inf", "-3", "fast", ""])
def test_a_processing_time_that_is_none(value: str) -> None:
    found = read(headers={"openai-processing-ms": value}).findings["vendor_processing_ms"]
    assert found.value is None and found.evidence in ("unknown:unreadable", "unknown:not_stated")


# -- usage --------------------------------------------------------------------------------------------


def counts(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, **more}


@pytest.mark.parametrize(
    ("url", "usage", "classes"),
    [
        (CHAT, USAGE, (30, 30, 60, 10, 20)),
        (CHAT, counts(5, 2, total_tokens=7), (5, 2, None, None, None)),
        (CHAT, counts(5, 0, cached_tokens=3), (2, 0, 3, None, None)),
        (CHAT, counts(5, 1, prompt_cache_hit_tokens=4), (1, 1, 4, None, None)),
        (CHAT, counts(5, 1, prompt_token_details={"cached_tokens": 4}), (1, 1, 4, None, None)),
        (CHAT, counts(3, 2, prompt_tokens_details={"cached_tokens": 9}), (3, 2, None, None, None)),
        (EMBEDDINGS, {"prompt_tokens": 8, "total_tokens": 8}, (8, None, None, None, None)),
        (EMBEDDINGS, {"total_tokens": 8}, (8, None, None, None, None)),
    ],
)
def test_usage_in_disjoint_classes(url: str, usage: Any, classes: Any) -> None:
    found = read({**ANSWER, "usage": usage}, url=url).usage
    assert found is not None
    assert (found.input, found.output, found.cache_read, found.cache_write, found.reasoning) == classes
    assert found.total == usage.get("total_tokens", usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0))


def test_usage_of_a_groq_stream() -> None:
    said = {"id": "req_1", "usage": counts(4, 2, total_tokens=6)}
    found = read([chunk({"content": "a"}, "stop", x_groq=said), "[DONE]"]).usage
    assert found is not None and (found.total, found.evidence) == (6, "response_body:chunk.x_groq.usage")


def test_usage_of_a_response() -> None:
    found = read(RESPONSE, url=RESPONSES).usage
    assert found is not None
    assert (found.input, found.cache_read, found.output, found.reasoning, found.total) == (5, 4, 1, 5, 15)


@pytest.mark.parametrize(
    "usage", [None, [], "12", {"prompt_tokens": "12"}, {"prompt_tokens": -1}, {"prompt_tokens": True}]
)
def test_usage_that_is_none(usage: Any) -> None:
    assert read({**ANSWER, "usage": usage}).usage is None


# -- outcomes -----------------------------------------------------------------------------------------


def message(reason: str, **fields: Any) -> dict[str, Any]:
    return {**ANSWER, "choices": [{"index": 0, "message": fields, "finish_reason": reason}]}


def response(**fields: Any) -> dict[str, Any]:
    return {**RESPONSE, **fields}


REFUSAL = [{"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}]
TOOL = [{"type": "function_call", "name": "weather", "arguments": "{}"}]


@pytest.mark.parametrize(
    ("url", "body", "outcome"),
    [
        (CHAT, ANSWER, None),
        (CHAT, message("tool_calls", content=None, tool_calls=[{"id": "call_1"}]), None),
        (CHAT, message("stop", content=""), "empty"),
        (CHAT, message("stop", content=None), "empty"),
        (CHAT, {**ANSWER, "choices": []}, "empty"),
        (CHAT, {**ANSWER, "choices": None}, "empty"),
        (CHAT, message("length", content="Lo"), "truncated"),
        (CHAT, message("stop", content=None, refusal="No."), "refused"),
        (CHAT, message("content_filter", content=""), "filtered"),
        (CHAT, b"<html>sign in first</html>", "error"),
        (CHAT, None, "error"),
        (CHAT, b"data: [DONE]\n\n", None),
        (EMBEDDINGS, {"data": [{"embedding": [0.5]}]}, None),
        (CHAT, {"error": {"message": "no", "code": 502}}, "error"),
        (CHAT, [chunk({"content": "a"}), chunk({}, "stop"), "[DONE]"], None),
        (CHAT, [chunk({"content": ""}), chunk({}, "stop"), "[DONE]"], "empty"),
        (CHAT, [chunk({"content": "a"}), chunk({}, "length"), "[DONE]"], "truncated"),
        (CHAT, [chunk({"refusal": "No."}), chunk({}, "stop"), "[DONE]"], "refused"),
        (CHAT, [chunk({"content": "a"}), {"error": {"message": "overloaded"}}], "error"),
        (RESPONSES, RESPONSE, None),
        (RESPONSES, response(output=TOOL), None),
        (RESPONSES, response(output=[]), "empty"),
        (RESPONSES, response(output=REFUSAL), "refused"),
        (RESPONSES, response(status="incomplete", incomplete_details={"reason": "max_output_tokens"}), "truncated"),
        (RESPONSES, response(status="incomplete", incomplete_details={"reason": "content_filter"}), "filtered"),
        (RESPONSES, response(status="failed", error={"code": "server_error"}), "error"),
        (RESPONSES, response(status="queued", output=[]), "incomplete"),
        (RESPONSES, [{"type": "response.completed", "response": RESPONSE}], None),
        (RESPONSES, [{"type": "response.failed", "response": response(status="failed")}], "error"),
        (RESPONSES, [{"type": "error", "code": "server_error", "message": "no"}], "error"),
    ],
)  # fmt: skip
def test_outcome(url: str, body: Any, outcome: str | None) -> None:
    assert read(body, url=url).outcome == outcome


def test_a_response_that_runs_has_no_finish_reason() -> None:
    assert read(response(status="in_progress"), url=RESPONSES).findings["finish_reason"].value is None


@pytest.mark.parametrize("end", ["broken", "closed_early", "cancelled"])
def test_an_unfinished_stream_says_nothing_of_its_outcome(end: str) -> None:
    assert read([chunk({"content": "a"})], end=end).outcome is None


# -- hostile bodies -----------------------------------------------------------------------------------

ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just([]), st.just({}),
    st.just([[{"type": ["x"]}]]), st.just({"usage": [{}], "type": {}, "index": []}), st.just(10**400),
    st.just("9" * 5000),
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, value: Any) -> Any:
    """``value`` with up to three of its parts replaced by something of any type."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(1, 3))):
        value = _replace(value, draw)
    return value


def _replace(value: Any, draw: st.DrawFn) -> Any:
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    if not keys or draw(st.integers(0, 4)) == 0:
        return draw(ODD)
    key = draw(st.sampled_from(keys))
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = _replace(copy[key], draw)
    return copy


SHAPES: list[tuple[str, Any]] = [
    (CHAT, ANSWER),
    (CHAT, [chunk({"content": "a"}, "stop", usage=USAGE, x_groq={"usage": USAGE}), chunk({"tool_calls": [{}]})]),
    (RESPONSES, response(incomplete_details={"reason": "max_output_tokens"}, output=[*RESPONSE["output"], *TOOL])),
    (RESPONSES, [{"type": "response.completed", "response": RESPONSE}, {"type": "error"}]),
    (EMBEDDINGS, {"data": [], "model": "m", "usage": {"total_tokens": 1}}),
]


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_reading_never_raises_and_never_invents(data: st.DataObject) -> None:
    url, body = data.draw(st.sampled_from(SHAPES))
    headers = data.draw(st.dictionaries(st.sampled_from(list(HEADERS)), st.text("0123456789aNf.-+e ", max_size=9)))
    status = data.draw(st.sampled_from([200, 429]))
    end = data.draw(st.sampled_from(["complete", "broken", "closed_early"]))
    found = read(
        data.draw(damaged(body)), url=url, asked=data.draw(damaged(ASKED)), headers=headers, status=status, end=end
    )
    for finding in found.findings.values():
        place, _, where = finding.evidence.partition(":")
        if finding.value is None:
            assert place == "unknown" and where in REASONS
        else:
            assert place in PLACES and where
            assert not isinstance(finding.value, float) or math.isfinite(finding.value)
    for value in found.parameters.values():
        assert isinstance(value, (bool, int, float, str)) and (not isinstance(value, str) or " " not in value)
    if found.usage is not None:
        classes = [getattr(found.usage, n) for n in ("input", "output", "cache_read", "cache_write", "reasoning")]
        assert all(n is None or (isinstance(n, int) and n >= 0) for n in classes)
    else:
        assert found.usage_reason in REASONS


@pytest.mark.parametrize("depth", [50, 400, 100_000])
def test_nesting_is_no_danger(depth: int) -> None:
    deep = b'{"usage":{"prompt_tokens":1,"x":' + b'{"a":' * depth + b"1" + b"}" * depth + b'},"choices":[]}'
    found = read(deep)
    assert found.usage is None or found.usage.input == 1
