"""Asks the vendor for the answer of a call in doubt, as the vendor's plugin says; the wire seam does the sending."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from custody.doubt import Doubt, Found, Questions, Told
from custody.exchange import ResponseHead
from custody.hooks import results
from custody.stamps import parsed
from custody.storage import Lock

if TYPE_CHECKING:
    from custody.pipeline.turn import LiveTurn

log = logging.getLogger("custody")

_MOST_QUESTIONS = 200


class Reconciling:
    """One call's questions.

    Attributes:
        found: the answer, once it is there.
        reason: why there is none.
    """

    def __init__(self, turn: LiveTurn, in_doubt: list[dict[str, Any]]) -> None:
        self.found: Found | None = None
        self.reason = "nobody was asked: the program's HTTP client has no way to ask the vendor besides"
        self._turn, self._plugin = turn, turn.exchange.claim.plugin
        self._taken: list[Lock] = []
        self._asked = 0
        self._questions: Questions | None = None
        self._in_doubt = in_doubt

    def begin(self) -> str | None:
        """The first address to ask; None where there is none."""
        doubt = self._doubt()
        if isinstance(doubt, str):
            self._nothing(doubt)
            return None
        self._questions = self._turn.hooks.reconcile_call(doubt)
        if self._questions is None:
            self._nothing("no plugin can ask this vendor for it")
            return None
        return self._step(None)

    def answered(self, status: int, headers: Any, body: bytes) -> str | None:
        """The next address, given what was said at the last one."""
        return self._step(Told(status, headers, body, datetime.now(UTC)))

    def failed(self, error: BaseException) -> None:
        self._nothing(f"the vendor could not be asked ({type(error).__name__})")

    def note(self) -> dict[str, Any]:
        """What the call line says of it."""
        assert self.found is not None
        return {"in_doubt": self._turn.call.in_doubt, "how": self.found.how, "questions": self._asked}

    def release(self) -> None:
        while self._taken:
            self._taken.pop().release()

    def _step(self, told: Told | None) -> str | None:
        questions = self._questions
        assert questions is not None

        def step() -> tuple[str | None, Found | str | None]:
            try:
                return results.question(next(questions) if told is None else questions.send(told)), None
            except StopIteration as end:
                return None, results.conclusion(end.value)

        result: tuple[str | None, Found | str | None] | None = self._turn.hooks.guarded(
            self._plugin, "reconcile_call", step
        )
        if result is None:
            self._nothing("its plugin failed")
            return None
        url, end = result
        if isinstance(end, Found):
            self.found = end
            return None
        if url is None:
            self._nothing(str(end))
            return None
        if _origin(url) != _origin(self._turn.exchange.request.url):  # the credentials go to nobody else
            self._nothing("its plugin asked another host")
            return None
        if self._asked >= _MOST_QUESTIONS:
            self._nothing(f"not found in {_MOST_QUESTIONS} questions")
            return None
        self._asked += 1
        return url

    def _nothing(self, reason: str) -> None:
        self.reason = reason
        self.release()
        log.warning("custody: call %s in doubt is sent again: %s", ", ".join(self._turn.call.in_doubt), reason)

    def _doubt(self) -> Doubt | str:
        call, flow = self._turn.call, self._turn.call.flow
        if call.mixed:
            return "its library chooses among vendors"
        if flow.doubts.since is None:
            return "it was lost in this very run, and what the vendor has made meanwhile cannot be told apart"
        last = max(self._in_doubt, key=lambda fields: str(fields["time"]))
        sent = parsed(last["time"])
        stored = flow.archive.arrived(last["exchange"])
        arrived: tuple[ResponseHead | None, bytes] = (stored.head, stored.content) if stored else (None, b"")
        exchange = self._turn.exchange
        rivals = flow.doubts.rivals(call.identity.key) if call.identity else 0
        return Doubt(
            claim=exchange.claim,
            request=exchange.request,
            body=exchange.request_body,
            sent=sent,
            until=flow.doubts.since,
            arrived=arrived,
            rivals=rivals,
            taken=self._taken_by_another,
            take=self._take,
        )

    def _taken_by_another(self, name: str) -> bool:
        call = self._turn.call
        assert call.identity is not None
        return call.flow.doubts.used(call.identity.key, name)

    def _take(self, name: str) -> bool:
        """Nobody else takes it while this call is on its way, and nobody has taken it before."""
        flow = self._turn.call.flow
        lock = flow.storage.claim(flow.claims, f"reconciled\0{name}".encode())
        if lock is None:
            return False
        flow.archive.refresh()
        if self._taken_by_another(name):
            lock.release()
            return False
        flow.doubts.taken.add(name)
        self._taken.append(lock)
        return True


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
