"""What the beginning and the end of a session write into its chronolog and into the project's."""

from __future__ import annotations

import logging
from typing import Any

from custody.errors import CustodyError
from custody.integrity.chronolog import Chronolog
from custody.journal import spill
from custody.redact import Redactor
from custody.sessions import heads
from custody.sessions import manifest as manifests
from custody.sessions.manifest import Manifest
from custody.storage.folders import Folder, at

log = logging.getLogger("custody")


def end(path: Folder, manifest: Manifest, chronolog: Chronolog, outcome: str, **fields: Any) -> None:
    """Write how a session ended, in its chronolog and in the project's.

    One whose records wait in the spill is not finished: the next start takes them in. Nor is one that
    has lost records, or its folder.
    """
    try:
        if fields.get("records") != "lost" and spill.pending(manifests.unique_name(at(path))):
            outcome, fields = "failed", {**fields, "records": "spilled"}
    except (CustodyError, OSError) as error:
        log.error("custody: the end of %s cannot be written: %s", manifest.session, error)
        return
    extra = {k: v for k, v in fields.items() if v is not None}
    chronolog.event("session_end", session_id=manifest.session, outcome=outcome, **extra)
    project_event(path, manifest, Redactor(), "session_end", outcome=outcome)
    heads.record(path, at(path), manifest.project)


def project_event(path: Folder, manifest: Manifest, redactor: Redactor, event: str, **fields: Any) -> None:
    """Append an event of a session to its project's chronolog."""
    project = path.parents[3]
    try:
        shared = at(project).shared_log(f"PROJECT_CHRONOLOG_{manifest.project}.jsonl")
    except OSError as error:
        log.error("custody: the project's chronolog cannot be written (%s)", error)
        return
    Chronolog(shared, redactor).event(
        event, session_id=manifest.session, project=manifest.project, experiment=manifest.experiment, **fields
    )
