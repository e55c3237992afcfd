"""A session's budgets: what may be spent, what is spent, what is reserved. Pure: from one state to the next.

The state is plain JSON and stands whole in the last line of a shared log, so that several processes spend from
one budget: whoever reserves appends, and nobody appends in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from custody.cost.money import ZERO, plain

State = dict[str, Any]
"""``limits`` and ``totals``, each by scope: "" is the session, else a stage's path."""

WHOLE = ""


@dataclass(frozen=True)
class Limits:
    """What may be spent in a scope; None is no limit.

    Attributes:
        unpriced: calls that cannot be priced are sent all the same, and count nothing.
        assumed_output: output tokens to reserve where a request states no limit of them.
    """

    usd: Decimal | None = None
    tokens: int | None = None
    calls: int | None = None
    unpriced: bool = False
    assumed_output: int | None = None

    def __bool__(self) -> bool:
        return not (self.usd is None and self.tokens is None and self.calls is None)

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        usd = None if self.usd is None else plain(self.usd)
        return {"usd": usd, "tokens": self.tokens, "calls": self.calls, "unpriced": self.unpriced,
                "assumed_output": self.assumed_output}  # fmt: skip


def limits_of(stated: dict[str, Any]) -> Limits:
    """From JSON."""
    usd = stated.get("usd")
    return Limits(None if usd is None else Decimal(usd), stated.get("tokens"), stated.get("calls"),
                  bool(stated.get("unpriced")), stated.get("assumed_output"))  # fmt: skip


@dataclass(frozen=True)
class Amount:
    """Dollars and tokens; ``usd`` is None where nothing can be said."""

    usd: Decimal | None
    tokens: int


@dataclass(frozen=True)
class Shortage:
    """A limit that a reservation would break.

    Attributes:
        kind: "usd", "tokens" or "calls".
        spent, reserved, needed, limit: in its unit.
    """

    scope: str
    kind: str
    spent: Decimal
    reserved: Decimal
    needed: Decimal
    limit: Decimal


def opened(limits: dict[str, Limits], spent: Iterable[tuple[str, Amount]]) -> State:
    """The state at the start: the limits, and what earlier starts have spent, by the stage of each call."""
    state: State = {"limits": {name: each.as_dict() for name, each in limits.items()}, "totals": {}}
    for stage, amount in spent:
        state = _added(state, stage, "", amount, 1)
    return state


def limited(state: State, scope: str, limits: Limits) -> State:
    """Another limit; of two for one scope the narrower holds."""
    before = limits_of(state["limits"].get(scope, {}))
    both = Limits(
        _least(before.usd, limits.usd), _least(before.tokens, limits.tokens), _least(before.calls, limits.calls),
        limits.unpriced if not before else before.unpriced or limits.unpriced,
        limits.assumed_output or before.assumed_output,
    )  # fmt: skip
    return {**state, "limits": {**state["limits"], scope: both.as_dict()}}


def relevant(state: State, stage: str) -> dict[str, Limits]:
    """The limits that hold in a stage, by scope."""
    found = {name: limits_of(each) for name, each in state["limits"].items() if name in _scopes(stage)}
    return {name: each for name, each in found.items() if each}


def shortage(state: State, stage: str, need: Amount) -> Shortage | None:
    """What reserving so much would break."""
    for scope, limits in relevant(state, stage).items():
        totals = _totals(state, scope)
        for kind, limit, needed in (
            ("usd", limits.usd, need.usd or ZERO),
            ("tokens", limits.tokens, need.tokens),
            ("calls", limits.calls, 1),
        ):
            if limit is None:
                continue
            spent, reserved = Decimal(totals[kind]), Decimal(totals[f"reserved_{kind}"])
            if spent + reserved + needed > limit:
                return Shortage(scope, kind, spent, reserved, Decimal(needed), Decimal(limit))
    return None


def reserved(state: State, stage: str, need: Amount) -> State:
    """A call may be sent."""
    return _added(state, stage, "reserved_", need, 1)


def settled(state: State, stage: str, need: Amount, spent: Amount) -> State:
    """It is over: what was reserved is free, what it cost is spent."""
    back = Amount(-(need.usd or ZERO), -need.tokens)
    return _added(_added(state, stage, "reserved_", back, -1), stage, "", spent, 1)


def _added(state: State, stage: str, prefix: str, amount: Amount, calls: int) -> State:
    totals = dict(state["totals"])
    for scope in _scopes(stage):
        before = _totals(state, scope)
        totals[scope] = {
            **before,
            f"{prefix}usd": plain(Decimal(before[f"{prefix}usd"]) + (amount.usd or ZERO)),
            f"{prefix}tokens": before[f"{prefix}tokens"] + amount.tokens,
            f"{prefix}calls": before[f"{prefix}calls"] + calls,
        }
    return {**state, "totals": totals}


def _totals(state: State, scope: str) -> dict[str, Any]:
    nothing = {"usd": "0", "tokens": 0, "calls": 0, "reserved_usd": "0", "reserved_tokens": 0, "reserved_calls": 0}
    return {**nothing, **state["totals"].get(scope, {})}


def _scopes(stage: str) -> list[str]:
    """The session, and every stage that the stage lies in, itself included."""
    parts = stage.split("/") if stage else []
    return [WHOLE, *("/".join(parts[: n + 1]) for n in range(len(parts)))]


def _least(one: Any, other: Any) -> Any:
    known = [each for each in (one, other) if each is not None]
    return min(known) if known else None
