"""Makes the call line: what is known of a finished call, each value with its evidence, no free text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from custody.exchange import Exchange
from custody.hooks.manager import PluginManager
from custody.record import FORENSIC_FIELDS, RESPONSE_FIELDS, Forensics, Outcome, Price, unknown
from custody.stamps import stamp

if TYPE_CHECKING:
    from custody.pipeline.call import LogicalCall
    from custody.pipeline.turn import LiveTurn

_UNREAD = unknown("no_reader")


_ON_THE_WIRE = ("wire", "reconciled")


@dataclass(frozen=True, slots=True)
class Collected:
    """What the hooks said of an exchange."""

    forensics: Forensics
    price: Price
    outcome: Outcome


def collect(hooks: PluginManager, exchange: Exchange) -> Collected:
    """Ask for forensics, then for the price."""
    forensics = merge(hooks.extract_forensics(exchange))
    price = hooks.price_call(forensics, exchange.claim.operation, exchange)
    if price is None:
        price = Price(None, "price_not_found" if forensics.usage else "usage_missing")
    return Collected(forensics, price, outcome_of(exchange, forensics))


def merge(parts: list[Forensics]) -> Forensics:
    """Field by field: a value beats a null, the earlier of two values wins."""
    if not parts:
        return Forensics(usage_reason="no_reader")
    first, *others = parts
    merged = replace(first, findings=dict(first.findings)) if others else first
    for part in others:
        for name, finding in part.findings.items():
            known = merged.findings.get(name)
            if known is None or (known.value is None and finding.value is not None):
                merged.findings[name] = finding
        merged.parameters = {**part.parameters, **merged.parameters}
        if merged.usage is None and part.usage is not None:
            merged.usage = part.usage
        merged.outcome = merged.outcome or part.outcome
    return merged


def outcome_of(exchange: Exchange, forensics: Forensics) -> Outcome:
    """One word for how it went; a bad ending or status overrules what the content says."""
    if exchange.ending in ("no_response", "cancelled", "closed_early"):
        return exchange.ending
    if exchange.head is not None and exchange.head.status >= 400:
        return "filtered" if forensics.outcome == "filtered" else "error"  # Azure refuses a prompt with 400
    if exchange.ending == "broken":
        return "error" if forensics.outcome == "error" else "incomplete"
    return forensics.outcome or "success"


def call_fields(
    call: LogicalCall, turn: LiveTurn, collected: Collected, session: str, sdk_version: str, started: datetime
) -> dict[str, Any]:
    """The fields of the call line."""
    assert call.identity is not None
    exchange, forensics, price = turn.exchange, collected.forensics, collected.price
    findings = forensics.findings
    usage = forensics.usage
    model: dict[str, Any] = {}
    evidence: dict[str, str] = {}
    for name in FORENSIC_FIELDS:
        finding = findings.get(name, _UNREAD)
        model[name], evidence[name] = finding.value, finding.evidence
    response: dict[str, Any] = {
        "response_time_ms": exchange.total_ms,
        "first_byte_ms": exchange.first_byte_ms if call.source == "wire" else None,
        "tokens_used": usage.total if usage else None,
        "cost_usd": f"{price.usd:f}" if price.usd is not None else None,
    }
    for name in RESPONSE_FIELDS:
        if name in findings:
            finding = findings[name]
            response[name], evidence[name] = finding.value, finding.evidence
    counted = usage is not None and response["tokens_used"] is not None
    evidence["tokens_used"] = usage.evidence if usage and counted else f"unknown:{forensics.usage_reason}"
    evidence["cost_usd"] = price.evidence or f"unknown:{price.reason}"
    run = call.labels.get("run", call.labels.get("run_number"))
    head = exchange.head
    closed_early = exchange.ending == "closed_early" and head is not None and 200 <= head.status < 300
    return {
        "id": call.id,
        "session": session,
        "started": stamp(started),
        "ended": stamp(exchange.ended or datetime.now(UTC)),
        "outcome": collected.outcome,
        "success": collected.outcome == "success",
        "answers": not (turn.damaged or exchange.claim.fleeting)
        and ((exchange.succeeded and collected.outcome != "error") or closed_early),
        "ending": exchange.ending,
        "status": head.status if head and call.source in _ON_THE_WIRE else None,
        "error": exchange.error,
        "scope": dict(call.labels),
        "run_number": run if isinstance(run, int) else None,
        "scope_key": call.identity.scope,
        "request_key": call.identity.key,
        "replicate": call.identity.replicate,
        "operation": exchange.claim.operation,
        "streamed": exchange.streamed,
        "source": call.source,
        "redacted": turn.redacted,
        "attempts": [_attempt(attempt) for attempt in call.attempts],
        "model_forensics": model,
        "response_metadata": response,
        "usage": {
            "input": usage.input,
            "output": usage.output,
            "cache_read": usage.cache_read,
            "cache_write": usage.cache_write,
            "reasoning": usage.reasoning,
            "raw": usage.raw,
        }
        if usage
        else None,
        "cost": price.line,
        "parameters": forensics.parameters,
        "evidence": evidence,
        "sdk": {"plugin": call.plugin or None, "version": sdk_version or None},
        "transport": exchange.transport,
        **({"superseded": True} if call.superseded else {}),
        "annotations": call.annotations,
        "hook_failures": [{"plugin": f.plugin, "hook": f.hook, "error": f.error} for f in call.failures],
    }


def _attempt(turn: LiveTurn) -> dict[str, Any]:
    exchange, call = turn.exchange, turn.call
    return {
        "exchange": exchange.id,
        **(_asked(turn) if call.mixed else {}),
        "status": exchange.head.status if exchange.head and call.source in _ON_THE_WIRE else None,
        "ending": exchange.ending,
        "error": exchange.error,
        "sent": stamp(exchange.sent),
        "first_byte_ms": exchange.first_byte_ms,
        "total_ms": exchange.total_ms,
        "request_sha256": turn.request_sha256,
        "response_sha256": turn.response_sha256,
    }


def _asked(turn: LiveTurn) -> dict[str, Any]:
    """Who was asked, where the attempts of one call may differ."""
    request = turn.exchange.request_json
    model = request.get("model") if isinstance(request, dict) else None
    return {
        "request_key": turn.request_key,
        "vendor": turn.exchange.claim.vendor,
        "host": turn.exchange.request.parts.hostname,
        "model": model[:256] if isinstance(model, str) else None,
    }
