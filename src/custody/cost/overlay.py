"""The overlay: what the price library lacks, read from ``overlay.toml``."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import cache, cached_property
from pathlib import Path
from typing import Any

Entry = dict[str, Any]

_REMEMBERED = 4096  # questions whose answer is not looked for again


@dataclass(frozen=True)
class Overlay:
    """Dated entries by kind; see the file for what each kind says."""

    data: Entry
    sha256: str
    _firsts: dict[Any, Entry | None] = field(default_factory=dict, compare=False, repr=False)

    @property
    def version(self) -> str:
        return str(self.data["version"])

    @cached_property
    def library(self) -> Entry:
        return dict(self.data["library"])

    def entries(self, kind: str, vendor: str, model: str, day: date | None = None) -> Iterator[Entry]:
        """The entries of a kind that hold for a model, on a day where one is given."""
        for entry in self.data.get(kind, ()):
            if vendor not in entry["vendors"]:
                continue
            pattern = entry.get("models", "")
            if pattern and not re.match(pattern, model):
                continue
            if day is not None and not (entry.get("since", date.min) <= day <= entry.get("until", date.max)):
                continue
            yield entry

    def first(self, kind: str, vendor: str, model: str, day: date | None = None, **wanted: Any) -> Entry | None:
        """The first such entry whose fields are as wanted."""
        asked = (kind, vendor, model, day, *wanted.items())
        try:
            return self._firsts[asked]
        except KeyError:
            pass
        found = (e for e in self.entries(kind, vendor, model, day) if all(e.get(n) == v for n, v in wanted.items()))
        if len(self._firsts) >= _REMEMBERED:
            self._firsts.clear()
        self._firsts[asked] = next(found, None)
        return self._firsts[asked]


@cache
def overlay() -> Overlay:
    """The overlay of this version of custody."""
    raw = Path(__file__).with_name("overlay.toml").read_bytes()
    return Overlay(tomllib.loads(raw.decode(), parse_float=Decimal), hashlib.sha256(raw).hexdigest())
