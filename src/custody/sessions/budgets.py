"""A budget as a program or a command states it."""

from __future__ import annotations

from decimal import Decimal, DecimalException
from typing import Any, TypedDict, Unpack

from custody.cost.ledger import Limits
from custody.errors import UsageError


class Budget(TypedDict, total=False):
    """What may be spent.

    Attributes:
        budget_usd: dollars, best as a string.
        budget_tokens: tokens of all classes.
        max_calls: calls that are sent.
        budget_unpriced: "refuse" (the default) or "allow" calls that have no price.
        budget_output_tokens: what to reserve where a request states no limit of its output; without it, the
            model's longest answer.
    """

    budget_usd: str | int | Decimal | None
    budget_tokens: int | None
    max_calls: int | None
    budget_unpriced: str | None
    budget_output_tokens: int | None


def limits(**stated: Unpack[Budget]) -> dict[str, Any] | None:
    """As the ledger has it; None where no limit is stated. Raises UsageError for a value that is none."""
    unknown = set(stated) - set(Budget.__annotations__)
    if unknown:
        raise UsageError(f"{', '.join(sorted(unknown))}: a budget is stated by {', '.join(Budget.__annotations__)}")
    unpriced = stated.get("budget_unpriced") or "refuse"
    if unpriced not in ("refuse", "allow"):
        raise UsageError(f"budget_unpriced is 'refuse' or 'allow', not {unpriced!r}")
    found = Limits(
        _usd(stated.get("budget_usd")),
        _count("budget_tokens", stated.get("budget_tokens")),
        _count("max_calls", stated.get("max_calls")),
        unpriced == "allow",
        _count("budget_output_tokens", stated.get("budget_output_tokens")),
    )
    return found.as_dict() if found else None


def _usd(value: Any) -> Decimal | None:
    if value is None:
        return None
    try:
        amount = Decimal(str(value))  # 0.1 is meant as it is written
    except DecimalException:
        amount = Decimal(-1)
    if isinstance(value, bool) or not amount.is_finite() or amount < 0:
        raise UsageError(f'budget_usd = {value!r} is no amount of dollars: write for example "12.50"')
    return amount


def _count(name: str, value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise UsageError(f"{name} = {value!r} is no number of at least 0")
    return value
