"""What tier a call was served at. The served one decides, not the one that was asked for."""

from __future__ import annotations

from typing import Any

from custody.cost import names
from custody.cost.call import Call
from custody.cost.record import Unpriced

_CAPACITY = {"provisioned": "provisioned_throughput", "reserved": "reserved_capacity"}


def served(call: Call, *stated: Any) -> str:
    """The first tier that is stated, the response's words before the caller's.

    Raises:
        Unpriced: ``tier_unpriced`` for a tier that nobody knows, or where statements exclude each other; the
            reason of a capacity that was bought beforehand, for which a single call has no price.
    """
    word = next((s for s in (*stated, call.tier) if s not in (None, "", {})), None)
    tier = "standard" if word is None else names.tier(word)
    if tier is None:
        raise Unpriced("tier_unpriced", f"the tier {word!r} is not known")
    if tier in _CAPACITY:
        raise Unpriced(_CAPACITY[tier])
    if call.batch and tier not in ("standard", "batch"):
        raise Unpriced("tier_unpriced", f"a batch served as {tier}")
    return "batch" if call.batch else tier
