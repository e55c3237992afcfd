"""Rows and groups: every value with its evidence or a reason, whatever the line looks like."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from custody.record import FORENSIC_FIELDS, REASONS, RESPONSE_FIELDS
from custody.report.forensics import TIMES, USAGE, Value, flagged, groups, in_order, rows

LINE: dict[str, Any] = {
    "id": "w-1",
    "started": "2026-11-23T07:15:07.709376Z",
    "outcome": "success",
    "success": True,
    "answers": True,
    "ending": "complete",
    "status": 200,
    "scope": {"run": 1},
    "attempts": [{"exchange": "w-1.1", "status": 200}],
    "model_forensics": {"requested_model": "gpt-4o", "actual_model": "gpt-4o-2024-08-06", "vendor": "OpenAI",
                        "api_version": "v1", "model_build_date": None, "deployment_region": None},
    "response_metadata": {"response_time_ms": 12.5, "first_byte_ms": 2.5, "tokens_used": 7, "cost_usd": None,
                          "finish_reason": "stop", "service_tier": None, "odd_one": "x"},
    "usage": {"input": 5, "output": 2, "cache_read": 0, "cache_write": None, "reasoning": None,
              "raw": {"prompt_tokens": 5}},
    "parameters": {"temperature": 0.5},
    "evidence": {"requested_model": "request_body:model", "actual_model": "response_body:model", "vendor": "url:host",
                 "api_version": "url:path", "model_build_date": "unknown:alias_undated",
                 "deployment_region": "unknown:not_stated", "finish_reason": "response_body:choices[].finish_reason",
                 "service_tier": "unknown:not_stated", "odd_one": "response_header:odd",
                 "tokens_used": "response_body:usage", "cost_usd": "unknown:price_not_found"},
    "sdk": {"plugin": "openai", "version": "openai 3.54.0"},
    "transport": "httpx2 2.16.2",
}  # fmt: skip


def test_every_value_has_its_evidence() -> None:
    (row,) = rows([LINE])
    assert row.values["actual_model"] == Value("gpt-4o-2024-08-06", "response_body:model")
    assert row.values["model_build_date"] == Value(None, "unknown:alias_undated")
    assert row.values["organization"] == Value(None, "unknown:no_reader"), "the plugin does not read it"
    assert row.values["odd_one"] == Value("x", "response_header:odd"), "a plugin may add fields of its own"
    assert row.values["first_byte_ms"].value == 2.5 and row.values["response_time_ms"].value == 12.5
    assert row.values["sdk"].value == "openai 3.54.0" and row.values["transport"].value == "httpx2 2.16.2"
    assert row.usage["cache_read"] == Value(0, "response_body:usage"), "0 is known"
    assert row.usage["reasoning"] == Value(None, "unknown:not_stated"), "null is unknown"
    expected = {*FORENSIC_FIELDS, *RESPONSE_FIELDS, *TIMES, "sdk", "transport", "odd_one"}
    assert set(row.values) == expected and tuple(row.usage) == USAGE
    assert row.unknown["no_reader"] == len(RESPONSE_FIELDS) - 2


def test_a_call_without_usage_says_why() -> None:
    (row,) = rows([{**LINE, "usage": None, "evidence": {**LINE["evidence"], "tokens_used": "unknown:not_applicable"}}])
    assert {value.evidence for value in row.usage.values()} == {"unknown:not_applicable"}


def test_the_json_form_is_complete() -> None:
    (row,) = rows([LINE])
    form = json.loads(json.dumps(row.as_dict()))
    assert form["values"]["vendor"] == {"value": "OpenAI", "evidence": "url:host"}
    assert form["usage_raw"] == {"prompt_tokens": 5}
    assert form["parameters"] == {"temperature": {"value": 0.5, "evidence": "request"}}
    assert form["attempts"] == LINE["attempts"]
    assert form["flags"] == {"alias_model": "gpt-4o was resolved to gpt-4o-2024-08-06"}
    assert sum(form["unknown"].values()) == sum(
        1 for value in (*form["values"].values(), *form["usage"].values()) if value["value"] is None
    )


def test_groups_add_up_what_is_stated_and_count_what_is_not() -> None:
    silent = {**LINE, "usage": None}
    other = {**LINE, "model_forensics": {**LINE["model_forensics"], "actual_model": "gpt-4o-2024-11-20"}}
    first, second = groups(rows([LINE, silent, other]))
    assert (first.calls, second.calls) == (2, 1)
    assert first.usage == {"input": 5, "output": 2, "cache_read": 0}
    assert first.unstated == {"input": 1, "output": 1, "cache_read": 1, "cache_write": 2, "reasoning": 2}
    assert first.as_dict()["usage"]["reasoning"] is None, "unknown is never 0"
    assert second.flags == {"alias_model": 1, "model_changed": 1}
    assert flagged([LINE, silent, other]) == 3


def test_order_is_that_of_beginning() -> None:
    early, late = {**LINE, "id": "b", "started": "2026-01-01"}, {**LINE, "id": "a", "started": "2026-01-02"}
    assert in_order([late, early, {}]) == [{}, early, late]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.tuples(st.sampled_from(sorted(LINE)), json_values), min_size=1, max_size=4))
def test_a_damaged_line_gives_unknowns(damage: list[tuple[str, Any]]) -> None:
    line = {**LINE, **dict(damage)}
    (row,) = rows(in_order([line]))
    form = json.loads(json.dumps(row.as_dict()))
    for value in (*form["values"].values(), *form["usage"].values()):
        if value["value"] is None:
            assert value["evidence"].removeprefix("unknown:") in REASONS
    (group,) = groups([row])
    json.dumps(group.as_dict())


@given(st.dictionaries(st.sampled_from(sorted(LINE["response_metadata"])), json_values))
def test_a_damaged_part_gives_unknowns(damage: dict[str, Any]) -> None:
    (row,) = rows([{**LINE, "response_metadata": damage, "evidence": damage, "sdk": damage, "usage": damage}])
    json.dumps(row.as_dict())
