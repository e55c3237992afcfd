"""Ids of tool calls do not count; which result belongs to which call does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from custody.identity import tool_ids
from custody.identity.key import canonical_body, canonical_json

JSON = (("content-type", "application/json"),)


def openai(*ids: str, results: tuple[int, ...] = (0, 1)) -> dict[str, Any]:
    calls = [{"id": i, "type": "function", "function": {"name": f"f{n}", "arguments": "{}"}} for n, i in enumerate(ids)]
    answers = [{"role": "tool", "tool_call_id": ids[n], "content": f"result {n}"} for n in results]
    return {"model": "m", "messages": [{"role": "assistant", "tool_calls": calls}, *answers]}


def anthropic(one: str, two: str) -> dict[str, Any]:
    uses = [{"type": "tool_use", "id": one, "name": "f", "input": {}}, {"type": "tool_use", "id": two, "name": "g"}]
    results = [{"type": "tool_result", "tool_use_id": i, "content": i == one} for i in (one, two)]
    return {"messages": [{"role": "assistant", "content": uses}, {"role": "user", "content": results}]}


def responses(one: str, two: str) -> dict[str, Any]:
    return {"input": [
        {"type": "function_call", "id": "fc_1", "call_id": one, "name": "f", "arguments": "{}"},
        {"type": "function_call", "id": "fc_2", "call_id": two, "name": "g", "arguments": "{}"},
        {"type": "function_call_output", "call_id": two, "output": "x"},
    ]}  # fmt: skip


def gemini(one: str, two: str) -> dict[str, Any]:
    return {"contents": [{"parts": [{"functionCall": {"id": one, "name": "f"}}, {"functionCall": {"id": two}}]},
                         {"parts": [{"functionResponse": {"id": one, "response": {}}}]}]}  # fmt: skip


def bedrock(one: str, two: str) -> dict[str, Any]:
    return {"messages": [{"content": [{"toolUse": {"toolUseId": one}}, {"toolUse": {"toolUseId": two}}]},
                         {"content": [{"toolResult": {"toolUseId": two, "content": []}}]}]}  # fmt: skip


def key(value: Any) -> str:
    return canonical_json(canonical_body(JSON, json.dumps(value).encode()))


@pytest.mark.parametrize("dialect", [openai, anthropic, responses, gemini, bedrock])
def test_invented_ids_give_one_key(dialect: Any) -> None:
    one, other = dialect("call_a", "call_b"), dialect("call_9f", "call_00")
    assert one != other
    assert key(one) == key(other)
    assert key(one) != key(dialect("call_a", "call_a")), "two calls have become one"


def test_whose_result_it_is_counts() -> None:
    assert key(openai("a", "b")) != key(openai("a", "b", results=(1, 0)))
    swapped = openai("a", "b")
    first, second = swapped["messages"][1:]
    first["tool_call_id"], second["tool_call_id"] = second["tool_call_id"], first["tool_call_id"]
    assert key(openai("a", "b")) != key(swapped)


@pytest.mark.parametrize(
    "value",
    [
        {"id": "x", "messages": []},
        {"previous_response_id": "x", "tools": [{"type": "mcp", "id": "x"}]},
        {"input": [{"type": "item_reference", "id": "x"}], "tools": []},
        {"tools": [{"name": "f", "parameters": {"properties": {"call_id": {"type": "string"}}}}]},
        {"metadata": {"user_id": "x"}, "tools": []},
        [1, "tool", None],
    ],
)
def test_other_ids_count(value: Any) -> None:
    assert tool_ids.renamed(value) == value


def test_the_order_of_keys_does_not_count() -> None:
    turned = json.loads(json.dumps(openai("a", "b")), object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    assert key(turned) == key(openai("c", "d"))


def test_nothing_is_changed_in_place() -> None:
    value = openai("a", "b")
    before = json.dumps(value)
    assert tool_ids.renamed(value) != value
    assert json.dumps(value) == before
