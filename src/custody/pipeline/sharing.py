"""Says when calls without a label of their own share one answer, or may change places on resume."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from custody.identity import scope
from custody.pipeline import claims

if TYPE_CHECKING:
    from custody.pipeline.call import LogicalCall
    from custody.pipeline.flow import Flow

log = logging.getLogger("custody")


def another_process(flow: Flow, labels: scope.Labels) -> None:
    """It has just asked the same. Between workers with labels that is how it is meant."""
    if flow.shared_warned or (claims.are_leases(flow.storage) and set(labels) - {"stage"}):
        return
    flow.shared_warned = True
    log.warning(
        "custody: another process has just asked the same in the scope %s, and its answer is used here too. "
        "If these are different runs, say so with a label, e.g. session.scope(run=...)",
        scope.canonical(labels),
    )


def an_earlier_process(flow: Flow, call: LogicalCall) -> None:
    """Six runs in six processes, one after another and without a label, are one question with one answer."""
    if flow.shared_warned or flow.strict or not flow.began or set(call.labels) - {"stage"} or call.identity is None:
        return
    given = flow.archive.answer(call.identity)
    if given is None or given.fields["started"] < flow.began:
        return  # of an earlier start: this is what a resume is for (and strict, a replay)
    flow.shared_warned = True
    log.warning(
        "custody: another process of this run has asked the same, without a label, and is given as answer here "
        "too what it got (call %s). If these are different runs, say so with a label, e.g. session.scope(run=...)",
        given.id,
    )
    flow.journal.append([("note", {"note": "shared_answer", "scope": dict(call.labels), "call": given.id})])


def unlabelled(flow: Flow, labels: scope.Labels) -> None:
    """The same is in flight twice in one scope of one process."""
    log.warning(
        "custody: the same request is in flight twice in the scope %s without a label. Each call gets its own "
        "answer, but which one gets which may differ on resume: add a label, e.g. session.scope(run=...)",
        scope.canonical(labels),
    )
    flow.journal.append([("note", {"note": "unlabelled_replicates", "scope": dict(labels)})])
