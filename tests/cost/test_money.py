"""Money is Decimal: no float on any path, nothing rounded, plain strings that survive JSON."""

from __future__ import annotations

import ast
import json
import tomllib
from decimal import Decimal, Inexact
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.cost import price
from custody.cost.library import table
from custody.cost.money import dollars, plain, share, times, total
from custody.cost.overlay import overlay

SOURCE = Path(__file__).parents[2] / "src" / "custody"
MONEY_PATHS = [
    *sorted((SOURCE / "cost").rglob("*.py")),
    *(SOURCE / name for name in ("builtin/cost.py", "builtin/budget.py", "sessions/budgets.py", "report/cost.py",
                                 "report/repricing.py", "report/estimate.py", "cli/cost.py", "cli/estimate.py")),
]  # fmt: skip
CASES = [
    json.loads(case["call"])
    for path in sorted((Path(__file__).parent / "cases").glob("*.toml"))
    for case in tomllib.loads(path.read_text())["case"]
]


@pytest.mark.parametrize("path", MONEY_PATHS, ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_no_code_of_a_money_path_makes_a_float(path: Path) -> None:
    """No ``float(...)``, no float literal but of seconds, no ``round``; floats that come in are read back as text."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("float", "round"), f"{path}:{node.lineno}"
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            assert "_PATIENCE" in path.read_text().splitlines()[node.lineno - 1], f"{path}:{node.lineno}"


def test_no_float_is_in_any_record() -> None:
    def walk(value: Any) -> None:
        assert not isinstance(value, float), value
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ():
            walk(inner)

    for call in CASES:
        record = price(**call)
        walk(record)
        assert json.loads(json.dumps(record)) == record


def test_no_rate_is_a_float() -> None:
    for provider in table().providers.values():
        for model in provider.models:
            for prices in [p.prices for p in model.prices] if isinstance(model.prices, list) else [model.prices]:
                for rate in vars(prices).values():
                    parts = [rate.base, *(t.price for t in rate.tiers)] if hasattr(rate, "tiers") else [rate]
                    assert all(part is None or isinstance(part, Decimal) for part in parts), model.id


@given(st.decimals(min_value=0, max_value=10**9, places=18))
def test_a_plain_string_is_the_amount(amount: Decimal) -> None:
    text = plain(amount)
    assert Decimal(text) == amount
    assert "E" not in text.upper() and dollars(json.loads(json.dumps(text))) == amount


@given(st.floats(min_value=0, max_value=1e6, allow_nan=False))
def test_a_vendors_number_is_read_as_it_was_written(number: float) -> None:
    assert dollars(json.loads(json.dumps(number))) == Decimal(repr(number))


@pytest.mark.parametrize("nothing", [None, True, "", "1,5", "NaN", float("inf"), -1, "-0.01", [], {}])
def test_what_is_no_amount(nothing: Any) -> None:
    assert dollars(nothing) is None


def test_nothing_is_rounded() -> None:
    assert times(Decimal("0.1"), Decimal("0.2")) == Decimal("0.02")
    assert total([Decimal("0.1")] * 3) == Decimal("0.3")
    with pytest.raises(Inexact):
        share(Decimal(1), 3)


def test_the_overlay_is_dated_data_with_sources() -> None:
    data = overlay().data
    for kind in ("tier_history", "tier_rate", "tier_keeps", "region", "fee", "coverage", "refusal", "free"):
        ids = [entry["id"] for entry in data[kind]]
        assert len(ids) == len(set(ids)), kind
        for entry in data[kind]:
            assert entry["source"] and entry["vendors"], entry
            for name in ("factor", "rate"):
                assert isinstance(entry.get(name, ""), str), "amounts are strings"
