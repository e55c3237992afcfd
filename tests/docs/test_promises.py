"""docs/promises.md and docs/architecture.md name real modules and real tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PROMISES = (REPOSITORY / "docs" / "promises.md").read_text()
ARCHITECTURE = (REPOSITORY / "docs" / "architecture.md").read_text()

ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PROMISES.splitlines()
    if line.startswith("|") and not line.startswith(("| promise", "|---"))
]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_every_promise_of_the_design_has_a_row() -> None:
    numbers = {number for row in ROWS for number in re.findall(r"\*\*(\d)", row[0])}
    assert numbers == set("12345678")


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:40] for row in ROWS])
def test_modules_and_tests_exist(row: list[str]) -> None:
    _, modules, tests = row
    assert quoted(modules) and quoted(tests)
    for module in quoted(modules):
        assert (REPOSITORY / "src" / "custody" / module).is_file(), module
    for test in quoted(tests):
        file, _, name = test.partition("::")
        path = REPOSITORY / file
        assert path.is_file(), test
        functions = {n.name for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)}
        assert name in functions if name else any(f.startswith("test_") for f in functions), test


def test_the_architecture_names_real_files() -> None:
    named = [word for word in quoted(ARCHITECTURE) if re.fullmatch(r"[a-z_]+(/[a-z_]+)*\.py", word)]
    assert len(named) > 25
    for word in named:
        candidates = list((REPOSITORY / "src" / "custody").rglob(word))
        assert candidates, word


def test_every_module_of_a_floor_is_in_the_architecture() -> None:
    """A reader finds each part: every module above the smallest is named on the page."""
    package = REPOSITORY / "src" / "custody"
    left_out = {"cli", "testing", "builtin", "hooks", "report"}
    for path in package.rglob("*.py"):
        relative = path.relative_to(package)
        if relative.parts[0] in left_out or path.name in ("__init__.py", "sitecustomize.py"):
            continue
        stem = relative.as_posix()
        assert stem in ARCHITECTURE or relative.name in ARCHITECTURE or relative.stem in ARCHITECTURE, stem
