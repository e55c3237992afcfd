"""Claims that are leases: workers on many machines, of which any may die, or be taken for dead and wake up.

A claim of the kernel is simply there or not. A lease says more, and asks for more: whether anybody may have an answer
(``stale``), whether its last owner died with it (``taken_over``), and whether it is still ours (``lost``).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from custody.errors import CallInDoubt, CustodyError
from custody.exchange import Replay
from custody.journal.archive import StoredCall, replay_head
from custody.storage import Lock, Storage
from custody.storage.leases import Held, Owner

if TYPE_CHECKING:
    from custody.pipeline.call import LogicalCall
    from custody.pipeline.flow import Flow
    from custody.pipeline.turn import LiveTurn

log = logging.getLogger("custody")


def are_leases(storage: Storage) -> bool:
    """Whether claims outlast their release: whoever waits for one then looks for the answer meanwhile."""
    return hasattr(storage, "leases")  # as ``isinstance(storage, Leased)`` says; every call asks, and that one is slow


def stale(lock: Lock | None) -> bool:
    """Whether others may have an answer that this process has not read."""
    return not (isinstance(lock, Held) and lock.fresh)


def taken_over(lock: Lock | None) -> Owner | None:
    """The dead owner from whom it was taken: what he claimed may have been sent."""
    return lock.taken_from if isinstance(lock, Held) else None


def lost(lock: Lock | None) -> bool:
    """Whether another worker has taken it over. A server that cannot be asked has not said so."""
    if not isinstance(lock, Held):
        return False
    try:
        return lock.lost()
    except (OSError, CustodyError) as error:
        log.warning("custody: whether %s is still this worker's cannot be asked (%s)", lock.name, error)
        return False


def settle(lock: Lock, *, answered: bool, sent: bool) -> None:
    """The call is over. An answered lease stays, so that others know where to look."""
    if isinstance(lock, Held) and answered:
        lock.keep()
    elif isinstance(lock, Held) and not sent:
        lock.give_back()  # what was in doubt is so for the next one
    else:
        lock.release()


def forget(lock: Lock | None) -> None:
    """It is another worker's now, and this process may wait for it."""
    if isinstance(lock, Held):
        lock.keep()


def superseded(call: StoredCall | None) -> bool:
    """Whether an archived call was made by a worker whose claim another one had taken over."""
    return call is not None and call.fields.get("superseded") is True


def is_late(call: LogicalCall, replay: Replay) -> bool:
    """Whether the only answer to a call is that of a worker whose claim was taken over."""
    flow = call.flow
    if not are_leases(flow.storage) or call.identity is None:
        return False
    stored = flow.archive.answer(call.identity)
    return stored is not None and stored.id == replay.call_id and superseded(stored)


def report(flow: Flow, call: LogicalCall, owner: Owner) -> None:
    """Say that a dead worker's claim was taken over, and what becomes of the call."""
    assert call.identity is not None
    again = flow.doubts.policy in ("retry", "reconcile")
    fields: dict[str, Any] = {
        "note": "claim_taken_over", "worker": owner.worker, "holder": owner.holder, "generation": owner.generation,
        "call": call.id, "in_doubt": call.in_doubt, "sent_again": again, "scope": dict(call.labels),
        "scope_key": call.identity.scope, "request_key": call.identity.key, "replicate": call.identity.replicate,
    }  # fmt: skip
    flow.journal.append([("note", fields)])
    log.warning(
        "custody: worker %s died, or was silent for longer than its lease, while it had a call in hand, which is in "
        "doubt: it may have been sent and billed; %s",
        owner.worker, "it is sent again" if again else f"it is refused (on_in_doubt={flow.doubts.policy})",
    )  # fmt: skip
    if not again and not call.in_doubt:
        raise CallInDoubt(
            f"worker {owner.worker} had claimed this call and died; it may have been sent and billed, and nothing was "
            f"sent again (on_in_doubt={flow.doubts.policy}). on_in_doubt=retry sends it again",
            calls=[],
        )


def winner(turn: LiveTurn) -> Replay | None:
    """For a worker that was taken for dead and has its answer late: the answer of the one who took over."""
    flow, identity = turn.call.flow, turn.call.identity
    assert identity is not None
    try:
        flow.archive.refresh()
        stored = flow.archive.answer(identity)
        if stored is None or stored.id == turn.call.id or superseded(stored):
            return None
        response = flow.archive.response(stored)
    except (OSError, CustodyError) as error:
        log.warning("custody: the answer of the worker that took over cannot be read (%s)", error)
        return None
    if response is None or response.ending != "complete":
        return None
    return Replay(
        stored.id, replay_head(stored, response), tuple(chunk.data for chunk in response.chunks), response.decoded
    )
