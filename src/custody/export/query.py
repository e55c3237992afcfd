"""Questions in SQL over exported calls, on DuckDB: what is read is what was given, and nothing is written.

Two views: ``calls`` has the short names of the columns, ``attributes`` those of the files. A question is one SELECT.
DuckDB itself is kept from every other file, from extensions, and from changing that (``lock_configuration``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from custody.cost.money import plain
from custody.errors import UsageError
from custody.export import remote
from custody.export.columns import COLUMNS, CONTENT

_SHORT = {column.name: column.short for column in (*COLUMNS, *CONTENT)}
_BATCH = 10_000
_CLOSED = {
    "autoload_known_extensions": False,
    "autoinstall_known_extensions": False,
    "python_enable_replacements": False,  # a name in a question is never a variable of this program's
}


@dataclass
class Answer:
    """``rows`` are read as they are asked for, within the ``with`` of ``ask``; a text, a number or None each."""

    columns: list[str]
    rows: Iterator[tuple[Any, ...]]


@contextmanager
def ask(question: str, files: Sequence[str]) -> Iterator[Answer]:
    """The answer of a question over Parquet files, each a path or a URL that fsspec opens.

    Raises UsageError for a question that is none, a file that cannot be read, or where DuckDB is not installed.
    """
    try:
        import duckdb
    except ImportError as error:
        raise UsageError("custody sql needs DuckDB: pip install 'custody[sql]'") from error
    with tempfile.TemporaryDirectory(prefix="custody-sql-") as spill:
        made: Any = duckdb
        connection = made.connect(":memory:", config={"temp_directory": spill, **_CLOSED})
        try:
            _restrict(connection, files)
            yield _asked(connection, question)
        except duckdb.Error as error:
            raise UsageError(f"this question has no answer: {error}") from error
        finally:
            connection.close()


def _restrict(connection: Any, files: Sequence[str]) -> None:
    """Make the views, and close every other door."""
    known = remote.filesystems(files)
    for filesystem in known.values():
        connection.register_filesystem(filesystem)
    names = []
    for name in files:
        scheme = name.partition("://")[0] if "://" in name else None
        names += remote.expanded(name, known[scheme]) if scheme else [local(Path(name))]
    listed = f"[{', '.join(map(_quoted, names))}]"
    source = f"read_parquet({listed}, union_by_name = true)"
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET allowed_paths = {listed}")
    connection.execute("SET enable_external_access = false")
    found = [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()]  # noqa: S608
    shown = ", ".join(f"{_named(name)} AS {_named(_SHORT.get(name, name))}" for name in found)
    connection.execute(f"CREATE VIEW attributes AS SELECT * FROM {source}")  # noqa: S608
    connection.execute(f"CREATE VIEW calls AS SELECT {shown} FROM {source}")  # noqa: S608
    connection.execute("SET lock_configuration = true")


def _asked(connection: Any, question: str) -> Answer:
    statements = connection.extract_statements(question)
    if len(statements) != 1 or statements[0].type.name != "SELECT":
        raise UsageError("a question is one SELECT over the view calls; nothing else is run")
    reader = connection.sql(statements[0]).to_arrow_reader(_BATCH)
    return Answer(list(reader.schema.names), _rows(reader))


def _rows(reader: Any) -> Iterator[tuple[Any, ...]]:
    for batch in reader:
        yield from zip(*([_plain(v) for v in column.to_pylist()] for column in batch.columns), strict=True)


def _plain(value: Any) -> Any:
    """As JSON has it: an amount is a decimal string, as everywhere in custody, and a whole number a number."""
    if isinstance(value, Decimal):
        return int(value) if value.as_tuple().exponent == 0 else plain(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    return value.isoformat() if isinstance(value, date) else str(value)


def local(path: Path) -> str:
    """A file's name as DuckDB is to be given it. Raises UsageError where it would be a pattern, or is not there."""
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    name = str(path.resolve())
    if any(character in name for character in "*?["):
        raise UsageError(f"{path}: a name with *, ? or [ in it is a pattern to DuckDB: rename the file")
    return name


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _named(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
