"""Long tables, printed row by row: as wide as the terminal, or as they need to be where there is none.

Rows are made twice, once to measure and once to print, so that none is kept. On a terminal that is too
narrow the least important columns are left out, then cells are cut; it is said which.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from custody.cli.console import in_line, say

_GAP = "  "
_LEAST = 6  # cells are not cut below this width


class Column(NamedTuple):
    """``rank`` 0 is never left out; the highest goes first."""

    title: str
    rank: int = 0
    right: bool = False


def print_rows(columns: Sequence[Column], rows: Callable[[], Iterable[Sequence[object]]]) -> None:
    """A table on standard output. Columns that are empty in every row are left out."""
    widths = [0] * len(columns)
    for row in rows():
        for n, cell in enumerate(row):
            widths[n] = max(widths[n], _wide(_text(cell)))
    shown = [n for n, width in enumerate(widths) if width or not columns[n].rank]
    for n in shown:
        widths[n] = max(widths[n], len(columns[n].title))
    room = shutil.get_terminal_size((0, 0)).columns  # 0: no terminal, nothing is left out
    shown, hidden = _fitting(columns, widths, shown, room)
    _shrink(widths, shown, room)

    def line(cells: Sequence[str]) -> str:
        return _GAP.join(_padded(cells[n], widths[n], columns[n].right) for n in shown).rstrip()

    write = sys.stdout.write
    write(line([column.title for column in columns]) + "\n")
    write(_GAP.join("-" * widths[n] for n in shown) + "\n")
    for row in rows():
        write(line([_text(cell) for cell in row]) + "\n")
    if hidden:
        say(f"not shown, for want of {room} columns: {', '.join(columns[n].title for n in sorted(hidden))}")


def _fitting(columns: Sequence[Column], widths: list[int], shown: list[int], room: int) -> tuple[list[int], list[int]]:
    if not room:
        return shown, []
    kept: list[int] = []
    for n in sorted(shown, key=lambda n: (columns[n].rank, n)):
        if not columns[n].rank or _total(widths, [*kept, n]) <= room:
            kept.append(n)
    return sorted(kept), [n for n in shown if n not in kept]


def _shrink(widths: list[int], shown: list[int], room: int) -> None:
    while room and _total(widths, shown) > room:
        widest = max(shown, key=lambda n: widths[n])
        if widths[widest] <= _LEAST:
            return
        widths[widest] -= 1


def _total(widths: list[int], shown: list[int]) -> int:
    return sum(widths[n] for n in shown) + len(_GAP) * max(0, len(shown) - 1)


def _text(cell: object) -> str:
    return "" if cell is None else in_line(cell)


def _padded(text: str, width: int, right: bool) -> str:
    wide = _wide(text)
    if wide > width:
        while _wide(text) > width - 1:
            text = text[: width - 1] if text.isascii() else text[:-1]
        text += "…"
        wide = _wide(text)
    return " " * (width - wide) + text if right else text + " " * (width - wide)


def _wide(text: str) -> int:
    """Columns on a terminal: letters of East Asian scripts take two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
