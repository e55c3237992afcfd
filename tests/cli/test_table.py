"""Long tables on any terminal: nothing breaks a line, nothing moves a cursor, nothing is lost in silence."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custody.cli.table import Column, print_rows

COLUMNS = (Column("call"), Column("model"), Column("number", 2, right=True), Column("note", 3))
ROWS = [("a-1", "gpt-4o", 5, "x" * 30), ("a-22", "claude", None, ""), ("a-3", "模型", 12, "[bold]not markup[/bold]")]


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


def printed(capsys: pytest.CaptureFixture[str], rows: list[tuple[object, ...]] | None = None) -> tuple[list[str], str]:
    print_rows(COLUMNS, lambda: rows or ROWS)
    done = capsys.readouterr()
    return done.out.splitlines(), done.err


def test_without_a_terminal_everything_is_shown(room: None, capsys: pytest.CaptureFixture[str]) -> None:
    lines, said = printed(capsys)
    assert lines[0].split() == ["call", "model", "number", "note"]
    assert len(lines) == 2 + len(ROWS) and said == ""
    assert "x" * 30 in lines[2] and lines[4].endswith("[bold]not markup[/bold]")
    assert lines[2].index("5") == lines[4].index("12") + 3, "numbers end in one column; a wide letter counts two"


@pytest.mark.parametrize("columns", [20, 28, 40, 60])
def test_a_narrow_terminal_leaves_out_and_says_so(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.cells import cell_len

    monkeypatch.setenv("COLUMNS", str(columns))
    lines, said = printed(capsys)
    assert len(lines) == 2 + len(ROWS)
    assert max(cell_len(line) for line in lines) <= columns
    assert ("note" in lines[0]) == ("note" not in said)
    assert lines[0].startswith("call") and "model" in lines[0], "columns of rank 0 stay"


def test_an_empty_column_is_left_out(room: None, capsys: pytest.CaptureFixture[str]) -> None:
    lines, said = printed(capsys, [("a", "b", None, "")])
    assert lines[0].split() == ["call", "model"] and said == ""


def test_rows_are_not_kept(room: None, capsys: pytest.CaptureFixture[str]) -> None:
    alive = []

    class Row(tuple):  # type: ignore[type-arg]
        def __del__(self) -> None:
            alive.append(-1)

    def rows() -> Iterator[Row]:
        for n in range(1000):
            alive.append(1)
            assert sum(alive) < 10, "rows pile up"
            yield Row((n, "m", n, "n"))

    print_rows(COLUMNS, rows)
    assert len(capsys.readouterr().out.splitlines()) == 1002


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20), st.integers(), st.text(max_size=20)), max_size=5),
    st.integers(1, 90),
)
def test_hostile_text_stays_in_its_cell(
    capsys: pytest.CaptureFixture[str], rows: list[tuple[object, ...]], columns: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "get_terminal_size", lambda fallback=(0, 0): os.terminal_size((columns, 24)))
        print_rows(COLUMNS, lambda: rows)
    out = capsys.readouterr().out
    assert len(out.split("\n")) == len(rows) + 3
    assert not set("\x1b\x07\r\x0b\x0c\x85\u202e\u2028") & set(out)
