"""All call lines of a session, read one task a segment: for reports that need each of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from custody.engines import Engine
from custody.journal.segments import Segments
from custody.report.by_segment import Fresh, Skip, each
from custody.storage import Storage


@dataclass
class CallLines:
    """Of a segment, or of all. ``numbers`` as of any ``Part``; ``damaged``: places that are no whole line."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    numbers: list[tuple[int, int]] = field(default_factory=list)
    damaged: int = 0


def read(segments: Segments, name: str, skip: Skip) -> CallLines:
    """The call lines of a segment, in their order. Raises ArchiveDamaged, OSError."""
    scan = Fresh(segments, name, skip)
    found = CallLines([fields for head, _, _, fields in scan.lines() if head.kind == "call"])
    found.numbers, found.damaged = scan.numbers, scan.damaged
    return found


def gathered(storage: Storage, engine: Engine | None) -> CallLines:
    """Those of a whole session. Raises ArchiveDamaged, OSError, EngineFailed."""
    whole = CallLines()
    for part in each(storage, read, engine=engine):
        whole.lines += part.lines
        whole.damaged += part.damaged
    return whole
