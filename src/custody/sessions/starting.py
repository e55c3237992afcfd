"""Opens sessions: chosen or created, owned, joined by child processes, ended.

A process has at most one active session, ``active()``. The process that chose it owns it and ends it;
processes below ``custody run`` join it.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Collection
from typing import Any, Unpack

from custody import layout
from custody.cost import rates
from custody.cost.ledger import WHOLE
from custody.errors import SessionBusy, UsageError
from custody.integrity.chronolog import Chronolog
from custody.journal import intents, spill
from custody.journal.archive import Archive
from custody.journal.closing import Closer
from custody.journal.intents import Intents
from custody.journal.ledger import Ledger
from custody.journal.writer import Journal
from custody.pipeline.doubts import Doubts
from custody.pipeline.flow import Flow
from custody.pipeline.in_flight import check_environment
from custody.redact import Redactor
from custody.research.definitions import Given
from custody.sessions import (
    behind,
    binding,
    budgets,
    children,
    doubts,
    earlier,
    ends,
    process,
    recovery,
    sharding,
    state,
    taking,
    workers,
)
from custody.sessions import manifest as manifests
from custody.sessions.choice import agree, choose, refuse_nested
from custody.sessions.session import Session
from custody.sessions.taking import Started
from custody.stamps import stamp
from custody.storage import Lock
from custody.storage.folders import Folder, folder
from custody.storage.leases import Leased

log = logging.getLogger("custody")

ENV_SESSION, ENV_STRICT = children.ENV_SESSION, children.ENV_STRICT

_active: Session | None = None
_locks: list[Lock] = []
_closing = threading.RLock()


def active() -> Session | None:
    """The session of this process."""
    return _active


def install() -> None:
    """Patch the SDKs of this process, and join the session of ``custody run`` if there is one."""
    process.install()
    if ENV_SESSION in os.environ:
        join()
    elif _active is None:
        log.warning(
            "custody.install(): no session is active, so nothing is recorded; "
            "use custody.session(project=..., experiment=...), or start the program with 'custody run'"
        )


def uninstall() -> None:
    """Take every patch back."""
    process.uninstall()


def session(
    project: str | None = None,
    experiment: str | None = None,
    *,
    root: str | os.PathLike[str] | None = None,
    session: str | None = None,
    new: bool = False,
    strict: bool | None = None,
    on_in_doubt: str | None = None,
    corpus: str | os.PathLike[str] | None = None,
    framework: str | os.PathLike[str] | None = None,
    definition: str | os.PathLike[str] | None = None,
    accept: Collection[str] = (),
    reuse: str | os.PathLike[str] | None = None,
    **budget: Unpack[budgets.Budget],
) -> Session:
    """Open a session, or join the one of ``custody run``.

    Without ``session`` and ``new`` the experiment's unfinished session is continued, or a first one is
    started; a finished one is neither reopened nor repeated unasked.

    Args:
        project, experiment: names, as folders under ``root``.
        root: the folder that holds ``projects/``, or its URL (``s3://bucket/study``); the current folder by default.
        session: id or path of the session to continue, a finished one too.
        new: start another session.
        strict: a call that is not archived raises ReplayMiss instead of being sent.
        on_in_doubt: what to do with a call that an earlier start has sent and that has no outcome on record,
            when the program asks for it again: "retry" (the default) sends it again; "reconcile" asks the
            vendor for the answer where its plugin can, else sends it again; "skip" raises CallInDoubt for that call;
            "fail" raises CallInDoubt here, as long as there are such calls; "ask" asks at the terminal, once.
            Below ``custody run --on-in-doubt`` the command's word counts.
        corpus: a pattern of files, or a folder; its manifest is frozen, and ``s.plan()`` walks it.
        framework, definition: files that are frozen as what the experiment is about. All three are relative to the
            current folder; what is not given here is taken from the experiment's ``experiment.toml``.
        accept: objections that are not to stop it: "growth", "framework", "outside".
        reuse: id or path of an earlier session whose archive may answer, too. What it answers is marked with its
            origin, and is no independent run.
        budget: ``budget_usd``, ``budget_tokens``, ``max_calls``: a call that might break one of them raises
            BudgetExceeded instead of being sent; see ``budgets.Budget`` for the rest.

    Raises:
        UsageError and its kinds; CallInDoubt; RequiredPluginMissing; ArchiveDamaged.
    """
    below = os.environ.get(children.ENV_ACCEPT, "")
    given = Given.of(corpus, framework, definition, [*accept, *filter(None, below.split(","))])
    if on_in_doubt is not None:
        on_in_doubt = doubts.checked(on_in_doubt)
    stated = {WHOLE: limits} if (limits := budgets.limits(**budget)) else {}
    if _active is not None and _active.closed:
        _close(_active, "finished", {})  # what its event loop still had in flight waits no longer
    if _active is not None or ENV_SESSION in os.environ:
        joined = join(on_in_doubt)
        agree(joined, project, experiment, root, session, new=new)
        whole = binding.bind_joined(joined, given)
        if reuse is not None and children.ENV_STANDS_FOR not in os.environ:  # a copy has what was reused
            earlier.allow(joined.flow, whole, reuse)
        joined.budget.update(stated)
        joined.flow.strict = joined.flow.strict or bool(strict)
        return joined
    if project is None or experiment is None:
        raise UsageError('custody.session needs names: custody.session(project="...", experiment="...")')
    where = folder(root or ".")
    project, experiment = layout.checked_name("project", project), layout.checked_name("experiment", experiment)
    command = ["python", *sys.orig_argv[1:]]
    policy = on_in_doubt or os.environ.get(children.ENV_ON_IN_DOUBT)
    if reuse is not None:
        reuse = layout.find_session(where, os.fspath(reuse))  # or nothing is begun
    started = start(where, project, experiment, session, new=new, command=command, on_in_doubt=policy, given=given)
    flag = strict if strict is not None else os.environ.get(ENV_STRICT) == "1"
    opened = activate(started, joined=False, strict=flag, budget=stated)
    if reuse is not None:
        earlier.allow(opened.flow, where, reuse)
    return opened


def start(
    root: Folder,
    project: str,
    experiment: str,
    session: str | None,
    *,
    new: bool,
    command: list[str] | None,
    on_in_doubt: str | None = None,
    given: Given | None = None,
) -> Started:
    """Choose or create the session, own it, take in spilled records, write its start event, bind its definitions."""
    check_environment()
    rates.from_environment()  # a file of rates that cannot be read is said before anything is paid
    policy = doubts.checked(on_in_doubt or "retry")
    refuse_nested(root)
    installed = process.install()
    redactor = Redactor(installed.hooks.redaction_patterns())
    redactor.learn_environment(os.environ)
    prepared = binding.prepare(
        root, layout.experiment_path(root, project, experiment), Given() if given is None else given, redactor
    )
    worker = workers.name()
    behind.catch_up(root)
    chosen = (choose if worker is None else workers.choose)(root, project, experiment, session, new=new)
    storage = workers.shared(installed.hooks.open_storage(str(chosen.path), create=True))
    with workers.turn(storage):
        owner = state.take(storage, layout.OWNER_LOCK, shared=worker is not None)
        if owner is None:
            raise SessionBusy(
                f"session {chosen.path.name} has just been opened by another process; --new starts another"
            )
        try:
            at_work = False
            if worker is not None:
                chosen, at_work = workers.before(chosen, storage)
                shard = None  # of each worker, not of the session
            elif chosen.before is None:
                shard = sharding.asked()
            else:
                shard = sharding.agreed(manifests.read(storage))
            taken = taking.take(
                chosen,
                storage,
                owner,
                redactor,
                policy,
                lambda: manifests.new(root, chosen.path.name, project, experiment, command, shard),
                at_work=at_work,
            )
            binding.begin(prepared, chosen.path, storage, redactor, project)
            taken.documents = prepared.documents
            if shard is not None:
                children.set_here({sharding.ENV: shard})
            return taken
        except BaseException:
            owner.release()
            raise


def activate(started: Started, *, joined: bool, strict: bool, budget: dict[str, Any] | None = None) -> Session:
    """Make an owned session the active one of this process."""
    opened = _activate(started.path, [started.owner], joined=joined, strict=strict, started=started, budget=budget)
    # Python processes that the program starts join its session, also where they are spawned.
    changes = children.environment(
        os.environ, started.path, strict=strict, resumed=started.resumed, on_in_doubt=started.on_in_doubt
    )
    children.set_here(changes)
    opened.documents = started.documents
    if started.resumed:
        log.warning("custody: continuing %s: %s", opened.id, recovery.sentence(started.report))
        opened.flow.hooks.resumed(opened.record, started.report)
    return opened


def join(on_in_doubt: str | None = None) -> Session:
    """Make the session of ``custody run`` the active one of this process. Raises SessionNotFound, CallInDoubt."""
    if _active is None:
        strict = os.environ.get(ENV_STRICT) == "1"
        _activate(folder(os.environ[ENV_SESSION]), [], joined=True, strict=strict)
    assert _active is not None
    if _active.joined and on_in_doubt is not None:
        flow = _active.flow
        flow.doubts.policy = doubts.of_joined(on_in_doubt, flow.archive, _active.storage, _active.id)
    return _active


def _activate(
    path: Folder, locks: list[Lock], *, joined: bool, strict: bool, started: Started | None = None, budget: Any = None,
) -> Session:  # fmt: skip
    global _active
    installed = process.install()
    hooks = installed.hooks
    redactor = Redactor(hooks.redaction_patterns())
    redactor.learn_environment(os.environ)
    storage = started.storage if started else workers.shared(hooks.open_storage(str(path), create=False))
    manifest = manifests.read(storage)
    member = state.take(storage, layout.MEMBERS_LOCK, shared=True)
    if member is None:
        raise SessionBusy(f"session {path.name} cannot be joined: another process is just taking it over")
    spilled_as = manifests.unique_name(storage)
    journal = Journal(
        storage,
        manifest.session,
        redactor,
        lambda writer, sealed: spill.keep(spilled_as, writer, sealed),
        sync_intent=os.environ.get("CUSTODY_SYNC_INTENT") == "1",
        closer=Closer(storage, Ledger(storage)),
        intents=(lambda writer: Intents(spilled_as, writer)) if intents.wanted(storage) else None,
    )
    archive = started.archive if started else Archive(storage)
    archive.own_writer, archive.settles = journal.writer, True
    archive.refresh()
    began = doubts.since(storage, resumed=started.resumed if started else None)
    flow = Flow(
        session=manifest.session,
        secret=manifests.read_key(storage),
        storage=storage,
        journal=journal,
        archive=archive,
        hooks=hooks,
        chronolog=Chronolog(storage.shared_log(layout.CHRONOLOG), redactor),
        redactor=redactor,
        claims=layout.CLAIMS,
        doubts=Doubts(
            archive,
            started.on_in_doubt if started else doubts.of_joined(None, archive, storage, path.name),
            began,
        ),
        strict=strict,
        began=stamp(began) if began is not None else manifest.created,
        sdk_versions=installed.sdk_version,
        reuse=earlier.origin(folder(lent)) if joined and (lent := os.environ.get(children.ENV_REUSE)) else None,
    )
    hooks.on_failure = flow.note_failure
    _locks[:] = [*locks, member]
    report, resumed = (started.report, started.resumed) if started else ({}, False)
    opened = Session(manifest, path, storage, flow, resumed, joined, report, budget or {}, _close)
    opened.beside = started is not None and started.beside
    hooks.session_opened(opened.record)
    if isinstance(storage, Leased):
        storage.leases.heartbeat.facts = lambda: {"calls": flow.ended, "claims": storage.leases.held}
    installed.flow = installed.last = flow
    _active = opened
    ends.watch(opened)
    return opened


def _close(opened: Session, outcome: str, fields: dict[str, Any]) -> None:
    """End a session: once, by the first outcome that was said."""
    with _closing:
        if _active is not opened:
            return
        first, (outcome, fields) = opened.ending is None, opened.ending or (outcome, fields)
        opened.ending = (outcome, fields)
        opened.closed = True
        installed = process.current()
        if installed is not None and outcome == "finished":
            installed.flow = None
        if first and ends.put_off(opened.flow.in_flight, lambda: _close(opened, outcome, fields)):
            return
        left_at_once = ends.settle(opened, clean=outcome == "finished")
        if installed is not None:
            installed.flow = None
        _finish(opened, outcome, fields)
    if left_at_once is not None:
        raise left_at_once


def _finish(opened: Session, outcome: str, fields: dict[str, Any]) -> None:
    global _active
    opened.flow.hooks.on_failure = lambda failure: None  # logged; the archive takes no note any more
    opened.flow.journal.close()
    if opened.flow.journal.lost:
        outcome, fields = "failed", {**fields, "records": "lost"}
        log.error("custody: %d lines of %s are NOT ARCHIVED", opened.flow.journal.lost, opened.id)
    if not opened.joined:
        workers.end(opened.path, opened.storage, opened.manifest, opened.flow.chronolog, outcome, **fields)
    opened.flow.hooks.session_closed(opened.record)
    ends.unwatch(opened)
    children.restore()
    if not opened.joined:
        behind.finish(opened.storage)
    while _locks:
        _locks.pop().release()
    workers.close(opened.storage)
    _active = None


def close_at_exit() -> None:
    """At the end of the interpreter: nothing that was acknowledged is left in a buffer."""
    if _active is not None:
        # One that was opened without ``with`` ends here: failed where an exception ended the program;
        # else nobody knows how it went.
        error = ends.crashed()
        _active.close("failed" if error else "left_open", **({"error": error} if error else {}))


def rejoin_after_fork() -> None:
    """A forked child writes its own segments under the parent's session."""
    global _active, _closing
    parent, _active = _active, None
    _closing = threading.RLock()
    _locks.clear()
    installed = process.current()
    if parent is None or installed is None:
        return
    try:
        child = _activate(parent.path, [], joined=True, strict=parent.flow.strict)
    except Exception as error:
        parent.flow.stopped = f"this process was forked, and cannot record in {parent.path} ({error}); nothing was sent"
        installed.flow = parent.flow  # which is asked for nothing but to say so
        log.error("custody: %s", parent.flow.stopped)
        return
    child.flow.doubts.policy = parent.flow.doubts.policy
    child.flow.replicates = parent.flow.replicates.forked()
    child._depth, child.documents = parent._depth, parent.documents
