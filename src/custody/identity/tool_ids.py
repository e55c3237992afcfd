"""Ids of tool calls leave the answer alone, and some libraries invent them anew in every run.

They come back in the next turn of the conversation, so a key made with them would miss on every resume.
They are renamed by their first appearance: which call a result belongs to still counts, its name does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

REFERENCES = frozenset("tool_call_id tool_use_id toolUseId call_id".split())
_KINDS = frozenset("function tool_use server_tool_use function_call tool_call custom".split())
_HOLDERS = frozenset("tool_calls functionCall functionResponse function_call function_response toolUse".split())
_DATA = frozenset(
    "input args arguments parameters response result output".split()
)  # of a call: the program's own words
_ASIDE = frozenset("tools metadata".split())  # of the request


_REQUEST = "\0"


def _own(value: dict[str, Any], holder: str) -> frozenset[str]:
    """Members in which an ``id`` is the program's or the model's own data."""
    if holder == _REQUEST:
        return _ASIDE
    of_call = holder in _HOLDERS or value.get("type") in _KINDS or not REFERENCES.isdisjoint(value)
    return _DATA if of_call else frozenset()


def may_have(value: dict[str, Any]) -> bool:
    """Whether it is worth looking: False for an object that has itself no member that could be such an id."""
    return "id" in value or not REFERENCES.isdisjoint(value)


def renamed(value: Any) -> Any:
    """``value`` (JSON) with its tool-call ids replaced by ``tool-call-1``, ``tool-call-2``, ..."""
    names: dict[str, str] = {}
    for owner, key in _places(value, _REQUEST):
        names.setdefault(owner[key], f"tool-call-{len(names) + 1}")
    return _copy(value, _REQUEST, names) if names else value


def _copy(value: Any, holder: str, names: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_copy(inner, holder, names) for inner in value]
    if not isinstance(value, dict):
        return value
    own = _own(value, holder)
    copied = {key: inner if key in own else _copy(inner, key, names) for key, inner in value.items()}
    for key in _ids_of(value, holder):
        copied[key] = names[value[key]]
    return copied


def _places(value: Any, holder: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Where ids stand, in an order that does not depend on how the JSON was written."""
    if isinstance(value, list):
        for inner in value:
            yield from _places(inner, holder)
    elif isinstance(value, dict):
        for key in _ids_of(value, holder):
            yield value, key
        for key in sorted(value.keys() - _own(value, holder)):
            yield from _places(value[key], key)


def _ids_of(value: dict[str, Any], holder: str) -> Iterator[str]:
    for key in sorted(REFERENCES & value.keys()):
        if isinstance(value[key], str):
            yield key
    if isinstance(value.get("id"), str) and (holder in _HOLDERS or value.get("type") in _KINDS):
        yield "id"
