"""One logical call: its attempts, its one outcome, its call line."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from custody.credentials import Deferred
from custody.errors import Abort, AnswerNotArchived
from custody.exchange import Ack, Replay
from custody.hooks import results
from custody.hooks.manager import HookFailure
from custody.identity import Identity, scope
from custody.pipeline import bare, claims, outcome, unseen
from custody.pipeline.isolation import isolated
from custody.seam.calls import Returned
from custody.storage import Lock
from custody.storage.leases import Owner
from custody.vendor import CallSeam, Source, current

if TYPE_CHECKING:
    from custody.hooks.manager import PluginManager
    from custody.journal.archive import StoredCall
    from custody.pipeline.flow import Flow
    from custody.pipeline.turn import LiveTurn

log = logging.getLogger("custody")


@dataclass(frozen=True, slots=True)
class Invocation:
    """How the SDK's method was called, and what that asks, as its plugin describes it."""

    seam: CallSeam
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    described: Any = None

    def owns(self, client: object) -> bool:
        """Whether a request of this HTTP client belongs to the call; a token's, say, does not."""
        owner = self.args[0] if self.args else None
        held = [one for name in self.seam.client if (one := _attribute(owner, name)) is not None]
        return not held or any(one is client for one in held)


class LogicalCall:
    """A call as the user wrote it. Without a call seam every exchange is a call of its own.

    Attributes:
        seam_active: the SDK's method has not returned yet, so it may still try again.
        mixed: its requests may differ.
        allowed: the call passed everything that may stop it.
        waited: another process had its identity claimed.
        taken_from: the dead worker that had claimed it, and may have sent it.
        superseded: another worker took its claim over while it was under way.
        in_doubt: ids of calls that were sent in its place before, without an outcome on record.
        skipped: it is in doubt and not sent again, which uses its number up: the next one is another call.
        level: its number among the calls of the SDK that asked the same, where it may turn out that nothing of
            it is seen on the wire; None once it has its identity by that, or is over.
        settled: it has its answer: what the SDK's method asks now is another call.
        source: where its answer was seen (``vendor.Source``).
    """

    def __init__(self, flow: Flow, plugin: str = "", invocation: Invocation | None = None) -> None:
        self._flow = flow
        self.plugin = plugin
        self.invocation = invocation
        self.mixed = invocation is not None and invocation.seam.mixed
        self.damaged = False
        self.seam_active = invocation is not None
        self._scope = scope.current()
        self.id = flow.journal.next_id()
        self.identity: Identity | None = None
        self.canonical: dict[str, Any] = {}
        self.replay: Replay | None = None
        self.settled = False
        self.level: Identity | None = None
        self.archived: Mapping[str, Any] | None = None
        self.archived_failed = False
        self.failure: StoredCall | None = None  # what it repeats, in strict mode
        self.last_failure = False
        self.annotations: dict[str, Any] = {}
        self.source: Source = "wire"
        self.claim: Lock | None = None
        self.taken_from: Owner | None = None
        self.superseded = False
        self.allowed = self.waited = self.skipped = False
        self.in_doubt: list[str] = []
        self.attempts: list[LiveTurn] = []
        self.open_exchanges = self.waiting = 0
        self.failures: list[HookFailure] = []
        self._deferred = Deferred()
        self._started = datetime.now(UTC)
        self._exchanges = 0
        self._committed = False
        self._numbered = False
        self._once = threading.RLock()

    # -- for plugins (``vendor.OpenCall``) ----------------------------------------------------------

    def annotate(self, name: str, value: Any) -> None:
        if (kept := self.hooks.guarded(self.plugin, "annotate", results.annotation, name, value)) is not None:
            self.annotations[kept[0]] = kept[1]

    def deferred(self, resolve: Callable[[], Any]) -> str:
        return self._deferred.add(resolve)

    @property
    def defers(self) -> bool:
        return bool(self._deferred)

    def resolver(self, name: str) -> Callable[[], Any]:
        return self._deferred.resolver(name)

    # -- what it is -----------------------------------------------------------------------------------

    def owns(self, client: object) -> bool:
        return self.invocation is None or self.invocation.owns(client)

    @property
    def hooks(self) -> PluginManager:
        return self._flow.hooks

    @property
    def labels(self) -> scope.Labels:
        return self._scope.labels

    def next_exchange_id(self) -> str:
        self._exchanges += 1
        return f"{self.id}.{self._exchanges}"

    # -- how it goes ------------------------------------------------------------------------------

    def replayed(self, replay: Replay, *, consumed: bool = True, final: bool = True) -> None:
        """The archive answered: with an answer, which consumes the number, or with a failed call.

        ``final``: this response ends the call, as it did then; else it is a failed attempt of it.
        """
        first, self.replay, self.settled = self.replay is None, replay, final
        if first:
            origin = {"origin": replay.origin} if replay.origin is not None else {}
            self._flow.chronolog.call_event("llm_call_replayed", call_id=replay.call_id, **origin)
            self._finished(consumed=consumed)

    def refused(self) -> None:
        """Stopped before it was sent."""
        self._finished(consumed=self.skipped)

    def identify_by_level(self, canonical: dict[str, Any]) -> None:
        """Nothing was seen on the wire: the call is known by what its SDK's method was asked."""
        self.identity, self.level, self.canonical = self.level, None, canonical

    def abandoned(self) -> None:
        """A defect of ours: the call cannot be recorded, but nobody shall wait for it."""
        self.open_exchanges = 0
        self._finished(consumed=True)

    def exchange_over(self, turn: LiveTurn) -> Ack | None:
        """An exchange ended. Commits the call if nothing can follow it."""
        self.open_exchanges -= 1
        self.attempts.append(turn)
        exchange = turn.exchange
        if self.seam_active and not exchange.succeeded:
            return None  # the SDK may try again; its call seam has the last word
        if self.open_exchanges and exchange.id != f"{self.id}.{self._exchanges}":
            return None  # an attempt that was left unread; the one that the program reads commits
        return self._commit(turn)

    @isolated
    def ready(self) -> Returned | None:
        return unseen.archived(self)

    @isolated
    def returned(self, result: Any) -> Ack | None:
        self.seam_active = False
        if not self.attempts and not self.open_exchanges and self.replay is None:
            ack = unseen.record(self, result)
            if ack is not None:
                return ack
        self._close_unless_open()
        return None

    @isolated
    def raised(self, error: BaseException) -> None:
        self.seam_active = False
        if self.attempts or not isinstance(error, Abort):
            self._close_unless_open()

    def _close_unless_open(self) -> None:
        if self.open_exchanges:
            return  # a stream: its end commits
        if self.attempts:
            ack = self._commit(self.attempts[-1])
            if ack is not None:
                ack.unattended()
        else:
            self._finished(consumed=False)

    def cut(self) -> None:
        """Its session ends while the SDK waits between two attempts: the last one is how it ended."""
        self.seam_active = False
        self._close_unless_open()

    # -- the call line ----------------------------------------------------------------------------

    def _commit(self, turn: LiveTurn) -> CallAck | None:
        with self._once:
            if self._committed:
                return None
            self._committed = True
        self.settled = turn.exchange.succeeded
        flow, exchange = self._flow, turn.exchange
        self.superseded = claims.lost(self.claim)
        stopped: BaseException | None = None
        try:
            with flow.hooks.collecting(self.failures):
                collected = outcome.collect(flow.hooks, exchange)
            sdk = flow.sdk_versions(self.plugin)
            record = outcome.call_fields(self, turn, collected, flow.session, sdk, self._started)
        except BaseException as error:  # Ctrl-C in a hook, too: the answer is paid for, and whole
            number, record = self._barely(turn, error)
            stopped = error if flow.hooks.raise_errors or not isinstance(error, Exception) else None
        else:
            number, record = self._sealed(turn, record)
        flow.ended += 1
        ack = CallAck(self, number, turn, record)
        self._finished(consumed=record["answers"], settled=ack)
        if self.superseded:
            self._superseded(turn)
        if stopped is not None:
            ack.unattended()
            raise stopped
        if exchange.ending != "complete":
            ack.unattended()  # the program has left already, or gets the transport's own error
            return None
        return ack

    def _sealed(self, turn: LiveTurn, record: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """A storage that fails raises nothing here: what does is a record that cannot be written as a line."""
        try:
            return self._flow.journal.append([("call", record)])[0], record
        except Exception as error:
            return self._barely(turn, error)

    def _barely(self, turn: LiveTurn, error: BaseException) -> tuple[int, dict[str, Any]]:
        """Archive the answer all the same; what could not be read of it now can be read again."""
        record = bare.fields(self, turn, self._flow.session, self._started, error)
        number, _ = self._flow.journal.append([("call", record)])
        if isinstance(error, Exception):
            log.error(
                "custody: internal failure in the making of the call line of %s (%s). Its answer is archived and will "
                "be replayed, without what was to be read of it. Please report this",
                self.id,
                type(error).__name__,
                exc_info=error,
            )
        return number, record

    def _superseded(self, turn: LiveTurn) -> None:
        """Its answer is one more attempt. Where the other worker has an answer the program gets that one, if it can."""
        turn.replay = claims.winner(turn) if turn.exchange.ending == "complete" else None
        other = turn.replay.call_id if turn.replay is not None else None
        self._flow.chronolog.call_event("llm_call_superseded", call_id=self.id, answered_by=other)

    def _finished(self, *, consumed: bool, settled: CallAck | None = None) -> None:
        identity, lock = self.identity, self.claim
        self.claim = None
        self._flow.in_flight.finished(self)
        if identity is not None and not self._numbered:
            self._numbered = True
            self._flow.replicates.done(identity, consumed=consumed)
            if consumed and self._scope.used is not None:
                self._scope.used.append(identity)
        for turn in self.attempts:
            if turn.reconciling is not None and settled is not None:
                settled.then(turn.reconciling.release)
        level, self.level = self.level, None
        if level is not None:
            self._flow.replicates.done(level, consumed=consumed)
        if lock is None:
            return
        if settled is None:
            claims.settle(lock, answered=self.replay is not None, sent=bool(self.attempts))
        else:  # others may look for the answer once it is durable, not before
            settled.then(lambda: claims.settle(lock, answered=consumed, sent=True))

    @property
    def flow(self) -> Flow:
        return self._flow


class CallAck:
    """The word that a call line is durable. Whoever waits for it also tells the hooks."""

    def __init__(self, call: LogicalCall, number: int, turn: LiveTurn, record: dict[str, Any]) -> None:
        exchange = turn.exchange
        self.number, self.exchange, self.record, self._turn = number, exchange, record, turn
        self._call = call
        status = exchange.head.status if exchange.head else None
        self._ack = call.flow.journal.ack(number, status=status, body=exchange.body)
        self._after: list[Any] = []

    def then(self, action: Any) -> None:
        self._after.append(action)

    def wait(self) -> None:
        try:
            try:
                self._ack.wait()
            except AnswerNotArchived as error:
                self._raise(error)
            finally:
                self._settle()
            self._complete()
        finally:
            self._call.flow.in_flight.remove(self._turn)

    async def awaited(self) -> None:
        try:
            try:
                await self._ack.awaited()
            except AnswerNotArchived as error:
                self._raise(error)
            finally:
                self._settle()
            self._complete()
        finally:
            self._call.flow.in_flight.remove(self._turn)

    def unattended(self) -> None:
        """Nobody waits: the record becomes durable soon, and the program goes on."""
        done: Future[None] = Future()
        done.add_done_callback(lambda future: self._complete() if future.exception() is None else None)
        self._call.flow.journal.sync_later(self.number, done)
        self._settle()

    def _complete(self) -> None:
        # Said only now: the chronolog never knows of a call that a power cut could take from the archive.
        flow = self._call.flow
        flow.chronolog.call_event("llm_call_complete", call_id=self._call.id, success=self.record["success"])
        flow.hooks.exchange_durable(self.exchange, self.record)

    def _raise(self, error: AnswerNotArchived) -> None:
        # Inside the SDK's method it would be taken for a network error, and the call paid again.
        if self._call.seam_active or current.get() is not None:
            raise Abort(error) from error
        raise error

    def _settle(self) -> None:
        while self._after:
            self._after.pop()()


def _attribute(owner: object, dotted: str) -> object | None:
    for name in dotted.split("."):
        owner = getattr(owner, name, None)
    return owner
