"""The vendors' rules: from a call to the terms by which it is priced. One module a vendor."""

from __future__ import annotations

from custody.cost.call import Call, Terms
from custody.cost.overlay import overlay
from custody.cost.rules import anthropic, azure, bedrock, google, openai, others

_BY_VENDOR = {
    "openai": openai.terms,
    "azure": azure.terms,
    "anthropic": anthropic.terms,
    "google": google.developer_terms,
    "vertexai": google.vertex_terms,
    "bedrock": bedrock.terms,
}


def terms(call: Call) -> Terms:
    """Raises ``Unpriced`` where a dimension of the price is unknown."""
    found = _BY_VENDOR.get(call.vendor, others.terms)(call)
    found.free = found.free or overlay().first("free", call.vendor, call.model)
    return found
