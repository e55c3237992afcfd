"""Money: ``Decimal`` under a context that refuses to round, and plain decimal strings."""

from __future__ import annotations

from decimal import Context, Decimal, DecimalException, DivisionByZero, Inexact, InvalidOperation, Overflow
from functools import lru_cache
from typing import Any

EXACT = Context(prec=60, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
"""Sixty digits are far more than any bill has; what would still be rounded raises ``Inexact``."""

ZERO = Decimal(0)


def times(*factors: Decimal) -> Decimal:
    """The product. Raises ``decimal.Inexact`` where it would have to be rounded."""
    product = Decimal(1)
    for factor in factors:
        product = EXACT.multiply(product, factor)
    return product


def share(amount: Decimal, per: int) -> Decimal:
    """``amount / per``. Raises ``decimal.Inexact`` where the quotient has no end."""
    return EXACT.divide(amount, Decimal(per))


def total(amounts: list[Decimal]) -> Decimal:
    """The sum of dollars."""
    result = ZERO
    for amount in amounts:
        result = EXACT.add(result, amount)
    return result


@lru_cache(maxsize=4096)
def plain(amount: Decimal) -> str:
    """A plain decimal string: no exponent, no trailing zeros behind the point."""
    text = f"{amount:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def dollars(value: Any) -> Decimal | None:
    """A vendor's or a user's own figure in dollars; None where it is none.

    A number that a JSON parser has already made binary is read back by its shortest decimal form, which is
    the text that stood in the JSON.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        return None
    try:
        amount = Decimal(value) if isinstance(value, (int, Decimal)) else Decimal(str(value))
        amount = EXACT.plus(amount)
    except (DecimalException, ValueError):
        return None
    return amount if amount.is_finite() and amount >= 0 else None
