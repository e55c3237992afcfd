"""Stops a session before it spends more than it may: reserved before a call, settled after.

The ledger is a shared log of the session (``layout.BUDGET``): all its processes spend from the same budget.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from custody import layout
from custody.cost import ledger
from custody.cost.ledger import Amount, Limits, Shortage, State
from custody.cost.money import dollars, plain
from custody.errors import BudgetError, BudgetExceeded, BudgetUnpriced, NotYet
from custody.exchange import Exchange
from custody.hookspecs import Record, hookimpl
from custody.identity import Identity, scope
from custody.stamps import now
from custody.storage import Storage

log = logging.getLogger("custody")

_PATIENCE = 60.0
"""Seconds to wait for calls under way; what is still reserved then may belong to a stream that nobody reads."""

_WARN_AT = (Decimal("0.5"), Decimal("0.8"), Decimal("0.95"))


class Plugin:
    def __init__(self) -> None:
        self._book: _Book | None = None
        self._session: Record = {}
        self._applied: dict[str, Any] = {}
        self._broken = ""
        self._lock = threading.Lock()

    @hookimpl
    def session_opened(self, session: Record) -> None:
        self._book, self._session, self._applied, self._broken = None, session, {}, ""
        try:
            self._open(session)
        except Exception as error:
            self._broken = f"{type(error).__name__}: {error}"
            raise

    def _open(self, session: Record) -> None:
        stated = dict(session.get("budget") or {})
        book = _Book(session["storage"], session["session"])
        before = book.state()
        if not session.get("joined") and (stated or before is not None):
            begin(session["storage"], session["session"], session["archive"].lines(), stated)
            self._applied, before = stated, book.state()
        self._book = book if before is not None else None

    @hookimpl
    def check_budget(self, identity: Identity, exchange: Exchange) -> None:
        stated = self._session.get("budget") or {}
        if self._book is None and not stated and not self._broken:
            return
        try:
            if self._broken:
                raise BudgetError(f"the ledger could not be opened ({self._broken})")
            with self._lock:
                if self._applied != stated:
                    self._apply(dict(stated))
            if self._book is not None:
                self._book.reserve(identity, str(scope.current().labels.get("stage", "")), exchange)
        except BudgetError:
            raise
        except Exception as error:  # a budget that cannot be kept is not passed over in silence
            raise BudgetError(
                f"the budget cannot be kept ({type(error).__name__}: {error}); nothing was sent"
            ) from error

    def _apply(self, stated: dict[str, Any]) -> None:
        """Limits that the program has stated since: of a stage, or of the session that it has joined."""
        if self._book is None:
            self._book = _Book(self._session["storage"], self._session["session"])
            begin(self._session["storage"], self._session["session"], self._session["archive"].lines(), {})
        for name, each in stated.items():
            if self._applied.get(name) != each:
                self._book.limit(name, ledger.limits_of(each))
        self._applied = stated

    @hookimpl
    def exchange_durable(self, record: Record) -> None:
        if self._book is not None:
            self._book.settle(record)

    @hookimpl
    def session_closed(self) -> None:
        self._book, self._session, self._applied, self._broken = None, {}, {}, ""


def begin(storage: Storage, session: str, lines: Iterable[Mapping[str, Any]], stated: Mapping[str, Any]) -> None:
    """A start of the session: its limits, and what the archive says was spent. Without limits those of an earlier
    start are lifted."""
    book = _Book(storage, session)
    book.open({name: ledger.limits_of(each) for name, each in stated.items()}, lines)


class _Book:
    """The ledger, and this process's reservations in it."""

    def __init__(self, storage: Storage, session: str) -> None:
        self._storage, self._session = storage, session
        self._log = storage.shared_log(layout.BUDGET)
        self._mine: dict[Identity, tuple[str, Amount]] = {}
        self._lock = threading.RLock()
        self._waiting: dict[Identity, float] = {}
        self._warned: set[tuple[str, str, Decimal]] = set()

    def state(self) -> State | None:
        """As the last line has it; None where there is no ledger."""
        try:
            self._storage.read(layout.BUDGET, 0, 1)
        except FileNotFoundError:
            return None
        seen: list[bytes | None] = []

        def look(last: bytes | None) -> list[bytes]:
            seen.append(last)
            return []

        self._log.append(look)
        return _parsed(seen[0])

    def open(self, limits: dict[str, Limits], lines: Iterable[Mapping[str, Any]]) -> None:
        """Begin anew with what the archive says was spent; what was reused is not: another session paid for it."""
        own = (line for line in lines if not line.get("reused_from"))
        state = ledger.opened(limits, [(_stage(line), _spent(line)) for line in own])
        self._log.append(lambda last: [_line("opened", state)])

    def limit(self, name: str, limits: Limits) -> None:
        """Add a limit."""
        self._log.append(lambda last: [_line("limited", ledger.limited(_parsed(last) or _empty(), name, limits))])

    def reserve(self, identity: Identity, stage: str, exchange: Exchange) -> None:
        """Raises BudgetExceeded, BudgetUnpriced, and NotYet while calls under way may leave enough."""
        state = self.state()
        holding = ledger.relevant(state, stage) if state is not None else {}
        if not holding:
            return
        need = self._need(holding, exchange)
        short: list[Shortage] = []

        def make(last: bytes | None) -> list[bytes]:
            current = _parsed(last) or _empty()
            found = ledger.shortage(current, stage, need)
            if found is not None:
                short.append(found)
                return []
            return [_line("reserved", ledger.reserved(current, stage, need))]

        with self._lock:
            self._log.append(make)
            if not short:
                self._waiting.pop(identity, None)
                self._mine[identity] = (stage, need)
                return
            enough_later = self._mine and short[0].needed + short[0].spent <= short[0].limit
            if enough_later and time.monotonic() < self._waiting.setdefault(identity, time.monotonic() + _PATIENCE):
                raise NotYet
            self._waiting.pop(identity, None)
        raise BudgetExceeded(_exceeded(self._session, short[0]))

    def _need(self, holding: Mapping[str, Limits], exchange: Exchange) -> Amount:
        if not any(limits.usd is not None or limits.tokens is not None for limits in holding.values()):
            return Amount(None, 0)  # calls are counted only
        from custody.cost.bounds import Bound
        from custody.cost.rates import from_environment

        assumed = next((limits.assumed_output for limits in holding.values() if limits.assumed_output), None)
        bound = Bound(exchange, from_environment(), assumed)
        money = [limits for limits in holding.values() if limits.usd is not None]
        if money and bound.amount.usd is None and not all(limits.unpriced for limits in money):
            raise BudgetUnpriced(
                f"{bound.model or 'the call'} at {exchange.claim.vendor} has no price ({bound.reason}), so no budget "
                "in dollars can hold; nothing was sent. Give its rates in the file that CUSTODY_RATES names, budget "
                'tokens or calls, or let such calls pass: budget_unpriced="allow"'
            )
        return bound.amount

    def settle(self, record: Record) -> None:
        """A call is over."""
        identity = Identity(record["scope_key"], record["request_key"], record["replicate"])
        with self._lock:
            mine = self._mine.pop(identity, None)
            if mine is None:
                return
            stage, need = mine
            spent = _spent(record, need)

            def make(last: bytes | None) -> list[bytes]:
                return [_line("settled", ledger.settled(_parsed(last) or _empty(), stage, need, spent))]

            self._log.append(make)
        state = self.state()
        if state is not None:
            self._warn(state, stage)

    def _warn(self, state: State, stage: str) -> None:
        for name, limits in ledger.relevant(state, stage).items():
            totals = state["totals"].get(name, {})
            for kind, limit in (("usd", limits.usd), ("tokens", limits.tokens), ("calls", limits.calls)):
                if not limit:
                    continue
                used = Decimal(totals.get(kind, 0)) / Decimal(limit)
                passed = [mark for mark in _WARN_AT if used >= mark]
                if passed and (name, kind, passed[-1]) not in self._warned:
                    self._warned |= {(name, kind, mark) for mark in passed}
                    log.warning("custody: %s of %s spent of the budget of %s%s",
                                _amount(kind, Decimal(totals[kind])), _amount(kind, Decimal(limit)), self._session,
                                f", stage {name}" if name else "")  # fmt: skip


def _spent(line: Mapping[str, Any], reserved: Amount | None = None) -> Amount:
    """What a call line says; what is not known is taken to be all that was reserved for it."""
    usd = dollars((line.get("cost") or {}).get("cost_usd") or line["response_metadata"].get("cost_usd"))
    tokens = line["response_metadata"].get("tokens_used")
    refused = isinstance(line.get("status"), int) and line["status"] >= 400 and not line.get("usage")
    nothing = Decimal(0) if refused or reserved is None else reserved.usd
    return Amount(usd if usd is not None else nothing,
                  tokens if tokens is not None else 0 if refused or reserved is None else reserved.tokens)  # fmt: skip


def _stage(line: Mapping[str, Any]) -> str:
    return str(line["scope"].get("stage", ""))


def _line(event: str, state: State) -> bytes:
    return json.dumps({"time": now(), "event": event, **state}, separators=(",", ":")).encode() + b"\n"


def _parsed(line: bytes | None) -> State | None:
    try:
        value = json.loads(line) if line else None
    except ValueError:
        return None
    return {"limits": value["limits"], "totals": value["totals"]} if isinstance(value, dict) else None


def _empty() -> State:
    return {"limits": {}, "totals": {}}


def _amount(kind: str, number: Decimal) -> str:
    return f"${plain(number)}" if kind == "usd" else f"{plain(number)} {kind}"


def _exceeded(session: str, short: Shortage) -> str:
    where = f"stage {short.scope} of {session}" if short.scope else session
    option = {"usd": "budget_usd", "tokens": "budget_tokens", "calls": "max_calls"}[short.kind]
    under_way = f" and {_amount(short.kind, short.reserved)} reserved for calls under way" if short.reserved else ""
    more = "" if short.kind == "calls" else (
        f"; this call may take up to {_amount(short.kind, short.needed)}"
        " (a lower limit of output tokens in the request needs less)"
    )  # fmt: skip
    return (
        f"the budget of {where} is {_amount(short.kind, short.limit)}: {_amount(short.kind, short.spent)} spent"
        f"{under_way}{more}. Nothing was sent for it. To go on, start the same program again with a higher {option}: "
        "what is archived is replayed and not paid again"
    )
