"""One exchange on its way: the bytes of a live response, teed into the journal as they arrive."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from custody import encoding
from custody.exchange import (
    Ack,
    Chunk,
    Claim,
    Ending,
    Exchange,
    Headers,
    Replay,
    RequestHead,
    ResponseHead,
    Terminal,
    event_parser,
    is_event_stream,
)
from custody.hooks import results
from custody.identity.key import UNPARSED, request_key
from custody.journal import lines
from custody.pipeline import claims
from custody.pipeline.explain import is_conversation
from custody.pipeline.isolation import isolated
from custody.redact import MASK
from custody.sse import Event
from custody.stamps import stamp

if TYPE_CHECKING:
    from custody.hooks.manager import PluginManager
    from custody.pipeline.call import LogicalCall
    from custody.pipeline.flow import Flow
    from custody.pipeline.reconciling import Reconciling


log = logging.getLogger("custody")

_MASK = MASK.encode()


class LiveTurn:
    """A ``Turn``. ``replay`` is set where the archive answers instead of the vendor."""

    def __init__(
        self,
        flow: Flow,
        call: LogicalCall,
        request: RequestHead,
        claim: Claim,
        body: bytes,
        transport: str,
        canonical: dict[str, Any],
        parsed: Any = UNPARSED,
    ) -> None:
        self._flow = flow
        self.call = call
        self.canonical = canonical
        self.replay: Replay | None = None
        self.reconciling: Reconciling | None = None
        self.exchange = Exchange(call.next_exchange_id(), request, body, claim, transport, datetime.now(UTC))
        if parsed is not UNPARSED:
            self.exchange.__dict__["request_json"] = parsed  # the cached property, known already
        self.request_sha256: str | None = None
        self.damaged = False  # a defect of ours left a hole in its record: it is no answer to replay
        self._sent = self._waiting = False
        self._pid = os.getpid()
        self.redacted = False  # the stored response is not what the program saw: a secret was cut out
        self._response_hash = hashlib.sha256()
        self._response_lines = 0
        self._started = time.perf_counter()
        self._over = self._cut = False
        self._once = threading.RLock()
        self._end_of_stream: _EndOfStream | None = None
        self._expected: int | None = None  # bytes still to come, by content-length

    @property
    def hooks(self) -> PluginManager:
        return self._flow.hooks

    @property
    def conversation(self) -> bool:
        """Both sides may speak at any time, so nobody waits for its end."""
        return is_conversation(self.canonical)

    @property
    def response_sha256(self) -> str | None:
        return self._response_hash.hexdigest() if self._response_lines else None

    @property
    def request_key(self) -> str:
        return request_key(self._flow.secret, self.canonical)

    def ready(self) -> bool:
        return self._flow.ready(self)

    @property
    def asks_a_server(self) -> bool:
        return self.replay is None and claims.are_leases(self._flow.storage)

    @isolated
    def sending(self, filled: Headers | None = None) -> None:
        flow, call, exchange = self._flow, self.call, self.exchange
        assert call.identity is not None
        if filled is not None:
            exchange.request = replace(exchange.request, headers=filled)
            flow.redactor.learn_request(filled, exchange.request.url)
        fields = {
            "exchange": exchange.id,
            "call": call.id,
            "salt": secrets.token_hex(16),
            "time": stamp(exchange.sent),
            "scope": dict(call.labels),
            "scope_key": call.identity.scope,
            "request_key": call.identity.key,
            "replicate": call.identity.replicate,
            "operation": exchange.claim.operation,
            **flow.stored_request(self),
        }
        number, sealed = flow.journal.append([("request", fields)])
        self.request_sha256 = hashlib.sha256(sealed[0]).hexdigest()
        if flow.journal.sync_intent:
            flow.journal.sync_to(number)
        call.open_exchanges += 1
        call.waiting += 1
        self._sent = self._waiting = True
        flow.in_flight.add(self)
        if not call.attempts:
            self._begun()
        exchange.sent, self._started = datetime.now(UTC), time.perf_counter()

    def _begun(self) -> None:
        events, call, asked = self._flow.chronolog, self.call, self.reconciling
        if asked is not None and asked.found is not None:
            events.call_event("in_doubt_reconciled", call_id=call.id, in_doubt=call.in_doubt, how=asked.found.how)
            return
        events.call_event("llm_call_start", call_id=call.id)
        if call.in_doubt or call.taken_from is not None:
            why = {"reason": asked.reason} if asked is not None else {}
            if call.taken_from is not None:
                why |= {"worker": call.taken_from.worker, "holder": call.taken_from.holder}
            events.call_event("in_doubt_retried", call_id=call.id, in_doubt=call.in_doubt, **why)

    @isolated
    def take_in(self, filled: Headers | None = None) -> Ack | None:
        asked, call = self.reconciling, self.call
        assert asked is not None and asked.found is not None
        told = asked.found.told
        call.source = "reconciled"
        call.annotate("reconciled", asked.note())
        self.sending(filled)
        head = ResponseHead(told.status, "OK", "", told.headers)
        self.head(head, streamed=is_event_stream(head), decoded=True)
        ack = self.chunk(told.body) or self.end("complete")
        self.replay = Replay(call.id, head, (told.body,), decoded=True)
        return ack

    @isolated
    def head(self, head: ResponseHead, *, streamed: bool, decoded: bool = False) -> None:
        self._answered()
        exchange = self.exchange
        exchange.head, exchange.streamed, exchange.decoded = head, streamed, decoded
        exchange.first_byte_ms = self._ms()
        if is_event_stream(head) and exchange.claim.stream_end is not None:
            self._end_of_stream = _EndOfStream(exchange, self.hooks)
        elif not decoded and (length := head.header("content-length") or "").isdigit():
            self._expected = int(length)
        if streamed:
            self._append("response", {"salt": secrets.token_hex(16), "at_ms": exchange.first_byte_ms, **self._status()})

    @isolated
    def chunk(self, data: bytes) -> Ack | None:
        if self._elsewhere():
            return None
        with self._once:  # else the end of its session might come in between
            return self._chunk(data)

    def _chunk(self, data: bytes) -> Ack | None:
        if self._over:
            if self._cut:
                self._cut = False
                log.warning(
                    "custody: an answer came, or came to its end, after its session had been closed; it is "
                    "on record as far as it had come by then (%s)",
                    self.exchange.id,
                )
            return None  # after the protocol's end there is nothing that an SDK would read
        at = self._ms()
        if self.exchange.head is not None and self.exchange.head.status == 101:
            # What the program says in a conversation may carry credentials of tools, as a request body may.
            self._flow.redactor.learn_body(data.partition(b"\n")[2])
        self.exchange.chunks.append(Chunk(at, data))
        if self.exchange.streamed:
            self._append("chunk", {"at_ms": at, "body": lines.pack(self._blanked(data))})
        if self._expected is not None:
            self._expected -= len(data)
            return self.end("complete") if self._expected == 0 else None
        if self._end_of_stream is not None and (said := self._end_of_stream.feed(data)) is not None:
            return self.end("complete" if said == "complete" else "broken")
        return None

    @isolated
    def end(self, ending: Ending, error: BaseException | None = None) -> Ack | None:
        # Not waited for: a collected stream ends under whatever locks the collecting thread holds. Who has this
        # one is ending it, too.
        if self._elsewhere() or not self._once.acquire(blocking=False):
            return None
        try:
            if self._over:
                return None
            self._over = True
            self._answered()
            ack = self._end(ending, error)
        except Exception:
            self.call.abandoned()
            self._flow.in_flight.remove(self)
            raise
        finally:
            self._once.release()
        if ack is None:
            self._flow.in_flight.remove(self)
        return ack

    def cut(self, ending: Ending) -> None:
        """Its session ends, and it has not: archive what came."""
        with self._once:
            self._cut = not self._over
            ack = self.end(ending)
        if ack is not None:
            ack.unattended()

    def _end(self, ending: Ending, error: BaseException | None) -> Ack | None:
        if ending == "complete" and self._end_of_stream is not None and not self._end_of_stream.may_end():
            ending = "broken"  # the connection ended cleanly, the protocol did not
        exchange = self.exchange
        if self._end_of_stream is not None and exchange.head is not None and not exchange.encoded:
            exchange.__dict__["events"] = self._end_of_stream.all_events()  # the cached property, known already
        exchange.ending, exchange.error = ending, type(error).__name__ if error is not None else None
        exchange.ended, exchange.total_ms = datetime.now(UTC), self._ms()
        if exchange.head is None:
            self._append(
                "response",
                {"salt": secrets.token_hex(16), "at_ms": exchange.total_ms, "ending": ending, "error": exchange.error},
            )
        elif exchange.streamed:
            self._append("end", {"at_ms": exchange.total_ms, "ending": ending, "error": exchange.error})
        else:
            body, decoded = self._storable_body()
            self._append("response", {
                "salt": secrets.token_hex(16), "at_ms": exchange.first_byte_ms, **self._status(), "decoded": decoded,
                "body": lines.pack(self._blanked(body)), "ending": ending, "error": exchange.error,
            })  # fmt: skip
        return self.call.exchange_over(self)

    def _answered(self) -> None:
        """What the SDK's method asks now comes after this one, not beside it."""
        if self._waiting:
            self._waiting = False
            self.call.waiting -= 1

    def abandon(self) -> None:
        if not self._over and not self._sent:
            self._over = True
            self.call.refused()

    def _elsewhere(self) -> bool:
        """In a forked child: the exchange is the parent's."""
        return os.getpid() != self._pid

    def _status(self) -> dict[str, Any]:
        head = self.exchange.head
        assert head is not None
        return {
            "status": head.status,
            "reason": head.reason,
            "http_version": head.http_version,
            "headers": self._flow.stored_headers(head.headers),
            "streamed": self.exchange.streamed,
            "decoded": self.exchange.decoded,
        }

    def _storable_body(self) -> tuple[bytes, bool]:
        """The raw body; without its encoding where that hides a secret from the redactor."""
        exchange = self.exchange
        raw = exchange.body
        if exchange.decoded or raw == exchange.content:
            return raw, exchange.decoded
        plain = exchange.content
        return (plain, True) if plain is not None and self._flow.redactor.finds(plain) else (raw, False)

    def _blanked(self, data: bytes) -> bytes:
        kept = self._flow.redactor.blanked(data, answer=True)
        self.redacted = self.redacted or kept != data
        return kept

    def _append(self, kind: str, fields: dict[str, Any]) -> None:
        _, sealed = self._flow.journal.append([(kind, {"exchange": self.exchange.id, **fields})])
        if _MASK in sealed[0] and not any(_MASK in chunk.data for chunk in self.exchange.chunks):
            self.redacted = True
        self._response_hash.update(sealed[0])
        self._response_lines += 1

    def _ms(self) -> float:
        return round((time.perf_counter() - self._started) * 1000, 3)


class _EndOfStream:
    """Watches a stream for the event that ends it by its protocol."""

    def __init__(self, exchange: Exchange, hooks: PluginManager) -> None:
        assert exchange.head is not None and exchange.claim.stream_end is not None
        self._stream_end, self._plugin, self._hooks = exchange.claim.stream_end, exchange.claim.plugin, hooks
        self._decode = encoding.decoder("" if exchange.decoded else exchange.head.header("content-encoding") or "")
        parser = event_parser(exchange.head)
        assert parser is not None
        self._events = parser
        self._at_eof = self._decode is None  # what cannot be read can only be judged by its end
        self._seen: list[Event] = []
        self._unseen: Iterator[Event] = iter(())

    def feed(self, data: bytes) -> Terminal | None:
        """ "complete" or "error" with the chunk that says so."""
        if self._decode is None:
            return None
        self._unseen = self._events.feed(self._decode(data))
        for event in self._unseen:
            self._seen.append(event)
            said = self._says(event)
            if said in ("complete", "complete_at_eof"):
                self._at_eof = True
            if said in ("complete", "error"):
                return said
        return None

    def _says(self, event: Event) -> Terminal | None:
        try:
            return results.terminal(self._stream_end(event))
        except (Exception, SystemExit) as error:
            # Nobody can say any more which event is the last: the end of the connection has to do.
            self._at_eof = True
            self._hooks.failed(self._plugin, "stream_end", error)
            return None

    def all_events(self) -> list[Event]:
        """What was fed, as events, with an unterminated last one."""
        self._seen += self._unseen
        last = self._events.rest()
        return [*self._seen, last] if last else self._seen

    def may_end(self) -> bool:
        """Whether a clean end of the connection is the end of the answer."""
        if self._at_eof:
            return True
        last = self._events.rest()
        return last is not None and (self._says(last) in ("complete", "complete_at_eof") or self._at_eof)
