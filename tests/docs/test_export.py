"""docs/export.md lists every column as the exporter has it."""

from __future__ import annotations

import re
from pathlib import Path

from custody.export.columns import COLUMNS, CONTENT, Column

PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text()
TYPES = {
    "string": "text", "strings": "list of texts", "integer": "integer, 64 bits", "double": "double",
    "boolean": "boolean", "timestamp": "time, UTC, microseconds", "decimal": "decimal(38, 18), Parquet only",
    "json": "text that holds JSON",
}  # fmt: skip


def row(column: Column) -> str:
    return f"| `{column.name}` | `{column.short}` | {TYPES[column.kind]} | {column.unit} | {column.source} |"


def test_every_column_is_documented_as_it_is() -> None:
    rows = [line for line in PAGE.splitlines() if re.match(r"\| `[a-z_.0-9]+` \| `[a-z_0-9]+` \|", line)]
    assert rows == [row(column) for column in (*COLUMNS, *CONTENT)]
