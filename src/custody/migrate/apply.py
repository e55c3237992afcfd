"""Carries a plan out: copies, never moves; each session appears whole or not at all; run again, it goes on.

The record in ``migrations/`` is written first, with every name that will be made. A session is built beside
its place, in a folder that is no session's, and renamed. What is there already, whole, is left as it is.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from custody import layout
from custody.errors import StorageError, UsageError
from custody.integrity import chronolog
from custody.integrity.chronolog import Chronolog
from custody.journal.closing import Closer
from custody.journal.ledger import Ledger
from custody.journal.writer import Journal
from custody.migrate import copying, record, report, writing
from custody.migrate import plan as plans
from custody.migrate.plan import Plan, PlannedSession
from custody.migrate.record import ChronologGrown, Made, Original, Record, SessionMade
from custody.migrate.source import shown
from custody.redact import Redactor
from custody.sessions import manifest as manifests
from custody.sessions.manifest import Manifest
from custody.stamps import now, stamp
from custody.storage.local import LocalStorage

STAGING = ".migrating-"

Progress = Callable[[str], None]


def prepare(plan: Plan, destination: Path) -> Record | None:
    """Give the plan's sessions ids that are free in the destination, or those of an earlier, interrupted apply.

    Gives the record of a migration of this very source that is there already. Raises UsageError where the
    destination cannot take it.
    """
    inner, outer = plan.source, destination.resolve()
    if inner == outer or inner in outer.parents or outer in inner.parents:
        raise UsageError(f"{destination} and {plan.source} lie in each other; choose a folder outside of the source")
    if destination.exists() and not destination.is_dir():
        raise UsageError(f"{destination} is a file")
    known = record.read_all(destination)
    same = next((r for r in known if r.migration == plan.id), None)
    if same is not None:
        ids = {(made.experiment, made.root, made.run): made.session for made in same.sessions}
        for session in plan.sessions:
            session.session = ids.get((_experiment(session), shown(session.run.root), _run(session)), session.session)
    else:
        _refuse_other_state(plan, known, destination)
        taken = {path.name for path in destination.glob("projects/*/experiments/*/sessions/*")}
        plans.number(plan.sessions, taken)
    plans.place(plan)
    return same


def _refuse_other_state(plan: Plan, known: list[Record], destination: Path) -> None:
    ours = {(_experiment(session), _run(session)) for session in plan.sessions}
    for other in known:
        again = sorted(made.session for made in other.sessions if (made.experiment, made.run) in ours)
        if again:
            raise UsageError(
                f"{destination} holds these runs already ({', '.join(again[:3])}), from migration {other.migration} of "
                f"another state of the source: take that one back first (custody migrate --rollback {destination})"
            )


def apply(plan: Plan, destination: Path, told: Progress = lambda line: None) -> tuple[Record, bool]:
    """Do it. Gives the record, and whether anything was done.

    Raises UsageError, StorageError; what is then unfinished is finished by the next apply.
    """
    unreadable = [file.path for file in plan.files if file.kind == "unreadable"]
    if unreadable:
        raise StorageError(
            f"{len(unreadable)} files of the source cannot be read, the first is {shown(unreadable[0])}; "
            "nothing was written"
        )
    prepare(plan, destination)
    destination.mkdir(parents=True, exist_ok=True)
    with record.alone(destination):
        same = prepare(plan, destination)
        if same is not None and same.state == "complete":
            return same, False
        if same is not None and same.state == "rolling_back":
            raise UsageError(f"migration {plan.id} is being taken back: custody migrate --rollback {destination}")
        begun = same or _record(plan)
        if same is None:
            begun.chronologs = [_grown(destination, name) for name in _project_chronologs(plan)]
            record.write(destination, begun)
        return _carry_out(plan, destination, begun, told), True


def _carry_out(plan: Plan, destination: Path, begun: Record, told: Progress) -> Record:
    in_sessions = {path for session in plan.sessions for path in session.run.files}
    for file in plan.files:
        if file.goes_to is not None and file.path not in in_sessions:
            assert file.sha256 is not None
            copying.copy(plan.source, file.path, file.sha256, destination / file.goes_to)
    for number, session in enumerate(plan.sessions, 1):
        if not (destination / session.folder / layout.MIGRATED).is_file():
            _build(plan, session, destination)
            told(f"{session.session}: {len(session.calls)} calls ({number} of {len(plan.sessions)} sessions)")
    for name in _project_chronologs(plan):
        _tell_project(plan, destination, name)
    grown = [
        ChronologGrown(path=c.path, before=c.before, **_size_and_digest(destination / c.path)) for c in begun.chronologs
    ]
    done = begun.model_copy(update={"state": "complete", "made": _made(plan, destination), "chronologs": grown})
    record.write(destination, done)
    return done


def _build(plan: Plan, session: PlannedSession, destination: Path) -> None:
    """One session, whole, in one step."""
    target = destination / session.folder
    if target.exists():
        raise StorageError(f"{target} is there already, and not made by this migration; nothing was overwritten")
    staging = target.parent / f"{STAGING}{session.session}"
    if staging.exists():
        shutil.rmtree(staging)  # of an apply that was interrupted
    storage = LocalStorage(staging)
    for folder in layout.FOLDERS:
        (staging / folder).mkdir(parents=True)
    redactor = Redactor()
    redactor.learn_environment(os.environ)
    manifests.write(storage, _manifest(session), redactor)
    secret = manifests.read_key(storage)
    closer = Closer(storage, Ledger(storage))
    journal = Journal(storage, session.session, redactor, _no_spill, closer=closer)
    for call in session.calls:
        writing.append(journal, session, call, secret, plan.stage)
    journal.close()
    closer.finish()
    if not journal.healthy:
        raise StorageError(f"{target} cannot be written; the migration can be started again")
    own = set(session.run.files)
    files = [file for file in plan.files if file.path in own and file.goes_to is not None]
    for file in files:
        assert file.sha256 is not None and file.goes_to is not None
        inside = os.path.relpath(file.goes_to, session.folder)
        copying.copy(plan.source, file.path, file.sha256, staging / inside)
    log = Chronolog(storage.shared_log(layout.CHRONOLOG), redactor)
    log.event("session_start", session_id=session.session)
    log.event("session_migrated", session_id=session.session, **_summary(session))
    document = _migrated(plan, session, files)
    storage.put(layout.MIGRATED, json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace"))
    for folder, _, _ in os.walk(staging):
        copying.sync_folder(Path(folder))
    os.rename(staging, target)
    copying.sync_folder(target.parent)


def _no_spill(writer: str, sealed: list[bytes]) -> str:
    raise OSError("a migration writes nowhere else")


def _manifest(session: PlannedSession) -> Manifest:
    return Manifest(
        session=session.session,
        project=session.home.project,
        experiment=session.home.experiment,
        created=stamp(session.started),
        custody=_custody(),
        python=".".join(map(str, sys.version_info[:3])),
    )


def _summary(session: PlannedSession) -> dict[str, Any]:
    return {
        "generations": session.generations,
        "calls": len(session.calls),
        "answers": sum(call.answers for call in session.calls),
        "in_doubt": sum(call.in_doubt for call in session.calls),
    }


def _migrated(plan: Plan, session: PlannedSession, files: list[plans.PlannedFile]) -> dict[str, Any]:
    """``system_state/migration.json``: what the session was made from."""
    return {
        "migration": plan.id,
        "time": now(),
        "source": shown(plan.source.name),
        "generations": session.generations,
        "started": stamp(session.started),
        "started_by": session.started_by,
        "ids": {shown(name): how for name, how in session.run.ids.items()},
        "calls": {"total": len(session.calls), **report.origins(session.calls)},
        "answers": sum(call.answers for call in session.calls),
        "files": [
            {
                "path": shown(file.path), "bytes": file.size, "sha256": file.sha256, "kind": file.kind,
                "generation": file.generation, "disposition": file.disposition, "reason": file.reason,
            }
            for file in files
        ],
        "definitions": [vars(d) for d in plan.definitions if d.experiment == session.home.experiment],
    }  # fmt: skip


def _record(plan: Plan) -> Record:
    return Record(
        migration=plan.id, state="begun", time=now(), custody=_custody(), source=plan.source.name,
        total_bytes=plan.total,
        files=[
            Original(
                path=f.path, bytes=f.size, sha256=f.sha256, kind=f.kind, generation=f.generation,
                disposition=f.disposition, reason=f.reason, goes_to=f.goes_to,
            )
            for f in plan.files
        ],
        sessions=[
            SessionMade(
                session=s.session, folder=s.folder, experiment=_experiment(s), root=shown(s.run.root), run=_run(s),
                **{k: v for k, v in _summary(s).items() if k != "generations"},
            )
            for s in plan.sessions
        ],
    )  # fmt: skip


def _experiment(session: PlannedSession) -> str:
    return f"{session.home.project}/{session.home.experiment}"


def _run(session: PlannedSession) -> str:
    return shown(session.run.name)


def _project_chronologs(plan: Plan) -> list[str]:
    projects = sorted({session.home.project for session in plan.sessions})
    return [f"projects/{project}/PROJECT_CHRONOLOG_{project}.jsonl" for project in projects]


def _grown(destination: Path, name: str) -> ChronologGrown:
    path = destination / name
    before = path.stat().st_size if path.is_file() else None
    return ChronologGrown(path=name, before=before, after=before or 0, sha256="")


def _tell_project(plan: Plan, destination: Path, name: str) -> None:
    """An event for each session that the project's chronolog does not have yet."""
    folder, _, file = name.rpartition("/")
    project = folder.rpartition("/")[2]
    storage = LocalStorage(destination / folder)
    try:
        told = {event.get("session_id") for event in chronolog.read(storage.read(file))}
    except FileNotFoundError:
        told = set()
    log = Chronolog(storage.shared_log(file), Redactor())
    for session in plan.sessions:
        if session.home.project == project and session.session not in told:
            log.event(
                "session_migrated", session_id=session.session, project=project, experiment=session.home.experiment
            )


def _made(plan: Plan, destination: Path) -> list[Made]:
    """Every file that is there by now and was made by this migration."""
    paths = [file.goes_to for file in plan.files if file.goes_to is not None]
    for session in plan.sessions:
        found = sorted(path for path in (destination / session.folder).rglob("*") if path.is_file())
        paths += [os.path.relpath(path, destination) for path in found]
    return [Made(path=path, **_bytes_and_digest(destination / path)) for path in dict.fromkeys(paths)]


def _bytes_and_digest(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": copying.digest(path)}


def _size_and_digest(path: Path) -> dict[str, Any]:
    return {"after": path.stat().st_size, "sha256": copying.digest(path)}


def _custody() -> str:
    try:
        return version("custody")
    except PackageNotFoundError:
        return "0"
