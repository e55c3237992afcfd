"""What is printed: tables for people on a terminal, JSON for machines, and no byte that moves a cursor.

Results go to standard output, everything else to standard error; with ``--json`` standard output holds
one JSON value and nothing else.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

# C0 (but newline and tab), DEL, C1, the characters that reorder or hide text, and halves of surrogate pairs, which no
# terminal and no file can be given.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def safe(text: object) -> str:
    """Text from a model, a vendor or a file, fit for a terminal: control characters become ``\\x..``."""
    return _UNSAFE.sub(lambda m: m[0].encode("unicode_escape").decode(), str(text))


def encodable(text: str) -> str:
    """The same text where it is UTF-8; half a surrogate pair, which a vendor's JSON may hold, becomes ``\\ud800``."""
    return text.encode("utf-8", "backslashreplace").decode()


def in_line(text: object) -> str:
    """``safe``, and on one line: what follows cannot pass for a line of ours."""
    return safe(text).replace("\n", "\\n").replace("\t", "\\t")


def say(text: str) -> None:
    """A line for the person, on standard error."""
    click.echo(safe(text), err=True)


def print_json(value: Any) -> None:
    """One JSON value on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=True, indent=2) + "\n")


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> None:
    """A table on standard output, as wide as it needs to be where nobody's terminal limits it."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, box=box.SIMPLE, title_justify="left", pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*(Text(safe("" if cell is None else cell)) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    console.print(table)


def print_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """Names and values, one pair a line."""
    shown = [(in_line(name), in_line(value)) for name, value in pairs]
    width = max(len(name) for name, _ in shown)
    for name, value in shown:
        click.echo(f"{name:<{width}}  {value}")
