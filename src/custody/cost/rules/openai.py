"""OpenAI: the served tier, data residency, and the tools that are billed by the call."""

from __future__ import annotations

import re
from typing import Any

from custody.cost.call import Call, Terms
from custody.cost.names import squeezed
from custody.cost.overlay import overlay
from custody.cost.record import Unpriced
from custody.cost.rules.tiers import served

_GLOBAL = ("", "global", "default", "none", "worldwide")
_RESIDENCY = frozenset(
    "us eu au ca jp in sg kr gb uk ae uae usa europe australia canada japan india singapore korea southkorea "
    "unitedstates unitedkingdom unitedarabemirates".split()
)
_FREE_CALLS = frozenset(
    "function_call custom_tool_call mcp_call mcp_list_tools mcp_approval_request computer_call local_shell_call "
    "apply_patch_call tool_search_call".split()
)
_SEARCHES_ALWAYS = re.compile(r"gpt-(4o|4o-mini)-search-preview|gpt-5-search-api")


def terms(call: Call) -> Terms:
    """Raises ``Unpriced``."""
    found = Terms(call.model, served(call, call.response.get("service_tier")))
    found.region = region(call)
    if found.region == "residency":
        entry = next((e for e in overlay().entries("region", "openai", call.model) if _resident(e)), None)
        if entry is None:
            raise Unpriced("region_unpriced", f"it is not known what data residency costs for {call.model}")
        found.multiply("data_residency", entry)
    _tools(call, found)
    return found


def _resident(entry: dict[str, Any]) -> bool:
    return "residency" in entry["places"]


def region(call: Call) -> str | None:
    """``residency`` for a region of data residency; None for none."""
    word = (call.region or "").lower().removeprefix("https://")
    host = re.match(r"([a-z]{2})\.api\.openai\.com", word)
    name = host[1] if host else squeezed(word)
    if name in _GLOBAL or name == "apiopenaicom":
        return None
    if name not in _RESIDENCY:
        raise Unpriced("region_unpriced", f"the region {call.region!r} is not known")
    return "residency"


def _tools(call: Call, found: Terms) -> None:
    """Tool calls are items of the output, not usage."""
    if _SEARCHES_ALWAYS.match(call.model):
        found.beyond = "unit_unpriced"  # each request searches, and does not say how often
    output = call.response.get("output")
    preview = _preview(call.response.get("tools"))
    for item in output if isinstance(output, list) else []:
        kind = str(item.get("type")) if isinstance(item, dict) else ""
        if kind.startswith("web_search") and kind.endswith("call"):
            if _searched(item):
                name = "web_searches_preview" if preview or "preview" in kind else "web_searches"
                found.extra[name] = found.extra.get(name, 0) + 1
        elif kind == "file_search_call":
            found.extra["file_searches"] = found.extra.get("file_searches", 0) + 1
        elif kind.endswith("_call") and kind not in _FREE_CALLS:
            found.beyond = "unit_unpriced"  # a container's session, an image: billed, and not counted here
    block = overlay().first("search_tokens", "openai", call.model)
    if block is not None and found.extra.get("web_searches"):
        found.extra["input_search"] = block["tokens"] * found.extra["web_searches"]


def _searched(item: dict[str, Any]) -> bool:
    """Opening a page, and finding in it, is no search."""
    action = item.get("action")
    kind = action.get("type") if isinstance(action, dict) else None
    return kind in (None, "search") and item.get("status") != "failed"


def _preview(tools: Any) -> bool:
    kinds = [str(tool.get("type")) for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    return any(kind.startswith("web_search_preview") for kind in kinds)
