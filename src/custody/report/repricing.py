"""Prices a stored session anew. The new figures stand in a file of their own; no call line is touched."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from custody import layout
from custody.cost.exchanges import price_answer
from custody.cost.rates import UserRates
from custody.cost.record import CostRecord
from custody.errors import ArchiveDamaged
from custody.redact import Redactor
from custody.report.cost import cost_of
from custody.report.stored import Call, StoredSession
from custody.stamps import now


@dataclass(frozen=True)
class Repriced:
    """A call, what its line says it cost, and what it costs by the tables of today."""

    call: str
    old: dict[str, Any]
    new: CostRecord

    @property
    def changed(self) -> bool:
        return (self.old.get("cost_usd"), self.old.get("reason")) != (self.new["cost_usd"], self.new["reason"])


def reprice(session: StoredSession, rates: UserRates | None = None) -> list[Repriced]:
    """Every call by the installed library, the overlay and the rates, at the day of the call."""
    return [Repriced(call.id, dict(cost_of(call.fields)), _price(call, rates)) for call in session.calls()]


def append(session: StoredSession, found: list[Repriced]) -> None:
    """Add a run of repricing to the session's file."""
    redactor, time = Redactor(), now()

    def make(last: bytes | None) -> list[bytes]:
        run = json.loads(last)["run"] + 1 if last else 1
        lines = [
            {"run": run, "time": time, "call": one.call, "old_usd": one.old.get("cost_usd"), "cost": dict(one.new)}
            for one in found
        ]
        return [redactor.scrub(json.dumps(line, separators=(",", ":")).encode()) + b"\n" for line in lines]

    session.storage.shared_log(layout.REPRICED).append(make)


def _price(call: Call, rates: UserRates | None) -> CostRecord:
    fields = call.fields
    forensics, metadata = fields["model_forensics"], fields["response_metadata"]
    attempts = fields["attempts"]
    sent = attempts[-1]["sent"] if attempts else fields["started"]
    headers, body = _answer(call)
    return price_answer(
        vendor=forensics["vendor"],
        operation=fields["operation"],
        requested=forensics["requested_model"],
        actual=forensics["actual_model"],
        usage=(fields.get("usage") or {}).get("raw") or {},
        sent=datetime.fromisoformat(sent),
        tier=metadata.get("service_tier"),
        region=forensics["deployment_region"],
        headers=headers,
        body=body,
        rates=rates,
    )


def _answer(call: Call) -> tuple[Any, Any]:
    try:
        answer = call.response
    except ArchiveDamaged:
        return (), None
    if answer is None:
        return (), None
    events = [value for event in answer.events if isinstance(value := _json(event.data), dict)]
    return answer.head.headers, answer.json if answer.json is not None else events


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
