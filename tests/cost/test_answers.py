"""A body that came as a stream's event is priced as the body: nothing that a rule reads is left out on the way."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from custody.cost import price
from custody.cost.answers import READ, known_of

CALLS = [
    pytest.param(call, id=f"{path.stem}: {case['name']}")
    for path in sorted((Path(__file__).parent / "cases").glob("*.toml"))
    for case in tomllib.loads(path.read_text())["case"]
    if isinstance((call := json.loads(case["call"])).get("response"), dict)
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("inside", ["response", "message", None])
def test_an_event_is_as_good_as_a_body(call: dict[str, Any], inside: str | None) -> None:
    body = call["response"]
    events = [{"type": "begun"}, {"type": "done", inside: body} if inside else body, {"type": "ended"}]
    assert price(**{**call, "response": events}) == price(**call)


def test_there_are_enough() -> None:
    read = {name for case in CALLS for name in case.values[0]["response"]}
    assert len(CALLS) >= 30 and len(read & READ) >= 6


def test_later_events_win_and_say_nothing_with_null() -> None:
    events = [
        {"type": "message_start", "message": {"model": "m", "content": [], "usage": {"input_tokens": 3}}},
        {"type": "content_block_start", "content_block": {"type": "text"}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5, "speed": None}},
        {"model": None, "service_tier": "default"},
    ]
    known = known_of("anthropic", None, events)
    assert known.usage == {"input_tokens": 3, "output_tokens": 5}
    assert known.response["content"], "there was some"
    assert {name: known.response[name] for name in ("model", "stop_reason", "service_tier")} == {
        "model": "m", "stop_reason": "end_turn", "service_tier": "default",
    }  # fmt: skip
