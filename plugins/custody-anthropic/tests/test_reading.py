"""Pure readers on exchanges made by hand: every field and its evidence, outcomes, usage, and hostile bodies."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from custody_anthropic.plugin import AnthropicPlugin
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.plugin import Chunk, Exchange, Forensics, RequestHead, ResponseHead
from custody.record import FORENSIC_FIELDS, PLACES, REASONS, RESPONSE_FIELDS

PLUGIN = AnthropicPlugin()
MESSAGES = "https://api.anthropic.com/v1/messages"
HEADERS = {"request-id": "req_1", "anthropic-organization-id": "org-1", "anthropic-workspace-id": "ws-1"}
ASKED = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 100,
    "temperature": 0.5,
    "service_tier": "auto",
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "system": [{"type": "text", "text": "Be brief."}],
    "messages": [{"role": "user", "content": "Rivers?"}],
    "tools": [{}],
}
USAGE: dict[str, Any] = {
    "input_tokens": 10,
    "cache_read_input_tokens": 60,
    "cache_creation_input_tokens": 5,
    "output_tokens": 40,
    "output_tokens_details": {"thinking_tokens": 25},
    "service_tier": "standard",
    "inference_geo": "us",
}
ANSWER: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": "Long."}],
    "stop_reason": "end_turn",
    "usage": USAGE,
}
START = {"type": "message_start", "message": {**ANSWER, "content": [], "stop_reason": None}}
START["message"] = {**START["message"], "usage": {**USAGE, "output_tokens": 1, "output_tokens_details": None}}
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
TEXT = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Long."}}
TOOL = {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "name": "weather"}}
END = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn", "stop_sequence": None},
    "usage": {"output_tokens": 40, "output_tokens_details": {"thinking_tokens": 25}},
}
STOP = {"type": "message_stop"}
STREAM = [START, BLOCK, TEXT, END, STOP]


def exchange(
    body: Any = ANSWER,
    *,
    url: str = MESSAGES,
    asked: Any = ASKED,
    headers: Any = HEADERS,
    status: int = 200,
    **more: Any,
) -> Exchange:
    """A finished exchange; a list is a stream of these events, ``end`` its ending."""
    request = RequestHead("POST", url, (("anthropic-version", "2023-06-01"),), "anthropic")
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
    named = [(e.get("type") if isinstance(e, dict) else "x", json.dumps(e)) for e in body]
    return [f"event: {json.dumps(name)[1:-1]}\ndata: {data}\n\n".encode() for name, data in named]


def read(*args: Any, **kwargs: Any) -> Forensics:
    found = PLUGIN.extract_forensics(exchange(*args, **kwargs))
    assert found is not None
    return found


def evidence(forensics: Forensics) -> dict[str, tuple[Any, str]]:
    return {name: (finding.value, finding.evidence) for name, finding in forensics.findings.items()}


def classes(forensics: Forensics) -> Any:
    usage = forensics.usage
    return usage and (usage.input, usage.output, usage.cache_read, usage.cache_write, usage.reasoning)


# -- fields -------------------------------------------------------------------------------------------


def test_every_field_of_a_whole_message_and_its_evidence() -> None:
    assert evidence(read()) == {
        "requested_model": ("claude-sonnet-4-5", "request_body:model"),
        "actual_model": ("claude-sonnet-4-5-20250929", "response_body:model"),
        "model_build_date": ("2025-09-29", "derived:date in actual_model"),
        "api_version": ("2023-06-01", "request_header:anthropic-version"),
        "deployment_region": ("us", "response_body:usage.inference_geo"),
        "provider_request_id": ("req_1", "response_header:request-id"),
        "response_id": ("msg_1", "response_body:id"),
        "organization": ("org-1", "response_header:anthropic-organization-id"),
        "project": ("ws-1", "response_header:anthropic-workspace-id"),
        "vendor_processing_ms": (None, "unknown:not_applicable"),
        "system_fingerprint": (None, "unknown:not_applicable"),
        "service_tier": ("standard", "response_body:usage.service_tier"),
        "service_tier_requested": ("auto", "request_body:service_tier"),
        "finish_reason": ("end_turn", "response_body:stop_reason"),
    }


def test_the_fields_are_the_layouts() -> None:
    assert set(read().findings) == {*FORENSIC_FIELDS, *RESPONSE_FIELDS} - {"vendor"}


def test_a_stream_says_where_it_said_it() -> None:
    found = evidence(read(STREAM))
    usage = "response_body:message_start.message.usage+message_delta.usage"
    assert found["actual_model"] == ("claude-sonnet-4-5-20250929", "response_body:message_start.message.model")
    assert found["response_id"] == ("msg_1", "response_body:message_start.message.id")
    assert found["finish_reason"] == ("end_turn", "response_body:message_delta.delta.stop_reason")
    assert found["deployment_region"] == ("us", f"{usage}.inference_geo")
    assert found["service_tier"] == ("standard", f"{usage}.service_tier")
    assert read(STREAM).usage == read().usage or classes(read(STREAM)) == classes(read())


def test_parameters_are_those_of_the_wire_and_hold_no_text() -> None:
    assert read().parameters == {
        "max_tokens": 100,
        "temperature": 0.5,
        "service_tier": "auto",
        "thinking.type": "enabled",
        "thinking.budget_tokens": 1024,
        "system_prompt_chars": 9,
        "messages": 1,
        "tools": 1,
    }


def test_the_older_completions() -> None:
    url = "https://api.anthropic.com/v1/complete"
    whole = {"id": "compl_1", "completion": " Hi", "stop_reason": "stop_sequence", "model": "claude-2.1"}
    found = read([{"type": "completion", **whole}], url=url)
    assert evidence(found)["finish_reason"] == ("stop_sequence", "response_body:completion.stop_reason")
    assert evidence(read(whole, url=url))["response_id"] == ("compl_1", "response_body:id")
    assert found.outcome is None and found.usage is None
    assert found.findings["model_build_date"].evidence == "unknown:alias_undated"


# -- absence ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model", "id", "stop_reason"])
@pytest.mark.parametrize("value", [None, [], {}, True])
def test_what_is_not_stated_is_null(name: str, value: Any) -> None:
    field = {"model": "actual_model", "id": "response_id", "stop_reason": "finish_reason"}[name]
    assert evidence(read({**ANSWER, name: value}))[field] == (None, "unknown:not_stated")


def test_a_region_that_the_vendor_will_not_say() -> None:
    hidden = {**ANSWER, "usage": {**USAGE, "inference_geo": "not_available"}}
    assert evidence(read(hidden))["deployment_region"] == (None, "unknown:not_stated")


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


# -- usage --------------------------------------------------------------------------------------------


def test_usage_in_disjoint_classes() -> None:
    found = read()
    assert classes(found) == (10, 15, 60, 5, 25)
    assert found.usage is not None and found.usage.total == 10 + 60 + 5 + 40
    assert classes(read(STREAM)) == classes(found)


def test_usage_without_caches_and_thinking() -> None:
    assert classes(read({**ANSWER, "usage": {"input_tokens": 3, "output_tokens": 0}})) == (3, 0, None, None, None)


def test_what_a_stream_says_at_its_start_is_not_its_output() -> None:
    found = read([START, BLOCK, TEXT], end="broken")
    assert classes(found) == (10, None, 60, 5, None)


@pytest.mark.parametrize("thinking", [41, -1, "25", None, True])
def test_thinking_that_is_no_part_of_the_output(thinking: Any) -> None:
    usage = {**USAGE, "output_tokens_details": {"thinking_tokens": thinking}}
    assert classes(read({**ANSWER, "usage": usage})) == (10, 40, 60, 5, None)


@pytest.mark.parametrize("usage", [None, [], "12", {}, {"input_tokens": "12"}, {"input_tokens": -1}])
def test_usage_that_is_none(usage: Any) -> None:
    found = read({**ANSWER, "usage": usage})
    assert (found.usage, found.usage_reason) == (None, "not_stated")


def test_counting_tokens_uses_none() -> None:
    found = read({"input_tokens": 12}, url=MESSAGES + "/count_tokens")
    assert (found.usage, found.usage_reason, found.outcome) == (None, "not_applicable", None)


# -- outcomes -----------------------------------------------------------------------------------------


def ended(reason: str) -> dict[str, Any]:
    return {**END, "delta": {"stop_reason": reason}}


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (ANSWER, None),
        ({**ANSWER, "content": [{"type": "tool_use", "name": "weather"}], "stop_reason": "tool_use"}, None),
        ({**ANSWER, "content": []}, "empty"),
        ({**ANSWER, "content": None}, "empty"),
        ({**ANSWER, "content": [{"type": "text", "text": ""}]}, "empty"),
        ({**ANSWER, "content": [{"type": "thinking", "thinking": "Hm."}]}, "empty"),
        ({**ANSWER, "stop_reason": "max_tokens"}, "truncated"),
        ({**ANSWER, "stop_reason": "model_context_window_exceeded"}, "truncated"),
        ({**ANSWER, "stop_reason": "refusal", "content": []}, "refused"),
        (b"<html>sign in first</html>", "error"),
        (None, "error"),
        (b"event: message_stop\ndata: {}\n\n", None),
        ({"type": "error", "error": {"type": "overloaded_error"}}, "error"),
        (STREAM, None),
        ([START, TOOL, ended("tool_use"), STOP], None),
        ([START, BLOCK, END, STOP], "empty"),
        ([START, BLOCK, TEXT, ended("max_tokens"), STOP], "truncated"),
        ([START, ended("refusal"), STOP], "refused"),
        ([START, BLOCK, TEXT, {"type": "error", "error": {"type": "overloaded_error"}}], "error"),
    ],
)
def test_outcome(body: Any, outcome: str | None) -> None:
    assert read(body).outcome == outcome


@pytest.mark.parametrize("end", ["broken", "closed_early", "cancelled"])
def test_an_unfinished_stream_says_nothing_of_its_outcome(end: str) -> None:
    assert read([START, BLOCK], end=end).outcome is None


# -- hostile bodies -----------------------------------------------------------------------------------

ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just([]), st.just({}),
    st.just([[{"type": ["x"]}]]), st.just({"usage": [{}], "type": {}, "text": []}), st.just(10**400),
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


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_reading_never_raises_and_never_invents(data: st.DataObject) -> None:
    body = data.draw(damaged(data.draw(st.sampled_from([ANSWER, STREAM, [START, TOOL, {"type": "completion"}]]))))
    end = data.draw(st.sampled_from(["complete", "broken", "closed_early"]))
    status = data.draw(st.sampled_from([200, 429]))
    found = read(body, asked=data.draw(damaged(ASKED)), status=status, end=end)
    for finding in found.findings.values():
        place, _, where = finding.evidence.partition(":")
        if finding.value is None:
            assert place == "unknown" and where in REASONS
        else:
            assert place in PLACES and where
            assert not isinstance(finding.value, float) or math.isfinite(finding.value)
    for value in found.parameters.values():
        assert isinstance(value, (bool, int, float, str)) and (not isinstance(value, str) or " " not in value)
    assert found.usage_reason in REASONS
    assert all(n is None or (isinstance(n, int) and n >= 0) for n in classes(found) or ())


@pytest.mark.parametrize("depth", [50, 400, 100_000])
def test_nesting_is_no_danger(depth: int) -> None:
    deep = b'{"usage":{"input_tokens":1,"x":' + b'{"a":' * depth + b"1" + b"}" * depth + b'},"content":[]}'
    found = read(deep)
    assert found.usage is None or found.usage.input == 1
