"""Vendors without rules of their own: the standard rate, or no price."""

from __future__ import annotations

from custody.cost.call import Call, Terms
from custody.cost.names import squeezed
from custody.cost.record import Unpriced
from custody.cost.rules.tiers import served

_NOWHERE = ("", "global", "default", "none")


def terms(call: Call) -> Terms:
    """Raises ``Unpriced``."""
    if call.vendor != "openrouter" and squeezed(call.region or "") not in _NOWHERE:
        raise Unpriced("region_unpriced", f"no prices by region are known for {call.vendor}")
    found = Terms(call.model, served(call, call.response.get("service_tier")))
    found.estimated = call.vendor == "openrouter"  # the price is that of whoever it was routed to
    return found
