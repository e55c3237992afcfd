"""A bill that is made after another one is the bill that would have been worked out."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from custody.cost import price, quotes

CALLS = [
    json.loads(case["call"])
    for path in sorted((Path(__file__).parent / "cases").glob("*.toml"))
    for case in tomllib.loads(path.read_text())["case"]
]


def times(value: Any, factor: int) -> Any:
    """A usage object with all its counts multiplied."""
    if isinstance(value, dict):
        return {name: times(inner, factor) for name, inner in value.items()}
    return value * factor if type(value) is int else value


def variants() -> list[dict[str, Any]]:
    return [{**call, "usage": times(call.get("usage"), factor)} for factor in (1, 3, 1000) for call in CALLS]


def cold(call: dict[str, Any]) -> Any:
    quotes._quotes.clear()
    return price(**call)


def test_warm_is_as_cold() -> None:
    calls = variants()
    right = [cold(call) for call in calls]
    quotes._quotes.clear()
    for _ in range(2):
        assert [price(**call) for call in calls] == right
    assert len(quotes._quotes) > 10, "else nothing was tried"


def test_a_bill_does_not_change_the_next() -> None:
    call = {"vendor": "openai", "api": "chat", "model": "gpt-4o-mini", "date": "2025-06-01",
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}  # fmt: skip
    first = cold(call)
    kept = json.loads(json.dumps(first))
    first["resolved"]["vendor"] = first["items"][0]["usd"] = first["source"]["library"] = "spoilt"
    assert json.loads(json.dumps(price(**call))) == kept


@pytest.mark.parametrize(
    "item", [{"type": "web_search_call"}, {"type": ["message"]}, "message", {"type": "image_generation_call"}]
)
def test_what_may_be_billed_besides_is_worked_out(item: Any) -> None:
    call = {"vendor": "openai", "api": "responses", "model": "gpt-4o-mini", "date": "2025-06-01",
            "usage": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}}  # fmt: skip
    cold({**call, "response": {"output": [{"type": "message"}]}})
    assert quotes._quotes
    warm = price(**call, response={"output": [item]})
    assert warm == cold({**call, "response": {"output": [item]}})
