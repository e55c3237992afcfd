"""Azure: the type of deployment decides, and no response names it. The user does, or there is no price."""

from __future__ import annotations

from typing import Any

from custody.cost.call import Call, Terms
from custody.cost.names import squeezed
from custody.cost.overlay import overlay
from custody.cost.record import Unpriced
from custody.cost.rules import anthropic
from custody.cost.rules.tiers import served

_ZONES = {
    "datazoneus": "datazone-us",
    "usdatazone": "datazone-us",
    "us": "datazone-us",
    "datazoneeu": "datazone-eu",
    "eudatazone": "datazone-eu",
    "eu": "datazone-eu",
    "datazoneapac": "datazone-apac",
    "apacdatazone": "datazone-apac",
    "apac": "datazone-apac",
    "datazoneasia": "datazone-apac",
}
_MEMBERS = {
    "datazone-us": "eastus eastus2 westus westus2 westus3 centralus northcentralus southcentralus".split(),
    "datazone-eu": "swedencentral westeurope northeurope francecentral germanywestcentral polandcentral italynorth "
    "spaincentral".split(),
}
"""Azure regions that lie in a data zone."""

_TYPES = {"global", "globalstandard", "globalbatch", "datazone", "datazonestandard", "datazonebatch", "regional"}
_TYPES |= {"regionalstandard", "datazonestandardus", "datazonestandardeu", "datazonestandardapac", "developer"}
_PROVISIONED = ("provisioned", "ptu")


def terms(call: Call) -> Terms:
    """Raises ``Unpriced``."""
    words = [squeezed(word) for word in (call.deployment, call.region, call.tier) if isinstance(word, str)]
    if any(word.startswith(_PROVISIONED) or "provisioned" in word for word in words):
        raise Unpriced("provisioned_throughput")
    kind = _deployment(words)
    found = Terms(call.model, _tier(call, words), kind)
    if kind.startswith("datazone"):
        found.multiply("data_zone", _zone(call, kind))
    elif kind != "global":
        raise Unpriced("region_unpriced", "prices of regional deployments are not known")
    anthropic.elsewhere(call, found)
    if "web_searches" in found.extra:
        raise Unpriced("unit_unpriced", "what a search costs on Azure is not known")
    output = call.response.get("output")
    if isinstance(output, list) and any(str(_get(item, "type")).endswith("search_call") for item in output):
        found.beyond = "unit_unpriced"
    return found


def _deployment(words: list[str]) -> str:
    stated = [word for word in words if word in _TYPES or word in _ZONES or word.startswith(("datazone", "global"))]
    if not stated:
        raise Unpriced("deployment_type_unknown", "Azure does not say it: state global, datazone-us, datazone-eu, ...")
    if any(word.startswith("global") for word in stated):
        return "global"
    if any(word.startswith("regional") for word in stated):
        return "regional"
    zones = {zone for word in words if (zone := _zone_of(word)) is not None}
    zones = zones or {zone for word in words for zone, places in _MEMBERS.items() if word in places}
    if len(zones) != 1:
        raise Unpriced("region_unpriced", "which data zone is not known")
    return zones.pop()


def _zone_of(word: str) -> str | None:
    bare = word.replace("standard", "").replace("batch", "")
    return _ZONES.get(bare) or (_ZONES.get(bare.removeprefix("datazone")) if bare.startswith("datazone") else None)


def _tier(call: Call, words: list[str]) -> str:
    batch = call.batch or any(word.endswith("batch") for word in words)
    response = call.response.get("service_tier")
    stated = call.tier if isinstance(call.tier, str) and squeezed(call.tier) not in (*_TYPES, *_ZONES) else None
    if isinstance(stated, str) and squeezed(stated).startswith("datazone"):
        stated = None
    plain = call._replace(tier=stated, batch=batch)
    return served(plain, response)


def _zone(call: Call, kind: str) -> dict[str, Any]:
    for entry in overlay().entries("region", "azure", call.model, call.when.day):
        if kind in entry["places"]:
            return entry
    raise Unpriced("region_unpriced", f"nothing is known of {kind}")


def _get(item: Any, name: str) -> Any:
    return item.get(name) if isinstance(item, dict) else None
