"""Makes one object of each log of a session that lies in parts: fewer requests for whoever opens it."""

from __future__ import annotations

from typing import NamedTuple

from custody import layout
from custody.journal import closing
from custody.journal.archive import Archive
from custody.journal.ledger import Ledger
from custody.journal.segments import PLAIN
from custody.storage import Compacting, Storage


class Compacted(NamedTuple):
    """``logs`` are one object each now; ``closed`` segments were left open by writers that died."""

    logs: int
    closed: int


def compact(storage: Storage) -> Compacted | None:
    """Close what dead writers left, and compact every log of a session that nobody else has.

    None where the storage keeps each log as one file already. Raises OSError.
    """
    if not isinstance(storage, Compacting):
        return None
    archive, ledger = Archive(storage), Ledger(storage)
    archive.refresh()
    left = closing.left_open(archive)
    for name, index in left:
        closing.close(storage, ledger, name, index)
    # The ledger last: closing has written into it.
    logs = [e.name for e in storage.list() if e.name.endswith(PLAIN) and e.name != layout.SEGMENTS]
    if any(entry.name == layout.SEGMENTS for entry in storage.list(layout.SEGMENTS)):
        logs.append(layout.SEGMENTS)
    for name in logs:
        storage.compact(name)
    return Compacted(len(logs), len(left))
