"""What a crash left: counted when a session is continued, and written to ``fault_recovery/``."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

from custody import layout
from custody.errors import ArchiveDamaged
from custody.identity import Identity
from custody.integrity import chronolog
from custody.integrity.chronolog import Chronolog
from custody.journal import ledger
from custody.journal.archive import Archive
from custody.journal.segments import writer_of
from custody.redact import Redactor
from custody.stamps import now
from custody.storage import Storage

_BLOCK = 4 * 1024 * 1024

_DONE = {
    "retry": "sent again if asked for, and perhaps paid twice",
    "reconcile": "the vendor is asked for the answer if they are asked for, else they are sent again",
    "skip": "refused if asked for",
    "fail": "refused if asked for",
}

ACCEPT_LOSS = "CUSTODY_ACCEPT_LOSS"


def report(archive: Archive, session: str) -> dict[str, Any]:
    """Counts, the calls in doubt, and damage, as of now."""
    return {
        "session": session,
        "time": now(),
        "answers": archive.answers(),
        "failed": archive.unanswering(),
        "in_doubt": [doubt for doubt in doubts(archive) if doubt["answered_by"] is None],
        "damaged_lines": sum(1 for d in archive.damage if not d.torn),
        "torn_tails": sum(1 for d in archive.damage if d.torn),
    }


def doubts(archive: Archive) -> list[dict[str, Any]]:
    """Calls that were sent and have no outcome on record, one entry a call, in order of sending.

    ``answered_by`` is the call that was sent in their place, where there is one by now.
    """
    found: dict[str, dict[str, Any]] = {}
    for fields in archive.in_doubt():
        answered = archive.answer(Identity(fields["scope_key"], fields["request_key"], fields["replicate"]))
        found[fields["call"]] = {
            "call_id": fields["call"],
            "sent": fields["time"],
            "scope": fields["scope"],
            "operation": fields["operation"],
            "replicate": fields["replicate"],
            "answered_by": answered.id if answered else None,
            **_cost(fields),
        }
    return sorted(found.values(), key=lambda doubt: (doubt["sent"], doubt["call_id"]))


def _cost(fields: dict[str, Any]) -> dict[str, str | None]:
    """What a call in doubt may have cost. Nothing is known of it but its request, whose tokens nobody has counted."""
    return {"estimated_cost_usd": None, "cost_evidence": "unknown:usage_missing"}


def vanished(storage: Storage, archive: Archive) -> list[str]:
    """Calls that the chronolog says are complete and of which the archive has no trace, not even damage.

    Only where a segment is gone, or was not closed: what was closed has the size that the ledger says. What a repair
    left out was said by it, and is no news as long as every segment is there.
    """
    sizes, known = dict(archive.segments.list()), ledger.read(storage)
    if known and all(entry.size is not None and sizes.get(name) == entry.size for name, entry in known.items()):
        return []
    complete = chronolog.completed(_blocks(storage))
    # One pass over the calls: to look each up by its id would take as long as the pass, each time.
    for names in archive.names() if complete else ():
        complete.difference_update(names)
    if complete:  # rare, and worth the slow way: each id from its place
        complete.difference_update(name.encode() for name in archive.calls)
    missing = sorted(name.decode("utf-8", "replace") for name in complete)
    if all(name in sizes and entry.size in (None, sizes[name]) for name, entry in known.items()):
        repaired = {writer_of(name) for name, entry in known.items() if entry.repaired}
        missing = [call for call in missing if call.rpartition("-")[0] not in repaired]
    return missing if len(missing) > len(archive.damage) else []


def _blocks(storage: Storage) -> Iterator[bytes]:
    offset = 0
    with contextlib.suppress(FileNotFoundError):
        while block := storage.read(layout.CHRONOLOG, offset, _BLOCK):
            yield block
            offset += len(block)


def refuse_if_vanished(storage: Storage, archive: Archive) -> None:
    """Raises ArchiveDamaged: to go on would pay for those calls again, in silence. A loss that somebody accepted is
    on record, and is not asked about again."""
    missing = vanished(storage, archive)
    accepted = _accepted(storage) if missing else frozenset()
    missing = [call for call in missing if call not in accepted]
    if not missing:
        return
    if os.environ.get(ACCEPT_LOSS) != "1":
        raise ArchiveDamaged(
            f"{len(missing)} calls that were complete are gone from {storage.url}/{layout.ARCHIVE} (the first is "
            f"{missing[0]}), and would be paid again. Restore the folder from a copy, or start another session "
            f"with --new, or go on without them by starting once with {ACCEPT_LOSS}=1"
        )
    found = {"time": now(), "calls": sorted(accepted.union(missing))}
    storage.put(layout.LOSSES, json.dumps(found, indent=2).encode() + b"\n")
    events = Chronolog(storage.shared_log(layout.CHRONOLOG), Redactor())
    events.event("loss_accepted", calls=len(missing), first=missing[0])


def _accepted(storage: Storage) -> frozenset[str]:
    try:
        found = json.loads(storage.read(layout.LOSSES))
        return frozenset(call for call in found["calls"] if isinstance(call, str))
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # a torn or foreign one accepts nothing
        return frozenset()


def write(storage: Storage, found: dict[str, Any], redactor: Redactor) -> None:
    """``fault_recovery/resume_checkpoint.json``, replaced at every resume."""
    text = json.dumps(found, ensure_ascii=False, indent=2)
    storage.put(layout.CHECKPOINT, redactor.scrub(text.encode("utf-8", "backslashreplace")) + b"\n")


def sentence(found: dict[str, Any]) -> str:
    """The report in one line for a person."""
    parts = [f"{found['answers']} answers archived"]
    if found["failed"]:
        parts.append(f"{found['failed']} failed calls on record")
    if found["in_doubt"]:
        count = len(found["in_doubt"])
        what = _DONE[found.get("on_in_doubt", "retry")]
        parts.append(f"{count} in doubt (sent before the stop, no answer on record: {what}; their cost is unknown)")
    if found["damaged_lines"]:
        parts.append(f"{found['damaged_lines']} damaged lines: run custody verify")
    return ", ".join(parts)
