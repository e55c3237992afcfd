"""Google: the Gemini API and Vertex AI. The tier is in a header or in ``trafficType``; grounding is no usage."""

from __future__ import annotations

import re
from typing import Any

from custody.cost.call import Call, Terms
from custody.cost.names import squeezed
from custody.cost.overlay import overlay
from custody.cost.record import Unpriced
from custody.cost.rules import anthropic
from custody.cost.rules.tiers import served

_TIER_HEADER = "x-gemini-service-tier"
_TRAFFIC_BY_NUMBER = {"0": "TRAFFIC_TYPE_UNSPECIFIED", "1": "ON_DEMAND", "2": "PROVISIONED_THROUGHPUT"}  # over gRPC
_NOWHERE = ("", "global", "default", "none")
_LOCATION = re.compile(r"[a-z]+-[a-z]+\d{1,2}|us|eu|asia")


def developer_terms(call: Call) -> Terms:
    """The Gemini API. Raises ``Unpriced``."""
    usage = call.usage
    found = Terms(
        call.model,
        served(call, call.headers.get(_TIER_HEADER), usage.get("serviceTier") or usage.get("service_tier")),
    )
    if squeezed(call.region or "") not in _NOWHERE:
        raise Unpriced("region_unpriced", f"the Gemini API has no region {call.region!r}")
    _grounding(call, found)
    return found


def vertex_terms(call: Call) -> Terms:
    """Vertex AI, Google's models and Anthropic's. Raises ``Unpriced``."""
    usage = call.usage
    stated = usage.get("trafficType") or usage.get("traffic_type")
    stated = _TRAFFIC_BY_NUMBER.get(str(stated), stated)
    if stated is not None and squeezed(stated) == "traffictypeunspecified":
        raise Unpriced("tier_unpriced", "Vertex AI did not say what traffic it was")
    found = Terms(call.model, served(call, stated, call.headers.get(_TIER_HEADER), usage.get("service_tier")))
    if found.tier == "priority" and "claude" in call.model:
        raise Unpriced("committed_capacity")
    _location(call, found)
    anthropic.elsewhere(call, found)
    _grounding(call, found)
    return found


def _location(call: Call, found: Terms) -> None:
    place = (call.region or "").lower()
    entries = [e for e in overlay().entries("region", "vertexai", call.model) if "regional" in e["places"]]
    if place and place not in _NOWHERE and _LOCATION.fullmatch(place) is None:
        raise Unpriced("region_unpriced", f"the location {call.region!r} is not known")
    if not entries or place == "global":
        found.region = place or None
        return
    if not place:
        raise Unpriced("region_unpriced", "the price depends on the location, which is not known")
    found.region = place
    if call.when.day >= entries[0].get("since", call.when.day):
        found.multiply("regional_endpoint", entries[0])


def _grounding(call: Call, found: Terms) -> None:
    """Searches are free up to a number a day that the whole account shares."""
    candidates = call.response.get("candidates")
    for candidate in candidates if isinstance(candidates, list) else []:
        if isinstance(candidate, dict) and _grounded(candidate):
            found.beyond = "free_allowance_unknown"


def _grounded(candidate: dict[str, Any]) -> bool:
    metadata = candidate.get("groundingMetadata") or candidate.get("grounding_metadata")
    if not isinstance(metadata, dict):
        return False
    used = ("webSearchQueries", "web_search_queries", "groundingChunks", "grounding_chunks", "imageSearchQueries")
    return any(metadata.get(name) for name in (*used, "retrievalQueries", "searchEntryPoint", "search_entry_point"))
