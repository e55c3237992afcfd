"""Answers from an earlier session's archive, where the user asked for them: ``custody.session(reuse=...)``.

The same labels, request and replicate, under that session's own key. What is reused is copied into this session's
archive as a call that names its origin (``reused_from``): the session is whole by itself, and nobody counts the
answer as another run. Failures are not reused, nor calls whose attempts asked different vendors.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from custody.errors import ArchiveDamaged
from custody.exchange import Replay
from custody.identity import Identity, scope
from custody.identity.key import request_key
from custody.journal import lines
from custody.journal.archive import Archive, StoredCall, StoredResponse, replay_head

if TYPE_CHECKING:
    from custody.pipeline.flow import Flow
    from custody.pipeline.turn import LiveTurn

log = logging.getLogger("custody")

_OF_A_LINE = ("kind", "seq", "crc32")


@dataclass(frozen=True)
class Origin:
    """An earlier session: its id, its request key, its archive, already read."""

    session: str
    secret: bytes
    archive: Archive

    def answer(self, flow: Flow, turn: LiveTurn) -> Replay | None:
        """The answer that this session had to the same, copied into the flow's own archive; None without one."""
        call = turn.call
        if call.mixed or call.identity is None:
            return None
        labels = scope.digest(self.secret, call.labels)
        asked = Identity(labels, request_key(self.secret, turn.canonical), call.identity.replicate)
        stored = self.archive.answer(asked)
        if stored is None or stored.fields.get("source", "wire") != "wire":
            return None
        try:
            response = self.archive.response(stored)
            if response is None:
                return None
            self._copy(flow, turn, stored)
        except (ArchiveDamaged, KeyError) as error:
            log.error("custody: an answer of %s cannot be reused: %s. Run custody verify %s", self.session, error,
                      self.session)  # fmt: skip
            return None
        flow.chronolog.call_event("llm_call_reused", call_id=call.id, from_session=self.session, from_call=stored.id)
        return _replay(call.id, stored, response)

    def _copy(self, flow: Flow, turn: LiveTurn, stored: StoredCall) -> None:
        """Write the call's lines again, under new ids, keys, salts and commitments."""
        call = turn.call
        assert call.identity is not None
        identity = {
            "scope_key": call.identity.scope, "request_key": call.identity.key, "replicate": call.identity.replicate
        }  # fmt: skip
        digests = flow.stored_request(turn)["header_digests"]
        attempts = []
        for attempt in stored.fields["attempts"]:
            exchange = call.next_exchange_id()
            request = _fields(self.archive.request(stored, attempt["exchange"]))
            request |= {"exchange": exchange, "call": call.id, "salt": secrets.token_hex(16), **identity}
            _, (sealed,) = flow.journal.append([("request", {**request, "header_digests": digests})])
            written = hashlib.sha256()
            places = stored.exchanges[attempt["exchange"]].response
            for place in places:
                line = lines.parse(self.archive.raw(place))
                fields = {**_fields(line), "exchange": exchange}
                if "salt" in fields:
                    fields["salt"] = secrets.token_hex(16)
                written.update(flow.journal.append([(line["kind"], fields)])[1][0])
            attempts.append({
                **attempt, "exchange": exchange, "request_sha256": hashlib.sha256(sealed).hexdigest(),
                "response_sha256": written.hexdigest() if places else None,
            })  # fmt: skip
        origin = stored.fields.get("reused_from") or {"session": self.session, "call": stored.id}
        record = {
            **_fields(stored.fields), "id": call.id, "session": flow.session, **identity, "attempts": attempts,
            "reused_from": origin,
        }  # fmt: skip
        number, _ = flow.journal.append([("call", record)])
        done: Future[None] = Future()
        done.add_done_callback(lambda future: future.exception())  # what is lost here is asked for again
        flow.journal.sync_later(number, done)


def _fields(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name not in _OF_A_LINE}


def _replay(call_id: str, stored: StoredCall, response: StoredResponse) -> Replay:
    exhausted = None
    if response.ending == "closed_early":
        exhausted = f"call {stored.id} is a stream that the recorded program closed early"
    chunks = tuple(chunk.data for chunk in response.chunks)
    return Replay(call_id, replay_head(stored, response), chunks, response.decoded, exhausted)
