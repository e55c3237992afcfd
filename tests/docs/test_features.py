"""docs/features.md is what the tests said, has no empty cell, and names tests that there are."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def matrix() -> ModuleType:
    spec = importlib.util.spec_from_file_location("features_matrix", ROOT / "tests" / "features" / "matrix.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_tests_said(matrix: ModuleType) -> None:
    assert (ROOT / "docs" / "features.md").read_text() == matrix.page()


def test_every_sdk_has_a_column_and_every_cell_a_word(matrix: ModuleType) -> None:
    heads = {column.sdk for column in matrix.columns(matrix.results())}
    assert heads == set(matrix.sdks()) >= {
        "openai", "anthropic", "google-genai", "aiplatform", "litellm", "boto3", "mistralai", "cohere"
    }  # fmt: skip
    majors = {(column.sdk, column.major) for column in matrix.columns(matrix.results())}
    assert {("google-genai", "2"), ("google-genai", "3"), ("openai", "2"), ("openai", "3")} <= majors
    rows = [line for line in matrix.page().splitlines() if line.startswith("| ")]
    for row in rows:
        assert all(cell.strip() for cell in row.strip("|").split("|")), row


def test_no_cell_is_empty(matrix: ModuleType) -> None:
    rows = matrix.load()
    assert [(title, sdk) for title, row in rows.items() for sdk in matrix.sdks() if not row.get(sdk, "").strip()] == []


def test_every_named_test_exists(matrix: ModuleType) -> None:
    for row in matrix.load().values():
        for cell in row.values():
            assert matrix.tests_of(cell) or cell.startswith("none: "), cell
            for pattern in matrix.tests_of(cell):
                file, _, name = pattern.partition("::")
                text = (ROOT / file).read_text()
                function = re.split(r"[\[*]", name)[0]
                assert re.search(rf"def {function}", text), pattern


def test_a_failed_or_missing_test_is_no_replay(matrix: ModuleType) -> None:
    outcomes = {"a.py::test_x[one]": "passed", "a.py::test_x[two]": "failed", "a.py::test_y": "skipped"}
    assert matrix.verdict("a.py::test_x[one]", outcomes) == "replayed (1)"
    for cell in (
        "a.py::test_x*",
        "a.py::test_y",
        "a.py::test_z",
        "a.py::test_x[one] a.py::test_z",
        "refused: sockets by a.py::test_y",
    ):
        with pytest.raises(LookupError):
            matrix.verdict(cell, outcomes)
    assert matrix.verdict("none: no such thing", {}) == "no: no such thing"
    assert matrix.verdict("refused: sockets by design by a.py::test_x[one]", outcomes) == (
        "recorded; replay refused: sockets by design"
    )


def test_a_major_version_may_differ(matrix: ModuleType) -> None:
    row = {"a": "x", "a 0": "none: came later"}
    assert matrix.Column("a", "e", "2.1").cell(row) == "x"
    assert matrix.Column("a", "e", "0.9").cell(row) == "none: came later"
