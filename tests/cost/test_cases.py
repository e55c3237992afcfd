"""The table of prices derived by hand (``cases/``): exact to the last digit, or null with the right reason."""

from __future__ import annotations

import ast
import json
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from custody.cost import price
from custody.record import PRICE_REASONS, PRICE_STATUSES

CASES = [
    pytest.param(case, id=f"{path.stem}: {case['name']}")
    for path in sorted((Path(__file__).parent / "cases").glob("*.toml"))
    for case in tomllib.loads(path.read_text())["case"]
]


@pytest.mark.parametrize("case", CASES)
def test_the_arithmetic_gives_the_amount(case: dict[str, Any]) -> None:
    if "usd" in case:
        assert _worked_out(ast.parse(case["arithmetic"], mode="eval").body) == Decimal(case["usd"])
    assert case["status"] in PRICE_STATUSES
    assert ("reason" in case) == (case["status"] in ("unknown", "lower_bound"))
    assert case.get("reason") in (None, *PRICE_REASONS)


@pytest.mark.parametrize("case", CASES)
def test_price(case: dict[str, Any]) -> None:
    record = price(**json.loads(case["call"]))
    got = {name: record[name] for name in ("cost_usd", "status", "reason")}
    assert got == {"cost_usd": case.get("usd"), "status": case["status"], "reason": case.get("reason")}, record
    assert json.loads(json.dumps(record)) == record
    if record["items"]:
        assert sum(Decimal(item["usd"]) for item in record["items"]) == Decimal(record["cost_usd"])


def test_there_are_enough() -> None:
    assert len(CASES) >= 150
    assert len({case.id for case in CASES}) == len(CASES)


def _worked_out(node: ast.expr) -> Decimal:
    if isinstance(node, ast.Constant):
        return Decimal(str(node.value))
    assert isinstance(node, ast.BinOp), ast.dump(node)
    left, right = _worked_out(node.left), _worked_out(node.right)
    if isinstance(node.op, ast.Add):
        return left + right
    return left / right if isinstance(node.op, ast.Div) else left * right
