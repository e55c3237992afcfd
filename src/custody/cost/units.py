"""What a class of units is billed at: which of the library's rates, and how many units it is for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from custody.cost.record import Unpriced

PER_TOKENS = 1_000_000

_OWN = {
    "input": "input_mtok",
    "input_search": "input_mtok",
    "tool_input": "input_tool_mtok",
    "input_audio": "input_audio_mtok",
    "input_image": "input_image_mtok",
    "input_video": "input_video_mtok",
    "cache_read": "cache_read_mtok",
    "cache_read_audio": "cache_audio_read_mtok",
    "cache_read_image": "cache_image_read_mtok",
    "cache_read_video": "cache_video_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_5m": "cache_write_5m_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "output": "output_mtok",
    "reasoning": "output_reasoning_mtok",
    "output_audio": "output_audio_mtok",
    "output_image": "output_image_mtok",
    "output_video": "output_video_mtok",
}
"""The rate that is a class's own."""

_COUNTED = {
    "audio_seconds": (("input_audio_hours", "audio_hours"), 3600),
    "input_characters": (("input_mchars",), 1_000_000),
    "input_pages": (("input_document_kpages",), 1000),
    "rerank_searches": (("rerank_searches_kcount",), 1000),
    "web_searches": (("web_searches_kcount",), 1000),
    "file_searches": (("storage_searches_kcount",), 1000),
}
"""Units that are no tokens: their rates, and how many units these are for."""

_OPENAI = ("openai", "azure")
_GOOGLE = ("google", "vertexai")
_WRITES_ARE_INPUT = re.compile(r"(gpt-[34]|gpt-5(-|$)|gpt-5[.-][1-5]|chatgpt|codex|o[134])")


TOKENS = _OWN.keys()
"""The classes of tokens."""


def is_token(name: str) -> bool:
    """Whether the class is one of tokens."""
    return name in _OWN


def token_rate(name: str, rates: Mapping[str, Any], vendor: str, model: str) -> str:
    """The key of the rate of a class of tokens. Raises ``Unpriced`` where the model has none."""
    own = _OWN[name]
    if own in rates:
        return own
    other = _instead(name, rates, vendor, model)
    if other is None or other not in rates:
        raise Unpriced("unit_unpriced", f"{model} has no rate for {name}")
    return other


def _instead(name: str, rates: Mapping[str, Any], vendor: str, model: str) -> str | None:
    """Where a class has no rate of its own: the one that it is billed at all the same."""
    if name in ("tool_input", "reasoning"):
        return "input_mtok" if name == "tool_input" else "output_mtok"
    if name == "cache_write_5m":
        return "cache_write_mtok"
    if name == "input_image" or (name in ("input_audio", "input_video") and vendor in _GOOGLE):
        return "input_mtok"  # one rate for all kinds of input
    kind = name.removeprefix("cache_read_")
    if kind in ("audio", "image", "video"):
        return "cache_read_mtok" if f"input_{kind}_mtok" not in rates else None
    if vendor in _OPENAI and name == "cache_read" and re.search(r"-pro(-|$)", model):
        return "input_mtok"  # pro models have no cached rate
    if vendor in _OPENAI and name == "cache_write" and _WRITES_ARE_INPUT.match(model):
        return "input_mtok"  # only gpt-5.6 and later bill writes
    if (name == "output_audio" and "tts" in model) or (name == "output_image" and model.startswith("gpt-image")):
        return "output_mtok"  # all that they put out
    return None


def counted_rate(name: str, rates: Mapping[str, Any]) -> tuple[str, int] | None:
    """The key and the number of units of a rate that is not for tokens; None where the model has none."""
    keys, per = _COUNTED.get(name, ((), 1))
    return next(((key, per) for key in keys if key in rates), None)
