"""Makes one object of each log of a session that lies in parts: fewer requests for whoever opens it."""

from __future__ import annotations

from typing import NamedTuple

from custody import layout
from custody.journal import closing
from custody.journal.archive import Archive
from custody.journal.ledger import Ledger
from custody.journal.segments import PLAIN
from custody.sessions import behind
from custody.storage import Compacting, Storage
from custody.storage.leases import Leased, Leases


class Compacted(NamedTuple):
    """``logs`` are one object each now; ``closed`` segments were left open by writers that died; ``claims`` of answered
    calls are removed."""

    logs: int
    closed: int
    claims: int


def compact(storage: Storage) -> Compacted | None:
    """Close what dead writers left, compact every log of a session that nobody else has, and remove the claims of its
    answered calls, which workers leave where one of them was lost.

    None where the storage keeps each log as one file already, and there are no such claims. Raises OSError, and
    BacklogElsewhere where calls lie on a machine only: its log would be closed without them.
    """
    behind.refuse(storage)
    archive, ledger = Archive(storage), Ledger(storage)
    archive.refresh()
    claims = _sweep(storage, archive)
    if not isinstance(storage, Compacting):
        return Compacted(0, 0, claims) if claims else None
    left = closing.left_open(archive)
    for name, index in left:
        closing.close(storage, ledger, name, index)
    # The ledger last: closing has written into it.
    logs = [e.name for e in storage.list() if e.name.endswith(PLAIN) and e.name != layout.SEGMENTS]
    if any(entry.name == layout.SEGMENTS for entry in storage.list(layout.SEGMENTS)):
        logs.append(layout.SEGMENTS)
    for name in logs:
        storage.compact(name)
    return Compacted(len(logs), len(left), claims)


def _sweep(storage: Storage, archive: Archive) -> int:
    """The archive says that these are answered, whoever had claimed them. A worker that is frozen and wakes up finds
    its claim gone, and looks into the archive."""
    if not (isinstance(storage, Leased) and isinstance(storage.leases, Leases)):
        return 0
    answered = archive.answered()  # a token of a claim is what an identity's digest is made of
    return storage.leases.sweep(layout.CLAIMS, answered.__contains__) if answered else 0
