"""Google's usage metadata. Cached tokens lie inside the prompt; thoughts, and what tools read, beside everything."""

from __future__ import annotations

import re
from typing import Any

from custody.cost.record import Unpriced
from custody.cost.usage.counts import Counted, count, unknown_fields

_KINDS = {"TEXT": "", "DOCUMENT": "", "AUDIO": "audio", "IMAGE": "image", "VIDEO": "video"}
_BY_NUMBER = {"1": "TEXT", "2": "IMAGE", "3": "VIDEO", "4": "AUDIO", "5": "DOCUMENT"}  # of the protocol buffer
_KNOWN = frozenset(
    (
        "promptTokenCount cachedContentTokenCount toolUsePromptTokenCount candidatesTokenCount thoughtsTokenCount "
        "responseTokenCount totalTokenCount promptTokensDetails cacheTokensDetails toolUsePromptTokensDetails "
        "candidatesTokensDetails responseTokensDetails trafficType serviceTier billablePromptUsage tokenCount"
    ).split()
)
_INTERACTIONS = {
    "total_input_tokens": "promptTokenCount",
    "total_cached_tokens": "cachedContentTokenCount",
    "total_tool_use_tokens": "toolUsePromptTokenCount",
    "total_output_tokens": "candidatesTokenCount",
    "total_thought_tokens": "thoughtsTokenCount",
    "total_tokens": "totalTokenCount",
    "input_tokens_by_modality": "promptTokensDetails",
    "cached_tokens_by_modality": "cacheTokensDetails",
    "tool_use_tokens_by_modality": "toolUsePromptTokensDetails",
    "output_tokens_by_modality": "candidatesTokensDetails",
}


def read(raw: dict[str, Any], operation: str) -> Counted:
    """Raises ``Unpriced`` where usage is missing or does not add up."""
    raw = {_camel(_INTERACTIONS.get(name, name)): value for name, value in raw.items()}
    given = count(raw, "promptTokenCount", "tokenCount")
    made = count(raw, "candidatesTokenCount", "responseTokenCount")
    cached, tool = count(raw, "cachedContentTokenCount") or 0, count(raw, "toolUsePromptTokenCount") or 0
    thoughts, total = count(raw, "thoughtsTokenCount") or 0, count(raw, "totalTokenCount")
    if given is None and total is not None and made is not None:
        given = total - made - tool - thoughts  # Google leaves out what is 0
    if made is None and given is not None:
        made = 0 if operation == "embeddings" else None if total is None else total - given - tool - thoughts
    if given is None or made is None:
        raise Unpriced("usage_missing")
    counted = Counted()
    asked = _kinds(raw, "promptTokensDetails", given)
    hit = _kinds(raw, "cacheTokensDetails", cached)
    if cached and set(asked) - {""} and "cacheTokensDetails" not in raw:
        raise Unpriced("usage_inconsistent", "it is not said of which kind the cached tokens are")
    for kind in sorted({*asked, *hit}):
        suffix = f"_{kind}" if kind else ""
        counted.add(f"input{suffix}", asked.get(kind, 0) - hit.get(kind, 0))
        counted.add(f"cache_read{suffix}", hit.get(kind, 0))
    for kind, tokens in _kinds(raw, "toolUsePromptTokensDetails", tool).items():
        counted.add(f"input_{kind}" if kind else "tool_input", tokens)
    for kind, tokens in _kinds(raw, "candidatesTokensDetails", made, "responseTokensDetails").items():
        counted.add(f"output_{kind}" if kind else "output", tokens)
    counted.add("reasoning", thoughts)
    counted.must_be(total)
    counted.unknown += unknown_fields(raw, _KNOWN)
    return counted


def _kinds(raw: dict[str, Any], name: str, whole: int, other: str = "") -> dict[str, int]:
    """Tokens by kind; what the details leave out is text."""
    details = raw.get(name) or raw.get(other) or []
    if not details and whole >= 0:
        return {"": whole}
    by_kind: dict[str, int] = {}
    for entry in details if isinstance(details, list) else []:
        if not isinstance(entry, dict):
            raise Unpriced("usage_inconsistent", f"{name} is no list of counts")
        entry = {_camel(key): value for key, value in entry.items()}
        word = str(entry.get("modality", "TEXT")).rpartition(".")[2].upper()
        word = _BY_NUMBER.get(word, word)
        if word not in _KINDS:
            raise Unpriced("unit_unpriced", f"tokens of the kind {word}")
        by_kind[_KINDS[word]] = by_kind.get(_KINDS[word], 0) + (count(entry, "tokenCount", "tokens") or 0)
    rest = whole - sum(by_kind.values())
    if rest < 0:
        raise Unpriced("usage_inconsistent", f"{name} add up to more than their whole")
    if rest or not by_kind:
        by_kind[""] = by_kind.get("", 0) + rest
    return by_kind


def _camel(name: str) -> str:
    return name if "_" not in name else re.sub(r"_([a-z])", lambda match: match[1].upper(), name)
