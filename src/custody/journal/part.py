"""Calls while their lines are still coming: fed line by line, in any order of segments."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from typing import Any

from custody.journal.entries import StoredCall, StoredExchange, Summary, digest, key_digest
from custody.journal.scan import Place


class Part:
    """Calls, and exchanges whose call line has not come."""

    def __init__(self, load: Callable[[Place], dict[str, Any]]) -> None:
        self.calls: dict[str, StoredCall] = {}
        self.open: dict[str, StoredExchange] = {}
        self._by_digest: dict[bytes, list[str]] = {}
        self._load = load

    def line(self, kind: str, exchange: str, place: Place) -> None:
        """A request line, or one of a response."""
        # Its call is there already where a damaged line was found again, whole, in a later segment.
        call = self.calls.get(exchange.rpartition(".")[0])
        stored = call.exchanges.get(exchange) if call is not None else None
        if stored is None:
            stored = self.open.setdefault(exchange, StoredExchange())
        if kind == "request":
            stored.request = place
        else:
            insort(stored.response, place, key=lambda p: p.seq)

    def call(self, said: Summary, place: Place) -> None:
        """A call line."""
        exchanges = {name: self.open.pop(name, StoredExchange()) for name in said.exchanges}
        self.add(
            StoredCall(
                said.id,
                place,
                exchanges,
                digest(said.identity),
                key_digest(said.identity.key),
                said.started,
                said.ended,
                said.answers,
                said.failed,
                self._load,
            )
        )

    def add(self, call: StoredCall) -> None:
        self.calls[call.id] = call
        same = self._by_digest.setdefault(call.digest, [])
        if call.id not in same:
            same.append(call.id)

    def find(self, identity: bytes) -> list[StoredCall]:
        """The calls of an identity's digest. Another thread may ``remove`` meanwhile what is kept elsewhere by now."""
        names = tuple(self._by_digest.get(identity, ()))
        return [call for name in names if (call := self.calls.get(name)) is not None]

    def remove(self, name: str) -> None:
        """Let go of a call that is kept elsewhere by now."""
        call = self.calls.pop(name)
        self._by_digest[call.digest].remove(name)
        if not self._by_digest[call.digest]:
            del self._by_digest[call.digest]

    def digests(self) -> set[bytes]:
        """Of the identities that have an answer."""
        return {call.digest for call in tuple(self.calls.values()) if call.answers}
