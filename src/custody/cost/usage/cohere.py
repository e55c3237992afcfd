"""Cohere bills ``billed_units``; its ``tokens`` count the prompt's framing as well."""

from __future__ import annotations

from typing import Any

from custody.cost.record import Unpriced
from custody.cost.usage.counts import Counted, count, part, unknown_fields

_UNITS = {"input_tokens": "input", "output_tokens": "output", "search_units": "rerank_searches"}
_KNOWN = frozenset(_UNITS)


def read(raw: dict[str, Any]) -> Counted:
    """Raises ``Unpriced`` where nothing says what is billed."""
    billed = part(raw, "billed_units") or part(part(raw, "meta"), "billed_units")
    if not billed:
        raise Unpriced("usage_missing", "no billed units")
    counted = Counted()
    for field, name in _UNITS.items():
        counted.add(name, count(billed, field) or 0)
    counted.unknown += unknown_fields(billed, _KNOWN, "billed_units.")
    return counted
