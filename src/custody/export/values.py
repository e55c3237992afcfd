"""Values of a row, each of its column's kind or None."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from datetime import UTC
from decimal import ROUND_HALF_EVEN, Context, Decimal, DecimalException
from typing import Any

import orjson

from custody.cost.money import dollars
from custody.export.call import Row, count, moment
from custody.export.columns import Column

PRECISION, SCALE = 38, 18
"""Digits of a decimal column in all, and behind the point: what Parquet keeps in 16 bytes."""

_STEP = Decimal(1).scaleb(-SCALE)
_ROUNDING = Context(prec=PRECISION, rounding=ROUND_HALF_EVEN)

Values = tuple[Any, ...]


def values(columns: Sequence[Column], row: Row) -> Values:
    """A row's values, in the order of the columns."""
    found = []
    for column in columns:
        value = column.read(row)
        found.append(None if value is None else _READ[column.kind](value))
    return tuple(found)


def _string(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    if value.isascii():
        return value
    return value.encode("utf-8", "replace").decode()  # a lone surrogate is no character of any file


def _strings(value: Any) -> list[str] | None:
    return [text for each in value if (text := _string(each)) is not None] if isinstance(value, list) else None


def _integer(value: Any) -> int | None:
    number = count(value)
    return number if number is not None and -(2**63) <= number < 2**63 else None


def _double(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _timestamp(value: Any) -> Any:
    found = moment(value)
    return None if found is None else found.astimezone(UTC)


def _decimal(value: Any) -> Decimal | None:
    amount = dollars(value)
    if amount is None:
        return None
    try:
        return amount.quantize(_STEP, context=_ROUNDING)
    except DecimalException:  # 10^20 dollars
        return None


def _json(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # an integer beyond 64 bits, a lone surrogate: what only Python's own takes
        return json.dumps(value, separators=(",", ":"))


_READ: dict[str, Callable[[Any], Any]] = {
    "string": _string, "strings": _strings, "integer": _integer, "double": _double, "boolean": _boolean,
    "timestamp": _timestamp, "decimal": _decimal, "json": _json,
}  # fmt: skip
