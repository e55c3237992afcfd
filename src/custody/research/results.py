"""Writes ``analysis_results/``: whole files or none, and the same bytes from the same values.

JSON for values (sorted as they were given, two spaces), text and bytes as they are, CSV for rows.
"""

from __future__ import annotations

import csv
import dataclasses
import enum
import io
import json
import re
from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal
from pathlib import PurePath
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from custody import layout
from custody.errors import UsageError
from custody.redact import Redactor
from custody.research.matrix import Item
from custody.storage import Storage
from custody.storage.folders import Folder

_SUFFIX = re.compile(r"\.[A-Za-z]\w{0,7}\Z")

Name = str | Item


class Results:
    """A session's results. Each method writes one file and gives its path; an earlier one of the name is replaced.

    ``name`` is a file's name, with ``/`` for folders; without a suffix it gets ``.json``, or ``.txt`` for text. An item
    of a plan names its file by its labels. ``value``: text, bytes, a table with ``to_csv``, rows (dicts) for a name
    that ends with ``.csv`` (no rows: an empty file), else anything that can be written as JSON.

    Raises UsageError for names and values that cannot be written.
    """

    def __init__(self, folder: Folder, storage: Storage, redactor: Redactor) -> None:
        self._folder, self._storage, self._redactor = folder, storage, redactor

    def individual(self, name: Name, value: Any) -> Folder:
        """One analysis, of one document in one run."""
        return self._write(layout.RESULTS[0], name, value)

    def aggregated(self, name: Name, value: Any) -> Folder:
        """What many of them give together."""
        return self._write(layout.RESULTS[1], name, value)

    def final(self, name: Name, value: Any) -> Folder:
        """What the study says: a report, a table of it, a figure's data."""
        return self._write(layout.RESULTS[2], name, value)

    def _write(self, folder: str, name: Name, value: Any) -> Folder:
        file = _file_name(name, value)
        for part in file.split("/"):
            layout.checked_name("result", part)
        data = _bytes(file, value)
        if not isinstance(value, (bytes, bytearray, memoryview)):
            data = self._redactor.scrub(data)
        self._storage.put(f"{folder}/{file}", data)
        return self._folder / folder / file


def _file_name(name: Name, value: Any) -> str:
    if isinstance(name, Item):
        levels = " ".join(f"{factor} {level}" for factor, level in name.conditions.items())
        name = " ".join(part for part in (name.name, levels, f"run {name.run}") if part)
        return f"{name}{'.txt' if isinstance(value, str) else '.json'}"
    if _SUFFIX.search(name):
        return name
    return f"{name}{'.txt' if isinstance(value, str) else '.json'}"


def _bytes(name: str, value: Any) -> bytes:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace")
    if name.endswith(".csv"):
        return _csv(name, value).encode("utf-8", "backslashreplace")
    text = json.dumps(_plain(value, name), ensure_ascii=False, indent=2, allow_nan=False)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _csv(name: str, value: Any) -> str:
    if hasattr(value, "to_csv"):
        return str(value.to_csv(index=False))
    rows = [_plain(row, name) for row in value] if isinstance(value, (list, tuple)) else None
    if rows is None or not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"the result {name} is made of rows, each a dict, or of a table with to_csv")
    if not rows:  # a table without a row is a result, too; what its columns are, nothing says
        return ""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _plain(value: Any, name: str) -> Any:
    """As JSON for readers, not to be read back as what it was."""
    match value:
        case enum.Enum():
            return _plain(value.value, name)
        case None | bool() | int() | str():
            return value
        case float():
            if value != value or value in (float("inf"), float("-inf")):
                raise UsageError(f"the result {name} holds {value!r}, which JSON has no word for: write null or a text")
            return value
        case BaseModel():
            return value.model_dump(mode="json")
        case Mapping():
            return {
                key if isinstance(key, str) else str(_plain(key, name)): _plain(v, name) for key, v in value.items()
            }
        case list() | tuple():
            return [_plain(inner, name) for inner in value]
        case set() | frozenset():
            return sorted((_plain(inner, name) for inner in value), key=repr)
        case date() | time():
            return value.isoformat()
        case Decimal() | UUID():
            return str(value)
        case PurePath():
            return value.as_posix()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name), name) for field in dataclasses.fields(value)}
    raise UsageError(
        f"the result {name} holds a {type(value).__name__}, which cannot be written as JSON: "
        "give plain values, text or bytes"
    )
