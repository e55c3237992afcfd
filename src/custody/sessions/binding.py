"""Binds a session to what it is about, before its first call: guards, frozen definitions, the environment."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from custody import layout
from custody.integrity.chronolog import Chronolog
from custody.redact import Redactor
from custody.research import definitions, environment, guards, snapshots
from custody.research.definitions import Given, Kind, Live, Place
from custody.research.matrix import Document
from custody.research.snapshots import Drift
from custody.sessions import children, heads
from custody.storage import Storage
from custody.storage.folders import Folder, at, folder

if TYPE_CHECKING:
    from custody.sessions.session import Session

log = logging.getLogger("custody")


@dataclass(frozen=True)
class Prepared:
    """Guarded and read; nothing is written yet."""

    place: Place
    live: dict[Kind, Live] = field(default_factory=dict)

    def named(self, given: Given) -> Prepared:
        """Those that a program names itself: the others were bound by the command that started it."""
        named = {"experiment": given.definition, "framework": given.framework, "corpus": given.corpus}
        return replace(self, live={kind: live for kind, live in self.live.items() if named[kind]})

    @property
    def documents(self) -> tuple[Document, ...] | None:
        """The corpus; None where none was named."""
        corpus = self.live.get("corpus")
        return corpus.documents if corpus is not None else None


def prepare(root: Folder, experiment: Folder, given: Given, redactor: Redactor) -> Prepared:
    """Raises UsageError, with the way to go on, before a session is made or a call sent."""
    place = Place(root, experiment)
    whole = definitions.declared(place, given)
    live = definitions.read(place, whole, redactor)
    guards.check(live, whole, _files_before(experiment) if "corpus" in live else None)
    return Prepared(place, live)


def begin(prepared: Prepared, path: Folder, session: Storage, redactor: Redactor, project: str) -> None:
    """What the owner of a session does about it before anything else in it is done."""
    chronolog = Chronolog(session.shared_log(layout.CHRONOLOG), redactor)
    bind(prepared, session, chronolog)
    bind_environment(session, chronolog, redactor)
    heads.record(path, session, project)


def bind_joined(joined: Session, given: Given) -> Folder:
    """What a program names itself that runs below a command; gives the root. Raises UsageError."""
    original = os.environ.get(children.ENV_STANDS_FOR)
    root = folder(original or joined.path.parents[5])
    experiment = layout.experiment_path(root, joined.manifest.project, joined.manifest.experiment)
    prepared = prepare(root, experiment, given, joined.flow.redactor)
    if original is None:
        bind(prepared.named(given), joined.storage, joined.flow.chronolog)
    joined.documents = prepared.documents
    return root


def bind(prepared: Prepared, session: Storage, chronolog: Chronolog) -> None:
    """Freeze what is live, bind the session to it, and say what differs from what was frozen before."""
    if not prepared.live:
        return
    experiment = at(prepared.place.experiment)
    unbound = [kind for kind in prepared.live if snapshots.binding(session, kind) is None]
    drifts = snapshots.bind(experiment, session, prepared.live)
    for kind in unbound:
        known = snapshots.binding(session, kind) or {}
        chronolog.event("snapshot", kind=kind, sha256=known.get("sha256"), frozen=known.get("frozen"))
    for drift in drifts:
        _say(drift, chronolog, prepared.live[drift.kind].sha256)  # type: ignore[index]


def bind_environment(session: Storage, chronolog: Chronolog, redactor: Redactor) -> None:
    """Write down on what the session runs; on resume what differs from then."""
    try:
        now = environment.snapshot(Path.cwd(), redactor)
    except Exception as error:  # a broken distribution, a strange git: no reason to stop a study
        log.warning("custody: the environment is not written down (%s: %s)", type(error).__name__, error)
        return
    try:
        before = session.read(layout.ENVIRONMENT)
    except FileNotFoundError:
        session.put_if_absent(layout.ENVIRONMENT, now)
        return
    if before == now:
        return
    drift = Drift("environment", "session", before, now)
    digest = snapshots.digest(now)
    if session.put_if_absent(snapshots.copy_name("environment", digest), now):
        chronolog.event("drift", kind=drift.kind, since=drift.since, sha256=digest)
    differing = environment.differences(before, now)
    if differing:
        more = f" and {len(differing) - 5} more" if len(differing) > 5 else ""
        log.warning("custody: the environment is another one than when this session began: %s%s",
                    "; ".join(differing[:5]), more)  # fmt: skip


def _say(drift: Drift, chronolog: Chronolog, sha256: str) -> None:
    since = {"experiment": "the experiment's frozen one", "session": "the one that this session is bound to"}
    log.warning(
        "custody: the %s is another one than %s: %s. Both are kept; custody drift shows the difference",
        drift.kind, since[drift.since], drift.summary,
    )  # fmt: skip
    chronolog.event("drift", kind=drift.kind, since=drift.since, sha256=sha256)


def _files_before(experiment: Folder) -> int | None:
    """Files in the corpus of the experiment's last session that had one."""
    for session in reversed(layout.sessions_of(experiment)):
        known = snapshots.binding(at(session), "corpus")
        if known is not None and isinstance(known.get("files"), int):
            return int(known["files"])
    return guards.count_files(experiment / layout.CORPUS_MANIFEST)
