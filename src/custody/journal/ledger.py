"""Which segments a session has: ``system_state/segments.jsonl``, linked lines like a chronolog's.

A segment is entered when it is begun, so that one that vanished is missed, and again when it is closed, with the
digest of its bytes as they were written, so that one that was changed shows.
"""

from __future__ import annotations

from dataclasses import dataclass

from custody import layout
from custody.integrity import chronolog
from custody.integrity.chronolog import Chronolog
from custody.redact import Redactor
from custody.storage import Storage


@dataclass(frozen=True, slots=True)
class Entry:
    """What the ledger says of a segment. ``size`` in bytes, ``sha256`` of them; None while it is not closed.

    Attributes:
        packed: it was compressed.
        repaired: it lost lines to damage, and was written anew without them.
    """

    size: int | None = None
    sha256: str | None = None
    packed: bool = False
    repaired: bool = False


class Ledger:
    """Appends to a session's ledger; several processes may do so at once."""

    def __init__(self, storage: Storage) -> None:
        self._events = Chronolog(storage.shared_log(layout.SEGMENTS), Redactor())

    def begun(self, segment: str) -> None:
        self._events.event("segment_begun", segment=segment)

    def closed(self, segment: str, size: int, sha256: str) -> None:
        self._events.event("segment_closed", segment=segment, size=size, sha256=sha256)

    def packed(self, segment: str, stored: int) -> None:
        self._events.event("segment_packed", segment=segment, stored=stored)

    def repaired(self, segment: str, size: int, sha256: str, kept_as: str, damaged: int) -> None:
        self._events.event(
            "segment_repaired", segment=segment, size=size, sha256=sha256, original=kept_as, damaged_bytes=damaged
        )


def read(storage: Storage) -> dict[str, Entry]:
    """The segments by name; empty where a session has no ledger."""
    try:
        data = storage.read(layout.SEGMENTS)
    except FileNotFoundError:
        return {}
    found: dict[str, Entry] = {}
    for event in chronolog.read(data):
        name = event.get("segment")
        if not isinstance(name, str):
            continue
        before = found.get(name, Entry())
        size, digest = event.get("size"), event.get("sha256")
        if event["event"] == "segment_packed":
            found[name] = Entry(before.size, before.sha256, True, before.repaired)
        elif isinstance(size, int) and isinstance(digest, str):
            repaired = before.repaired or event["event"] == "segment_repaired"
            found[name] = Entry(size, digest, before.packed, repaired)
        else:
            found.setdefault(name, before)
    return found
