"""Which files were an experiment's definition and framework, by what the runs themselves say of them.

The first ``.md`` in the folder may be a note that somebody left there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from custody.migrate import source as sources
from custody.migrate import text, values
from custody.migrate.detect import Placed
from custody.migrate.legacy import Reading


@dataclass(frozen=True)
class Definition:
    """A file that a run names as its definition.

    Attributes:
        content: whether the file holds what the run had read.
        path: in the source; None where it is not there any more.
    """

    experiment: str
    what: Literal["framework", "experiment"]
    named: str
    path: str | None
    content: Literal["equal", "differs", "not_recorded", "missing"]
    by: str


def find(
    source: Path, placed: list[Placed], readings: Mapping[str, Reading], experiments: Mapping[str, str]
) -> list[Definition]:
    """One entry for each file that a state names, in order."""
    found: dict[tuple[str, str, str, str], Definition] = {}
    roots = {p.file.path: p.root for p in placed}
    for path, reading in sorted(readings.items()):
        root = roots.get(path)
        if reading.kind != "state" or root is None:
            continue
        for what in ("framework", "experiment"):
            named = reading.facts.get(f"{what}_path")
            if not named:
                continue
            name = values.name_of(named)
            here = f"{root}/{name}".lstrip("/")
            lies = here if here in roots else None
            content = _compared(source, lies, reading.facts.get(what))
            key = (root, what, name, content)
            found.setdefault(key, Definition(experiments[root], what, name, lies, content, path))  # type: ignore[arg-type]
    return list(found.values())


def _compared(source: Path, path: str | None, had: str | None) -> str:
    if path is None:
        return "missing"
    if had is None:
        return "not_recorded"
    now = text.decode(sources.read(source, path))
    return "equal" if _plain(now) == _plain(had) else "differs"


def _plain(value: str) -> str:
    return value.replace("\r\n", "\n").strip()
