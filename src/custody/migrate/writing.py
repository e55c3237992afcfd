"""The archive's lines of a call of an older layout. What was never stored is null, with a reason."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import datetime
from typing import Any

from custody.identity import scope
from custody.journal import lines
from custody.journal.writer import Journal
from custody.migrate import text, values
from custody.migrate.legacy import LegacyCall
from custody.migrate.plan import PlannedSession
from custody.migrate.source import shown
from custody.record import FORENSIC_FIELDS, RESPONSE_FIELDS
from custody.stamps import stamp

OPERATION = "unknown"
METHOD = "LEGACY"

_NOT_RECORDED = "unknown:not_recorded"
_ERROR_NAME = re.compile(r"\b([A-Z][A-Za-z]{2,60}(?:Error|Exception|Timeout))\b")
_INPUT = ("prompt_tokens", "input_tokens", "input")
_OUTPUT = ("completion_tokens", "output_tokens", "output")


def append(
    journal: Journal, session: PlannedSession, call: LegacyCall, secret: bytes, stage: str | None = None
) -> dict[str, Any] | None:
    """Write one call. Gives its call line; None for a call in doubt, which has none.

    ``stage``: the stage of the user's script that will ask for it.
    """
    name = journal.next_id()
    exchange = f"{name}.1"
    labels = labels_of(call, stage)
    asked, ended, stamps_by = _moments(session, call)
    identity = {
        "scope": labels,
        "scope_key": scope.digest(secret, labels),
        "request_key": _key(secret, name),
        "replicate": 1,
        "operation": OPERATION,
    }
    prompt = _request_text(call)
    request = {
        "exchange": exchange, "call": name, "salt": secrets.token_hex(16), "time": stamp(asked), **identity,
        "method": METHOD, "url": f"legacy:{call.generation}", "transport": "files of an older layout",
        "headers": [["content-type", "text/plain; charset=utf-8"]] if prompt is not None else [],
        "header_digests": {}, "body": lines.pack(text.encode(prompt or "")), "origin": call.origin,
        **({} if prompt is not None else {"unknown": {"body": "not_recorded"}}),
    }  # fmt: skip
    records = [("request", request)]
    if call.in_doubt:
        journal.append(records)
        return None
    response: dict[str, Any] = {"exchange": exchange, "salt": secrets.token_hex(16), "at_ms": None}
    ending, error = "complete", None
    if call.response is None:
        ending, error = "no_response", _error_name(call.error)  # of a completed one, too: none was written down
    else:
        response |= {
            "status": None, "reason": "not recorded", "http_version": "",
            "headers": [["content-type", "text/plain; charset=utf-8"], ["x-custody-origin", call.origin]],
            "streamed": False, "decoded": True, "body": lines.pack(text.encode(call.response)),
        }  # fmt: skip
        error = _error_name(call.error or call.response) if call.failed else None
    response |= {"ending": ending, "error": error, "origin": call.origin}
    _, sealed_request = journal.append(records)
    _, sealed_response = journal.append([("response", response)])
    attempt = {
        "exchange": exchange, "status": None, "ending": ending, "error": error, "sent": stamp(asked),
        "first_byte_ms": None, "total_ms": None, "request_sha256": hashlib.sha256(sealed_request[0]).hexdigest(),
        "response_sha256": hashlib.sha256(sealed_response[0]).hexdigest(),
    }  # fmt: skip
    outcome = _outcome(call)
    fields = {
        "id": name, "session": session.session, "started": stamp(asked), "ended": stamp(ended), "outcome": outcome,
        "success": outcome == "success", "answers": call.answers, "ending": ending, "status": None, "error": error,
        "scope": labels, "run_number": call.run, **{k: v for k, v in identity.items() if k != "scope"},
        "streamed": False, "source": "legacy", "origin": call.origin, "redacted": False, "attempts": [attempt],
        **_forensics(call), "parameters": {}, "sdk": {"plugin": None, "version": None},
        "transport": request["transport"], "annotations": {"legacy": _provenance(call, stamps_by)},
        "hook_failures": [],
    }  # fmt: skip
    journal.append([("call", fields)])
    return fields


def labels_of(call: LegacyCall, stage: str | None = None) -> dict[str, scope.Label]:
    """The labels that a script would give with ``session.scope(corpus_file=..., run=...)``."""
    labels: dict[str, scope.Label] = {}
    if call.corpus_file is not None:
        labels["corpus_file"] = shown(call.corpus_file)
    if call.run is not None:
        labels["run"] = call.run
    if stage is not None:
        labels["stage"] = stage
    return labels


def _key(secret: bytes, name: str) -> str:
    """In the place of a request key, which needs the request: no program ever asks for it."""
    return hmac.new(secret, f"legacy:{name}".encode(), hashlib.sha256).hexdigest()


def _request_text(call: LegacyCall) -> str | None:
    if call.system is not None:
        return f"=== SYSTEM PROMPT ===\n{call.system}\n\n=== USER PROMPT ===\n{call.prompt or ''}"
    return call.prompt


def _moments(session: PlannedSession, call: LegacyCall) -> tuple[datetime, datetime, str]:
    """When it was asked and answered; what is not recorded is taken from the other, or from the run's start."""
    naive = any(when is not None and when.tzinfo is None for when in (call.time, call.asked))
    zone = "; their zone is not recorded, and taken as UTC" if naive and session.zone is None else ""
    ended = session.utc(call.time) if call.time is not None else None
    asked = session.utc(call.asked) if call.asked is not None else None
    if asked is None and ended is None:
        return session.started, session.started, "not recorded: the run's start"
    if asked is None or ended is None:
        known = asked or ended
        assert known is not None
        return known, known, ("the response's" if asked is None else "the request's") + zone
    return min(asked, ended), ended, "both recorded" + zone


def _outcome(call: LegacyCall) -> str:
    if call.response is None:
        return "no_response"
    if call.failed:
        return "error"
    return "success" if call.response.strip() else "empty"


def _error_name(said: str | None) -> str | None:
    """The class name in an error's text; the text itself stays in the original file."""
    found = _ERROR_NAME.search(said) if said else None
    return found[1] if found is not None else None


def _number(usage: dict[str, Any], names: tuple[str, ...]) -> int | None:
    return next(
        (v for n in names if isinstance(v := usage.get(n), int) and not isinstance(v, bool) and 0 <= v < 2**53), None
    )


def _forensics(call: LegacyCall) -> dict[str, Any]:
    """The forensic fields: the model that was asked for, and the usage, where they were written down."""
    given, made = _number(call.usage, _INPUT), _number(call.usage, _OUTPUT)
    total = given + made if given is not None and made is not None else _number(call.usage, ("total_tokens", "total"))
    values_of = dict.fromkeys(FORENSIC_FIELDS)
    evidence = dict.fromkeys(FORENSIC_FIELDS, _NOT_RECORDED)
    if call.model is not None:
        values_of["requested_model"] = call.model[:256]
        evidence["requested_model"] = "legacy_record:model"
    known = total is not None or given is not None or made is not None
    raw = {k[:64]: v for k, v in call.usage.items() if isinstance(v, int) and not isinstance(v, bool)}
    return {
        "model_forensics": values_of,
        "response_metadata": {"response_time_ms": None, "first_byte_ms": None, "tokens_used": total, "cost_usd": None,
                              **dict.fromkeys(RESPONSE_FIELDS)},
        "usage": {
            "input": given, "output": made, "cache_read": None, "cache_write": None, "reasoning": None, "raw": raw,
        } if known else None,
        "evidence": {
            **evidence,
            **dict.fromkeys(("response_time_ms", *RESPONSE_FIELDS), _NOT_RECORDED),
            "tokens_used": "legacy_record:usage" if total is not None else _NOT_RECORDED,
            "cost_usd": "unknown:model_unresolved" if known else "unknown:usage_missing",
        },
    }  # fmt: skip


def _provenance(call: LegacyCall, stamps_by: str) -> dict[str, Any]:
    """Where the call comes from, and what of it was derived. Names of files and agents, no text of anybody's."""
    kind, _, _ = values.agent_parts(call.agent, call.model)
    return {
        "generation": call.generation,
        "file": shown(call.file),
        "line": call.line,
        "also": [shown(place) for place in call.also],
        "agent": shown(call.agent)[:512] if call.agent is not None else None,
        "agent_kind": kind,
        "failed": call.failed or None,
        "from_repr": call.from_repr,
        "attempts": call.attempts,
        "labels_by": call.labels_by,
        "stamps_by": stamps_by,
        "prompt": "recorded" if call.prompt is not None else "not_recorded",
        "response": "recorded" if call.response is not None else "not_recorded",
    }
