"""Files of rows: CSV, JSON lines, Parquet. Each is written once, group by group, and is there whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Protocol

from custody.errors import UsageError
from custody.export.columns import Column
from custody.export.values import PRECISION, SCALE, Values
from custody.storage.local import sync_folder

FORMATS = ("parquet", "csv", "jsonl")

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection), and what hides one from a look."""


class Writer(Protocol):
    """Writes groups of rows."""

    def write(self, group: Sequence[Values]) -> None: ...

    def close(self) -> None:
        """Finish the file's content; the file itself is the caller's."""


class _Text:
    """What CSV and JSON lines share: their columns, and texts for times."""

    def __init__(self, columns: Sequence[Column], file: IO[bytes], cleaned: Callable[[str], str] | None) -> None:
        self._shown = [n for n, column in enumerate(columns) if not column.only_parquet]
        self._names = [columns[n].name for n in self._shown]
        self._file = file
        self._cleaned = cleaned or (lambda text: text)

    def close(self) -> None:
        pass


class CsvWriter(_Text):
    """RFC 4180 with ``\\n``; an unknown value is an empty cell, a list is JSON. Texts that a spreadsheet would take
    for a formula begin with an apostrophe."""

    def __init__(self, columns: Sequence[Column], file: IO[bytes], cleaned: Callable[[str], str] | None = None) -> None:
        super().__init__(columns, file, cleaned)
        self._write([self._names])

    def write(self, group: Sequence[Values]) -> None:
        self._write([[self._cell(values[n]) for n in self._shown] for values in group])

    def _write(self, rows: Sequence[Sequence[Any]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._file.write(text.getvalue().encode())

    def _cell(self, value: Any) -> Any:
        if value is None or isinstance(value, (int, float)):
            return str(value).lower() if isinstance(value, bool) else value
        text = _plain(value)
        return guarded(self._cleaned(text if isinstance(text, str) else json.dumps(text)))


class JsonlWriter(_Text):
    """One object a line, every column in it, unknown values null. What JSON texts hold is escaped down to ASCII, so
    that no character of a model's moves a terminal's cursor."""

    def write(self, group: Sequence[Values]) -> None:
        lines = [
            json.dumps({name: _plain(values[n]) for name, n in zip(self._names, self._shown, strict=True)}) + "\n"
            for values in group
        ]
        self._file.write("".join(lines).encode())


class ParquetWriter:
    """One row group a group, zstd. Every column's metadata has its unit and its source."""

    def __init__(self, columns: Sequence[Column], file: IO[bytes]) -> None:
        pyarrow = _pyarrow()
        self._arrow = pyarrow
        fields = []
        for column in columns:
            told = {"short": column.short, "unit": column.unit, "source": column.source}
            fields.append(pyarrow.field(column.name, _type(pyarrow, column.kind), metadata=told))
        self._schema = pyarrow.schema(fields)
        self._writer = pyarrow.parquet.ParquetWriter(file, self._schema, compression="zstd")

    def write(self, group: Sequence[Values]) -> None:
        arrow = self._arrow
        arrays = [arrow.array(c, t.type) for c, t in zip(zip(*group, strict=True), self._schema, strict=True)]
        self._writer.write_table(arrow.Table.from_arrays(arrays, schema=self._schema), row_group_size=len(group))

    def close(self) -> None:
        self._writer.close()


def writer(
    form: str, columns: Sequence[Column], file: IO[bytes], cleaned: Callable[[str], str] | None = None
) -> Writer:
    """A writer of one of ``FORMATS``. Raises UsageError where Parquet is wanted and pyarrow is not installed.

    Args:
        cleaned: of every text in CSV, where a terminal shows it.
    """
    if form == "parquet":
        return ParquetWriter(columns, file)
    return CsvWriter(columns, file, cleaned) if form == "csv" else JsonlWriter(columns, file, cleaned)


@contextmanager
def new_file(path: Path, *, replace: bool) -> Iterator[IO[bytes]]:
    """A file that appears at ``path``, whole and on stable storage, when the block ends without an exception.

    Raises UsageError where something is there already, unless ``replace``, and OSError.
    """
    if path.exists() and not replace:
        raise UsageError(f"{path} is there already, and was left as it is; --force replaces it")
    if path.is_dir():
        raise UsageError(f"{path} is a folder: give a file's name")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent}: there is no such folder to write {path.name} into")
    temporary = path.with_name(f".tmp-{path.name[:80]}-{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(temporary, path)
        else:
            _linked(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _linked(temporary: Path, path: Path) -> None:
    """Give a file its name, unless somebody else has taken it meanwhile."""
    try:
        os.link(temporary, path)
    except FileExistsError as error:
        raise UsageError(f"{path} has appeared meanwhile, and was left as it is; --force replaces it") from error


def guarded(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def _plain(value: Any) -> Any:
    """As JSON has it: a time as in the archive."""
    return value.isoformat(timespec="microseconds").replace("+00:00", "Z") if isinstance(value, datetime) else value


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError("Parquet needs pyarrow: pip install 'custody[sql]'; csv and jsonl need nothing") from error
    return pyarrow


def _type(pyarrow: Any, kind: str) -> Any:
    return {
        "string": pyarrow.string(), "strings": pyarrow.list_(pyarrow.string()), "integer": pyarrow.int64(),
        "double": pyarrow.float64(), "boolean": pyarrow.bool_(), "timestamp": pyarrow.timestamp("us", tz="UTC"),
        "decimal": pyarrow.decimal128(PRECISION, SCALE), "json": pyarrow.string(),
    }[kind]  # fmt: skip
