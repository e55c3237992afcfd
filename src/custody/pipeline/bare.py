"""The least that a call line says: written where a whole one cannot be, so that an answer that was paid for is kept.

It commits the call and answers a resume as any other. What would have been read of the exchange is missing, and can be
read again from the archive. Nothing here is asked of a plugin, and as little as can be of the rest.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from custody.record import FORENSIC_FIELDS, OUTCOMES
from custody.stamps import stamp

if TYPE_CHECKING:
    from custody.exchange import Exchange
    from custody.pipeline.call import LogicalCall
    from custody.pipeline.turn import LiveTurn

_UNREAD = "unknown:no_reader"


def fields(call: LogicalCall, turn: LiveTurn, session: str, started: datetime, error: BaseException) -> dict[str, Any]:
    """The fields of the call line, in the order of a whole one. ``error`` is why there is none."""
    assert call.identity is not None
    exchange, wire = turn.exchange, call.source in ("wire", "reconciled")
    outcome = _outcome(exchange)
    kept = exchange.succeeded or (exchange.ending == "closed_early" and 200 <= _status(exchange) < 300)
    return {
        "id": call.id,
        "session": session,
        "started": stamp(started),
        "ended": stamp(exchange.ended or datetime.now(UTC)),
        "outcome": outcome,
        "success": outcome == "success",
        "answers": kept and not (turn.damaged or exchange.claim.fleeting),
        "ending": exchange.ending,
        "status": exchange.head.status if exchange.head and wire else None,
        "error": exchange.error,
        "scope": dict(call.labels),
        "run_number": None,
        "scope_key": call.identity.scope,
        "request_key": call.identity.key,
        "replicate": call.identity.replicate,
        "operation": exchange.claim.operation,
        "streamed": exchange.streamed,
        "source": call.source,
        "redacted": turn.redacted,
        "attempts": [_attempt(attempt, wire=wire) for attempt in call.attempts],
        "model_forensics": dict.fromkeys(FORENSIC_FIELDS),
        "response_metadata": {
            "response_time_ms": exchange.total_ms,
            "first_byte_ms": None,
            "tokens_used": None,
            "cost_usd": None,
        },
        "usage": None,
        "cost": {"cost_usd": None, "status": "unknown", "reason": "usage_missing"},
        "parameters": {},
        "evidence": {
            **dict.fromkeys(FORENSIC_FIELDS, _UNREAD),
            "tokens_used": _UNREAD,
            "cost_usd": "unknown:usage_missing",
        },
        "sdk": {"plugin": call.plugin or None, "version": None},
        "transport": exchange.transport,
        **({"superseded": True} if call.superseded else {}),
        "annotations": {},
        "hook_failures": [{"plugin": f.plugin, "hook": f.hook, "error": f.error} for f in call.failures],
        "bare": type(error).__name__,
    }


def _status(exchange: Exchange) -> int:
    return exchange.head.status if exchange.head is not None else 0


def _outcome(exchange: Exchange) -> str:
    if exchange.ending in OUTCOMES:
        return exchange.ending
    if _status(exchange) >= 400:
        return "error"
    return "incomplete" if exchange.ending == "broken" else "success"


def _attempt(turn: LiveTurn, *, wire: bool) -> dict[str, Any]:
    exchange = turn.exchange
    return {
        "exchange": exchange.id,
        **({"request_key": turn.request_key} if turn.call.mixed else {}),
        "status": exchange.head.status if exchange.head and wire else None,
        "ending": exchange.ending,
        "error": exchange.error,
        "sent": stamp(exchange.sent),
        "first_byte_ms": exchange.first_byte_ms,
        "total_ms": exchange.total_ms,
        "request_sha256": turn.request_sha256,
        "response_sha256": turn.response_sha256,
    }
