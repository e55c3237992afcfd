"""What of a session's plans is done, pending, failed and in doubt, and what finishing will take.

The matrix comes from ``fault_recovery/pending_work_queue.json``, what is done from the checkpoints, what was
answered from the archive. An estimate says of how many items it was made; without one it is unknown, never 0.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from custody import layout
from custody.errors import CustodyError
from custody.identity import scope
from custody.research import queue
from custody.research.checkpoints import step_file
from custody.research.matrix import DOCUMENT, RUN
from custody.sessions import manifest as manifests
from custody.storage import Storage

Fields = Mapping[str, Any]
Labels = dict[str, Any]


@dataclass
class Asked:
    """What the archive has of one item."""

    answered: int = 0
    failed: int = 0
    in_doubt: int = 0
    tokens: int = 0
    unmetered: int = 0
    cost: Decimal = Decimal(0)
    unpriced: int = 0


@dataclass
class Pending:
    """One plan. ``calls``, ``tokens`` and ``cost_usd`` are what finishing will take; None where nothing tells."""

    plan: str
    scope: Labels
    items: int = 0
    done: int = 0
    answered: int = 0
    failed: int = 0
    in_doubt: int = 0
    holes: list[Labels] = field(default_factory=list)
    calls: int | None = None
    tokens: int | None = None
    cost_usd: str | None = None
    estimated_from: int = 0

    @property
    def pending(self) -> int:
        return self.items - self.done

    def as_dict(self, most: int = 1000) -> dict[str, Any]:
        """``holes``: the first ``most`` of the pending items."""
        return {**vars(self), "pending": self.pending, "holes": self.holes[:most]}


class Count:
    """Adds up a session's call lines, one at a time, by plan and item."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        recorded = [plan for plan in queue.read(storage) if _is_whole(plan)]
        self._plans = [_Counted(plan) for plan in recorded]

    def add(self, call: Fields) -> None:
        for plan in self._plans:
            plan.add(call)

    def made(self, doubts: Iterable[Fields]) -> list[Pending]:
        """Every plan. ``doubts``: calls in doubt; those that were answered since do not count."""
        if not self._plans:
            return []
        try:
            secret = manifests.read_key(self._storage)
        except CustodyError:
            return []  # withheld: nobody can tell what is done
        names = self._storage.list(f"{layout.STATE}/{layout.STEPS}/")
        kept = {entry.name.removeprefix(f"{layout.STATE}/") for entry in names}
        for doubt in doubts:
            if not doubt["answered_by"]:
                for plan in self._plans:
                    plan.doubt(doubt)
        return [plan.made(secret, kept) for plan in self._plans]


class _Counted:
    """One plan and what the archive has of its items."""

    def __init__(self, plan: Fields) -> None:
        self._plan = plan
        self._around: Labels = plan["scope"]
        self._names = (DOCUMENT, *plan["conditions"], RUN)
        self._asked: defaultdict[tuple[Any, ...], Asked] = defaultdict(Asked)

    def add(self, call: Fields) -> None:
        had = self._item_of(call)
        if had is None:
            return
        if not call["answers"]:
            had.failed += 1
            return
        metadata = call["response_metadata"]
        reused = bool(call.get("reused_from"))
        had.answered += 1
        had.unmetered += reused or metadata["tokens_used"] is None
        had.unpriced += reused or metadata["cost_usd"] is None
        if not reused:
            had.tokens += metadata["tokens_used"] or 0
            had.cost += Decimal(metadata["cost_usd"] or 0)

    def doubt(self, doubt: Fields) -> None:
        had = self._item_of(doubt)
        if had is not None:
            had.in_doubt += 1

    def made(self, secret: bytes, kept: set[str]) -> Pending:
        found = Pending(str(self._plan["plan"]), self._around)
        measured: list[Asked] = []
        open_items: list[Asked] = []
        for labels in _items(self._plan):
            found.items += 1
            had = self._asked.get(tuple(labels[name] for name in self._names), Asked())
            digest = scope.digest(secret, {**self._around, **labels})
            if step_file(found.plan, digest, digest[8:]) in kept:
                found.done += 1
                measured.append(had)
                continue
            found.holes.append(labels)
            open_items.append(had)
            found.answered += had.answered > 0
            found.in_doubt += had.in_doubt > 0
            found.failed += had.failed > 0 and not had.answered
        _estimate(found, measured or [had for had in open_items if had.answered], open_items)
        return found

    def _item_of(self, call: Fields) -> Asked | None:
        labels = call["scope"]
        if any(name not in labels for name in self._names):
            return None
        for name, value in self._around.items():
            mine = labels.get(name)
            if mine != value and not (name == "stage" and str(mine).startswith(f"{value}/")):
                return None
        return self._asked[tuple(labels[name] for name in self._names)]


def _estimate(found: Pending, measured: list[Asked], open_items: list[Asked]) -> None:
    if not open_items:
        found.calls = found.tokens = 0
        return
    answers = sum(had.answered for had in measured)
    if not answers:
        return
    found.estimated_from = len(measured)
    each = answers / len(measured)
    found.calls = round(sum(max(0.0, each - had.answered) for had in open_items))
    metered = answers - sum(had.unmetered for had in measured)
    if metered:
        found.tokens = round(found.calls * sum(had.tokens for had in measured) / metered)
    if not any(had.unpriced for had in measured):
        cost = sum((had.cost for had in measured), Decimal(0)) * found.calls / answers
        found.cost_usd = f"{cost.quantize(Decimal('0.0001')):f}"


def _items(plan: Fields) -> Iterator[Labels]:
    factors: dict[str, list[Any]] = plan["conditions"]
    for document in plan["documents"]:
        for levels in itertools.product(*factors.values()):
            for run in plan["runs"]:
                yield {DOCUMENT: document, **dict(zip(factors, levels, strict=True)), RUN: run}


def _is_whole(plan: Fields) -> bool:
    kinds = {"plan": str, "scope": dict, "documents": list, "conditions": dict, "runs": list}
    return all(isinstance(plan.get(name), kind) for name, kind in kinds.items()) and all(
        isinstance(levels, list) for levels in plan["conditions"].values()
    )


def sentence(found: Pending) -> str:
    """One plan in a line for a person."""
    where = f" in stage {found.scope['stage']}" if "stage" in found.scope else ""
    text = f"{found.plan}{where}: {found.done} of {found.items} items done"
    if not found.pending:
        return text
    extra = Counter({"with an answer": found.answered, "in doubt": found.in_doubt, "failed": found.failed})
    words = ", ".join(f"{n} {word}" for word, n in extra.items() if n)
    text += f", {found.pending} pending" + (f" ({words})" if words else "") + "; finishing takes "
    if found.calls is None:
        return f"{text}an unknown number of calls (no item is done that could tell)"
    tokens = "unknown tokens" if found.tokens is None else f"{found.tokens} tokens"
    cost = "unknown cost" if found.cost_usd is None else f"{found.cost_usd} USD"
    return f"{text}about {found.calls} calls, {tokens}, {cost}"
