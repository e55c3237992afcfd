"""Recordings that no SDK of the environment can ask for go through the plugins' readers alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from custody.exchange import Chunk, Exchange, RequestHead, ResponseHead, is_event_stream
from custody.hooks.manager import PluginManager
from custody.pipeline import outcome
from custody.record import FORENSIC_FIELDS
from wireplay.recordings import Recorded


def read(hooks: PluginManager, recorded: Recorded) -> dict[str, Any] | None:
    """The fields of a call line that come from reading; None where no plugin claims the request."""
    head = RequestHead(recorded.method, recorded.url, tuple(recorded.request_headers.items()))
    claim = hooks.claim_exchange(head)
    if claim is None:
        return None
    now = datetime.now(UTC)
    response = ResponseHead(recorded.status, recorded.reason, "HTTP/1.1", recorded.headers)
    exchange = Exchange(
        id="read.1",
        request=head,
        request_body=recorded.request_body,
        claim=claim,
        transport="recording",
        sent=now,
        head=response,
        chunks=[Chunk(0.0, recorded.body)],
        streamed=is_event_stream(response),
        ending="complete",
        ended=now,
    )
    collected = outcome.collect(hooks, exchange)
    findings, usage = collected.forensics.findings, collected.forensics.usage
    extra = {name: finding for name, finding in findings.items() if name not in FORENSIC_FIELDS}
    return {
        "outcome": collected.outcome,
        "model_forensics": {name: findings[name].value if name in findings else None for name in FORENSIC_FIELDS},
        "response_metadata": {
            "tokens_used": usage.total if usage else None,
            **{name: finding.value for name, finding in extra.items()},
        },
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
        "evidence": {name: finding.evidence for name, finding in findings.items()}
        | {
            "tokens_used": usage.evidence
            if usage and usage.total is not None
            else f"unknown:{collected.forensics.usage_reason}"
        },
    }
