"""Evidence or a reason, and never an invented number."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.record import PRICE_REASONS, REASONS, Finding, Price, Usage, found, plain_numbers, unknown


def test_findings_name_their_place() -> None:
    assert found("m", "url", "path") == Finding("m", "url:path")
    assert found("x" * 300, "url", "path").value == "x" * 256
    with pytest.raises(ValueError, match="evidence lies in one of"):
        found("m", "thin air", "x")


def test_an_unknown_has_a_reason_from_the_list() -> None:
    assert [unknown(reason) for reason in REASONS] == [Finding(None, f"unknown:{reason}") for reason in REASONS]
    with pytest.raises(ValueError, match="an unknown has one of the reasons"):
        unknown("because")


def test_a_price_is_an_amount_or_a_reason() -> None:
    assert Price(Decimal("0.0001"), evidence="table").reason is None
    for reason in PRICE_REASONS:
        assert Price(None, reason).usd is None
    for wrong in ((None, None), (Decimal(1), "usage_missing"), (None, "because")):
        with pytest.raises(ValueError, match="price"):
            Price(*wrong)


def test_tokens_add_up_and_unknown_is_not_zero() -> None:
    assert Usage(10, 5, 3, 2, 1).total == 21
    assert Usage(10, None).total == 10
    assert Usage(None, None, cache_read=3).total is None
    assert Usage(0, 0).total == 0


def test_usage_without_its_texts() -> None:
    value = {
        "input_tokens": 3,
        "tier": "standard",
        "note": "two words",
        "zh": "没有空格的一句话",
        "long": "x" * 33,
        "cost": 0.5,
        "nan": float("nan"),
        "inf": float("-inf"),
        "flag": True,
        "none": None,
        "inner": {"n": [1, "a b", {"m": 2}]},
        "k" * 99: 1,
    }
    assert plain_numbers(value) == {
        "input_tokens": 3,
        "tier": "standard",
        "cost": 0.5,
        "flag": True,
        "inner": {"n": [1, None, {"m": 2}]},
        "k" * 64: 1,
    }


def test_usage_that_is_nested_without_end() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = {"d": deep}
    kept = plain_numbers(deep)
    assert str(kept).count("d") <= 8


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda v: st.lists(v) | st.dictionaries(st.text(), v),
    )
)
def test_what_is_kept_is_json(value: Any) -> None:
    json.dumps(plain_numbers(value), allow_nan=False)
