"""Anthropic: tier, speed, where it was computed, searches, and refusals."""

from __future__ import annotations

from typing import Any

from custody.cost import names
from custody.cost.call import Call, Terms
from custody.cost.names import squeezed
from custody.cost.overlay import overlay
from custody.cost.record import Unpriced
from custody.cost.rules.tiers import served
from custody.cost.usage.counts import count, part, unknown_fields

_ANYWHERE = ("", "global", "notavailable", "default", "none")
_FREE_TOOLS = frozenset(
    ("web_search_requests", "web_fetch_requests", "tool_search_requests", "code_execution_requests")
)


def terms(call: Call) -> Terms:
    """Raises ``Unpriced``."""
    found = Terms(call.model, _tier(call))
    if found.tier == "priority":
        raise Unpriced("committed_capacity", "the priority tier is bought beforehand")
    speed = squeezed(call.usage.get("speed") or call.response.get("speed") or "standard")
    if speed == "fast":
        if found.tier != "standard":
            raise Unpriced("tier_unpriced", "a fast batch")
        found.tier = "fast"
    elif speed != "standard":
        raise Unpriced("tier_unpriced", f"the speed {speed} is not known")
    _geography(call, found)
    search(call, found)
    found.free = _unbilled_refusal(call)
    return found


def _tier(call: Call) -> str:
    stated = call.usage.get("service_tier") or call.response.get("service_tier")
    if call.batch and stated is not None and names.tier(stated) == "standard":
        raise Unpriced("tier_unpriced", "a batch whose response says that it was none")
    if stated is None and isinstance(call.tier, str) and squeezed(call.tier) == "standardonly":
        return served(call._replace(tier="standard"))
    return served(call, stated)


def _geography(call: Call, found: Terms) -> None:
    stated = call.usage.get("inference_geo") or call.response.get("inference_geo") or call.region
    place = squeezed(stated or "")
    if place in _ANYWHERE:
        return
    for entry in overlay().entries("region", "anthropic", call.model, call.when.day):
        if place in entry["places"]:
            found.region = place
            found.multiply("inference_geo", entry)
            return
    raise Unpriced("region_unpriced", f"inference in {stated!r} has no known price for {call.model}")


def search(call: Call, found: Terms) -> None:
    """The server's tools, which Anthropic counts."""
    used = part(call.usage, "server_tool_use")
    if unknown_fields(used, _FREE_TOOLS):
        raise Unpriced("unit_unpriced", "a server tool whose price is not known")
    searches = count(used, "web_search_requests") or 0
    if searches:
        found.extra["web_searches"] = searches
    if count(used, "code_execution_requests") and not searches:
        found.beyond = "free_allowance_unknown"  # the first hours of a month are free


def elsewhere(call: Call, found: Terms) -> None:
    """Claude at another vendor, whose rules for these things are not known. Raises ``Unpriced``."""
    if "claude" not in call.model:
        return
    if squeezed(call.usage.get("speed") or "standard") != "standard":
        raise Unpriced("tier_unpriced", f"fast mode at {call.vendor}")
    if squeezed(call.usage.get("inference_geo") or "") not in _ANYWHERE:
        raise Unpriced("region_unpriced", f"inference_geo at {call.vendor}")
    if refused_before_output(call):
        raise Unpriced("price_not_found", f"what a refusal costs at {call.vendor} is not known")
    search(call, found)


def refused_before_output(call: Call) -> bool:
    """A refusal that came before any output."""
    if call.response.get("stop_reason") != "refusal":
        return False
    content = call.response.get("content")
    if isinstance(content, list):
        return not content
    return count(call.usage, "output_tokens") == 0


def _unbilled_refusal(call: Call) -> dict[str, Any] | None:
    entry = overlay().first("refusal", "anthropic", call.model)
    if entry is None or not refused_before_output(call):
        return None
    if call.usage.get("iterations"):
        raise Unpriced("usage_inconsistent", "a refusal of several runs: which of them are billed is not known")
    details = call.response.get("stop_details")
    category = details.get("category") if isinstance(details, dict) else call.response.get("category")
    billed = category in entry["billed_categories"] and call.when.day >= entry["billed_since"]
    return None if billed else entry
