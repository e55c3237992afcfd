"""A bill that is made after another one is the bill that would have been worked out."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from custody.cost import load, price, quotes

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


LONG = [
    ({"vendor": "anthropic", "api": "messages", "model": "claude-sonnet-4-5"}, "input_tokens", "output_tokens"),
    ({"vendor": "gemini", "api": "chat", "model": "gemini-2.5-pro"}, "promptTokenCount", "candidatesTokenCount"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "given", "made"), LONG)
def test_a_rate_that_changes_with_the_length_holds_up_to_its_step(call: dict[str, Any], given: str, made: str) -> None:
    def asked(tokens: int) -> dict[str, Any]:
        usage = {given: tokens, made: 7} | ({"totalTokenCount": tokens + 7} if made != "output_tokens" else {})
        return {**call, "date": "2026-11-05", "usage": usage}

    lengths = (1, 199_999, 200_000, 200_001, 900_000)
    right = [cold(asked(tokens)) for tokens in lengths]
    assert len({record["items"][0]["rate_usd"] for record in right}) == 2, "else the model has no step"
    for first in lengths:
        quotes._quotes.clear()
        price(**asked(first))
        assert bool(quotes._quotes) == (first <= 200_000), "above its step a bill is quoted for nobody"
        assert [price(**asked(tokens)) for tokens in lengths] == right


@pytest.mark.parametrize(
    ("usage", "response"),
    [
        ({"speed": "fast"}, {}),
        ({"inference_geo": "us"}, {}),
        ({"service_tier": "batch"}, {}),
        ({"service_tier": "priority"}, {}),
        ({"server_tool_use": {"web_search_requests": 2}}, {}),
        ({"iterations": [{"input_tokens": 1, "output_tokens": 1, "model": "claude-haiku-4-5"}]}, {}),
        ({}, {"stop_reason": "refusal", "content": []}),
        ({}, {"service_tier": "batch"}),
    ],
)
def test_what_a_rule_reads_is_another_bill(usage: dict[str, Any], response: dict[str, Any]) -> None:
    call = {"vendor": "anthropic", "api": "messages", "model": "claude-opus-4-8", "date": "2026-11-05"}
    counts = {"input_tokens": 10, "output_tokens": 5}
    right = cold({**call, "usage": {**counts, **usage}, "response": response})
    plain = cold({**call, "usage": counts})
    assert quotes._quotes
    assert price(**call, usage={**counts, **usage}, response=response) == right != plain


def test_a_users_rates_are_another_bill(tmp_path: Path) -> None:
    call = {"vendor": "openai", "api": "chat", "model": "gpt-4o-mini", "date": "2026-11-05",
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}  # fmt: skip
    listed = cold(call)
    agreed = []
    for number in (1, 2, 1):
        file = tmp_path / f"{number}.toml"
        file.write_text(
            f'[[rates]]\nvendor = "openai"\nmodel = "gpt-4o-mini"\ninput_mtok = "{number}"\noutput_mtok = "{number}"\n'
        )
        agreed.append(price(**call, rates=load(file)))
    assert agreed[0] == agreed[2] != agreed[1]
    assert agreed[0]["cost_usd"] == "0.000015" and agreed[1]["cost_usd"] == "0.00003"
    assert price(**call) == listed
