"""The flow of one call, from the wire seam to the archive and back. Knows no vendor and no SDK.

::

    claim      whose traffic is it?            nobody's: it passes untouched
    begin      identity: scope, key, replicate
    look up    in the archive                  hit: replay
    ready      claim the identity, look again  another process has just answered: replay
    allow      strict? budget? archive works?  no: an error at once, before money is spent
    sending    journal the intent
    chunk ...  tee to the journal              LiveTurn
    end        forensics, usage, cost          LogicalCall.commit
    ack        durable: the last byte goes to the SDK
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from custody import layout, redact
from custody.errors import Abort, ArchiveUnavailable, CustodyError, NotYet, ReplayMiss, SessionEnded, StorageError
from custody.exchange import (
    Claim,
    Headers,
    Replay,
    RequestHead,
    ResponseHead,
    Turn,
    is_event_stream,
    is_grpc,
    parse_json,
)
from custody.hooks.manager import HookFailure, PluginManager
from custody.identity import Identity, scope
from custody.identity.key import canonical_request, request_key
from custody.identity.replicates import Replicates
from custody.integrity.chronolog import Chronolog
from custody.journal.archive import Archive, StoredCall, replay_head
from custody.journal.writer import Journal
from custody.pipeline import claims, explain, sharing
from custody.pipeline.call import Invocation, LogicalCall
from custody.pipeline.doubts import Doubts
from custody.pipeline.in_flight import InFlight
from custody.pipeline.isolation import isolated
from custody.pipeline.reconciling import Reconciling
from custody.pipeline.reuse import Origin
from custody.pipeline.turn import LiveTurn
from custody.redact import Redactor
from custody.storage import Lock, Storage, Watch, Watched
from custody.vendor import CallSeam, current

log = logging.getLogger("custody")

_LOOK = 0.25  # seconds between looks for an answer that another worker is waiting for

_RETRIED = (408, 409, 429)  # what the SDKs try again, besides 500 and above


@dataclass(repr=False)  # nobody prints the key of a session by accident
class Flow:
    """One session's flow in this process. A ``WireHandler`` for wire seams, an opener for call seams.

    ``began`` is when this run of the session began, as a stamp; the same in all its processes. ``stopped`` says why
    nothing may be asked in this process, where that is so.
    """

    session: str
    secret: bytes
    storage: Storage
    journal: Journal
    archive: Archive
    hooks: PluginManager
    chronolog: Chronolog
    redactor: Redactor
    claims: str
    doubts: Doubts
    strict: bool = False
    began: str = ""
    stopped: str = ""
    sdk_versions: Callable[[str], str] = lambda plugin: ""
    replicates: Replicates = field(default_factory=Replicates)
    in_flight: InFlight = field(default_factory=InFlight)
    reuse: Origin | None = None
    unseen_warned: bool = False
    shared_warned: bool = False
    _watch: Watch | None = None
    _watched: str = ""  # whose news are none
    _watch_lock: threading.Lock = field(default_factory=threading.Lock)
    _noted: set[tuple[str, str]] = field(default_factory=set)
    _failures_given: dict[Identity, int] = field(default_factory=dict)
    _looked: float = 0.0
    ended: int = 0
    _failures_lock: threading.Lock = field(default_factory=threading.Lock)

    @isolated
    def open_call(
        self, plugin: str, seam: CallSeam, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> LogicalCall | None:
        """A logical call begins (``seam.calls.Opener``); None where the plugin says that it is no such call."""
        described = None
        if seam.describe is not None:
            described = self.hooks.guarded(plugin, "describe", seam.describe, args, kwargs)
            if described is None:
                return None
        return LogicalCall(self, plugin, Invocation(seam, args, kwargs, described))

    def turn(self, call: LogicalCall, request: RequestHead, claim: Claim, body: bytes, transport: str) -> LiveTurn:
        """An exchange that no wire seam has seen."""
        return LiveTurn(self, call, request, claim, body, transport, call.canonical)

    @isolated
    def claim(self, request: RequestHead, client: object) -> Claim | None:
        return self.hooks.claim_exchange(_attributed(request, _current_call(client)))

    @isolated
    def begin(self, request: RequestHead, claim: Claim, body: bytes, transport: str, client: object) -> Turn | None:
        parsed = parse_json(body)
        if claim.needs and not (isinstance(parsed, dict) and claim.needs <= parsed.keys()):
            return None
        call = _current_call(client) or LogicalCall(self)
        self.redactor.learn_request(request.headers, request.url)  # each time: a token may be another one by now
        self.redactor.learn_json(parsed)
        canonical = canonical_request(request.method, request.url, request.headers, body, claim.key_ignore, parsed)
        if (
            call.settled
            or call.waiting
            or (call.identity is not None and canonical != call.canonical and not call.mixed)
        ):
            call = LogicalCall(self, call.plugin)  # another question inside the same SDK call
        turn = LiveTurn(self, call, _attributed(request, call), claim, body, transport, canonical, parsed)
        if self.stopped:
            self._refuse(call, ArchiveUnavailable(self.stopped))
        if call.identity is not None and not call.mixed:  # the SDK tries the same call again
            turn.replay = call.replay
            return turn
        try:
            if call.identity is None:
                self.identify(call, canonical)
            turn.replay = self._look_up(turn)
            mine = call.identity if call.mixed and turn.replay is None else None
            if mine is not None and self.archive.answer(mine) is not None:
                # Its archived answer is another deployment's: what is asked now is identified by what is sent.
                if call.replay is None:
                    self.replicates.done(mine, consumed=False)
                    call.archived = None
                else:
                    call = LogicalCall(self, call.plugin)
                self.identify(call, canonical)
                turn = LiveTurn(self, call, _attributed(request, call), claim, body, transport, canonical, parsed)
                turn.replay = self._look_up(turn)
        except CustodyError as refusal:
            self._refuse(call, refusal)
        except Exception:
            call.refused()
            raise
        return turn

    def number(self, call: LogicalCall, canonical: dict[str, Any]) -> Identity:
        """What a call's identity would be if nothing of it were seen on the wire."""
        key = request_key(self.secret, canonical)
        return self.replicates.issue(scope.digest(self.secret, call.labels), key)[0]

    def identify(self, call: LogicalCall, canonical: dict[str, Any]) -> Identity:
        """Number the call among those that ask the same in its scope."""
        call.canonical = canonical
        key = request_key(self.secret, canonical)
        call.identity, warn = self.replicates.issue(scope.digest(self.secret, call.labels), key)
        if warn and not explain.is_conversation(canonical):
            sharing.unlabelled(self, call.labels)
        return call.identity

    def _look_up(self, turn: LiveTurn) -> Replay | None:
        call = turn.call
        assert call.identity is not None
        if explain.is_conversation(turn.canonical):
            return None
        failed = self.failure(call)
        if failed is not None:
            replay, answer = self._replay_failure(failed), False
        else:
            exchange = turn.exchange
            replay = self.hooks.before_send(call.identity, exchange.request, call.labels, exchange.request_body)
            answer = True
            if replay is None and self.reuse is not None:
                replay = self.reuse.answer(self, turn)
            if replay is not None and call.claim is None and claims.is_late(call, replay):
                return None  # whoever has the claim by now has another answer, or will have
        stored = (failed or self.archive.answer(call.identity)) if replay is not None and call.mixed else None
        own = stored is not None and replay is not None and stored.id == replay.call_id  # else a plugin's own answer
        part = self._own_attempt(stored, replay, turn) if stored is not None and own else replay
        if part is not None:
            if answer and not call.waited:
                sharing.an_earlier_process(self, call)
            if part.note is not None:
                self.journal.append([("note", dict(part.note))])
            call.replayed(part, consumed=answer or call.last_failure, final=answer and part is replay)
        return part

    def failure(self, call: LogicalCall) -> StoredCall | None:
        """In strict mode: the failed call that this one repeats. Each is handed out once, in its order, and the
        answer that a later call got after them; where there is none, the last failure uses the number up."""
        if not self.strict or call.identity is None:
            return None
        if call.failure is None:
            found = self.archive.failures(call.identity)
            with self._failures_lock:
                given = self._failures_given.get(call.identity, 0)
                if given < len(found):
                    self._failures_given[call.identity] = given + 1
                    call.failure = found[given]
            call.last_failure = given + 1 >= len(found) and self.archive.answer(call.identity) is None
        return call.failure

    def _own_attempt(self, stored: StoredCall, replay: Replay | None, turn: LiveTurn) -> Replay | None:
        """Of an archived call whose requests differ, the attempt that asked what is asked now."""
        key = request_key(self.secret, turn.canonical)
        same = [a["exchange"] for a in stored.fields["attempts"] if a.get("request_key") == key]
        if not same:
            return None  # the program asks another vendor or deployment by now
        return replay if same[-1] == stored.terminal else self._replay_failure(stored, same[-1])

    def _replay_failure(self, failed: StoredCall, exchange: str | None = None) -> Replay | None:
        response = self.archive.response(failed, exchange)
        attempt = next(a for a in failed.fields["attempts"] if a["exchange"] == (exchange or failed.terminal))
        if response is None:
            silent = attempt["ending"] == "no_response"  # and not cancelled by the program itself
            return Replay(failed.id, None, (), error=attempt["error"]) if silent else None
        exhausted = None
        if response.ending != "complete":
            if not is_event_stream(response.head) and not is_grpc(response.head):
                return None  # half a body is no answer, not even a failed one
            if attempt["error"] is not None:  # else it ended cleanly, only not as its protocol says
                exhausted = f"call {failed.id} is a stream that broke off; what would have come after is not on record"
        head = replay_head(failed, response)
        if head.status in _RETRIED or head.status >= 500:
            # It ended the call then, after whatever retries; the SDKs of this protocol family obey the header.
            headers: Headers = (*head.headers, ("x-should-retry", "false"))
            head = ResponseHead(head.status, head.reason, head.http_version, headers)
        return Replay(failed.id, head, tuple(c.data for c in response.chunks), response.decoded, exhausted)

    def ready(self, turn: LiveTurn) -> bool:
        """Single flight: True when this process may send, or has found the answer of another one."""
        call = turn.call
        if turn.replay is not None:
            return True
        if self.in_flight.closed and not self.in_flight.dying:
            self._refuse(call, SessionEnded(f"{self.session} has ended; nothing was sent"))
        if self.in_flight.holding or self.in_flight.dying:
            return False
        assert call.identity is not None
        try:
            if call.allowed:
                if not claims.lost(call.claim):
                    return True
                claims.forget(call.claim)  # another worker has taken it over
                call.claim, call.allowed, call.waited = None, False, True
            if call.claim is None and not explain.is_conversation(turn.canonical):  # nobody waits for its end
                call.claim = self._claim(call.identity)
                if call.claim is None:
                    call.waited = True
                    return self._answered_by_now(turn)
            if claims.stale(call.claim):
                self._refresh()
            turn.replay = self._look_up(turn)
            if turn.replay is not None:
                sharing.another_process(self, call.labels)
            else:
                self._doubt(turn)
                self._allow(turn)
        except NotYet:
            return False  # the calls under way may leave enough of the budget
        except CustodyError as refusal:
            self._refuse(call, refusal)
        except OSError as error:
            self._refuse(
                call, StorageError(f"the archive of {self.session} cannot be read ({error}); nothing was sent")
            )
        return True

    def _answered_by_now(self, turn: LiveTurn) -> bool:
        """Where a claim stays when its call is answered, whoever waits for it finds the answer in the archive."""
        if not claims.are_leases(self.storage):
            return False
        if time.monotonic() > self._looked + _LOOK:
            self._looked = time.monotonic()
            self._refresh()
        turn.replay = self._look_up(turn)
        return turn.replay is not None

    def _refresh(self) -> None:
        """Take in what other processes have written, where there may be anything."""
        if self._watch is None or self._watched != self.archive.own_writer:
            self._watched = self.archive.own_writer
            storage = self.storage
            self._watch = storage.watch(layout.ARCHIVE, self._watched) if isinstance(storage, Watched) else None
        with self._watch_lock:
            if self._watch is None:
                self.archive.refresh()
            elif self._watch.changed():
                self.archive.refresh()
                self._watch.taken()

    def _claim(self, identity: Identity) -> Lock | None:
        return self.storage.claim(self.claims, "\0".join(map(str, identity)).encode())

    def _doubt(self, turn: LiveTurn) -> None:
        """Whether this very call was sent before and has no outcome on record, and may be sent again."""
        call = turn.call
        assert call.identity is not None
        if self.strict or explain.is_conversation(turn.canonical):
            return
        dead = claims.taken_over(call.claim)
        found = self.doubts.of(call.identity, waited=call.waited or dead is not None)
        call.in_doubt = sorted({fields["call"] for fields in found})
        if dead is not None:
            call.taken_from, call.skipped = dead, True
            claims.report(self, call, dead)
            call.skipped = False
        if found:
            call.skipped = True
            self.doubts.refuse(found)
            call.skipped = False
            if self.doubts.policy == "reconcile":
                turn.reconciling = Reconciling(turn, found)

    def _allow(self, turn: LiveTurn) -> None:
        """Everything that may stop a call does so here, before it is written and sent."""
        call = turn.call
        assert call.identity is not None
        if self.strict:
            raise ReplayMiss(explain.miss(self.archive, call.labels, call.identity, turn, self.redactor))
        self.journal.require_healthy()
        self.hooks.check_budget(call.identity, turn.exchange.request, turn.exchange)
        explain.held_anew(self.archive, call.identity, turn)
        call.allowed = True

    def _refuse(self, call: LogicalCall, refusal: CustodyError) -> NoReturn:
        """Stop a call before money is spent; past the SDK's own handlers, which would try it again."""
        call.refused()
        if call.seam_active or current.get() is not None:
            raise Abort(refusal) from refusal
        raise refusal

    def note_failure(self, failure: HookFailure) -> None:
        """Write a hook's failure into the record, once for each hook of a plugin."""
        if (failure.plugin, failure.hook) not in self._noted:
            self._noted.add((failure.plugin, failure.hook))
            self.journal.append(
                [
                    (
                        "note",
                        {"note": "hook_failed", "plugin": failure.plugin, "hook": failure.hook, "error": failure.error},
                    )
                ]
            )

    def stored_request(self, turn: LiveTurn) -> dict[str, Any]:
        """A request's fields as they may be stored."""
        return explain.stored_request(turn.exchange, turn.canonical, self.secret, self.redactor)

    def stored_headers(self, headers: Headers) -> list[list[str]]:
        return redact.response_headers(headers)


def _current_call(client: object) -> LogicalCall | None:
    """The call in whose SDK method we are, if this is a request of its own client."""
    call = current.get()
    # A task that was started inside the SDK's method may outlive it: what it asks then is no attempt.
    return call if isinstance(call, LogicalCall) and call.seam_active and call.owns(client) else None


def _attributed(request: RequestHead, call: LogicalCall | None) -> RequestHead:
    """The request with the name of the plugin in whose call it is made."""
    plugin = (call.plugin or None) if call else None
    mixed = call is not None and call.mixed
    sdk, through = (request.sdk, plugin) if mixed else (plugin, request.through)
    if (sdk, through) == (request.sdk, request.through):
        return request
    return RequestHead(request.method, request.url, request.headers, sdk, through)
