"""What a start does with a session once it has it, before anything else in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from custody import layout
from custody.integrity.chronolog import Chronolog
from custody.journal import closing, intents, spill
from custody.journal.archive import Archive
from custody.pipeline.doubts import Policy
from custody.redact import Redactor
from custody.research.matrix import Document
from custody.sessions import behind, doubts, events, recovery, workers
from custody.sessions import manifest as manifests
from custody.sessions.choice import Chosen
from custody.sessions.manifest import Manifest
from custody.storage import Lock, Storage
from custody.storage.folders import Folder


@dataclass
class Started:
    """A session that this process owns; capture is not necessarily active here."""

    path: Folder
    storage: Storage
    manifest: Manifest
    resumed: bool
    report: dict[str, Any]
    owner: Lock
    archive: Archive
    finished_before: bool = False
    on_in_doubt: Policy = "retry"
    documents: tuple[Document, ...] | None = None
    beside: bool = False  # other workers are at work in it


def take(
    chosen: Chosen,
    storage: Storage,
    owner: Lock,
    redactor: Redactor,
    policy: Policy,
    manifest_of_new: Callable[[], Manifest],
    *,
    at_work: bool = False,
) -> Started:
    """What the owner of a session does before anything else in it. ``at_work``: other workers are there, and have
    done it; what they have in hand only looks like a crash's leavings."""
    if chosen.before is None:
        manifests.write(storage, manifest_of_new(), redactor)
    behind.begin(storage)
    manifest = manifests.read(storage)
    chronolog = Chronolog(storage.shared_log(layout.CHRONOLOG), redactor)
    if at_work:
        archive = Archive(storage)
        archive.refresh()
        workers.began(chronolog, manifest)
        decided = doubts.decide(policy, [], manifest.session)
        return Started(chosen.path, storage, manifest, False, {}, owner, archive, on_in_doubt=decided, beside=True)
    spilled = spill.take_in(manifests.unique_name(storage), storage)
    archive = Archive(storage)
    archive.refresh()
    spilled += bool(intents.take_in(manifests.unique_name(storage), manifest.session, archive))
    recovery.refuse_if_vanished(storage, archive)
    found = recovery.report(archive, manifest.session)
    decided = doubts.decide(policy, found["in_doubt"], manifest.session)
    found["on_in_doubt"] = decided
    event, fields = "session_start", {}
    if chosen.before is not None:
        event = "session_resume"
        fields = {
            "answers": found["answers"],
            "in_doubt": len(found["in_doubt"]),
            "on_in_doubt": decided,
            "spilled_files_taken_in": spilled,
            **({"finished": True} if chosen.before.state == "finished" else {}),
        }
        recovery.write(storage, found, redactor)
    chronolog.event(event, session_id=manifest.session, pid=os.getpid(), **fields)
    events.project_event(chosen.path, manifest, redactor, event)
    if workers.name() is not None:
        workers.began(chronolog, manifest)
    finished = chosen.before is not None and chosen.before.state == "finished"
    if chosen.before is not None and not (workers.name() is not None and workers.may_wake(storage)):
        closing.adopt(archive)
    return Started(chosen.path, storage, manifest, chosen.before is not None, found, owner, archive, finished, decided)
