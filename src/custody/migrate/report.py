"""What a migration found and did, in numbers: for people and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from custody.migrate.legacy import LegacyCall
from custody.migrate.plan import Plan, PlannedSession
from custody.migrate.source import shown

COUNTS = {
    "joined_ids": "ids found to be another id's run",
    "split_results": "runs with more than one results folder",
    "same_answer_elsewhere": "answers that stand in a second place, too (one call is made)",
    "same_call_elsewhere": "failed and unanswered calls that stand in a second place, too",
    "differing_states": "answers that a state file has otherwise than the log (the log's is taken, the file kept)",
    "duplicate_lines": "lines that stand twice (one is read)",
    "shared_event_ids": "different lines with one event id (all are read)",
    "out_of_order": "lines earlier than the line before them",
    "unknown_session": "events filed under no session or 'unknown'",
    "assigned_by_time": "calls given to the run that was under way",
    "calls_of_no_run": "calls of which no run is known (their files are kept)",
    "repr_dicts": "Python reprs where JSON should be",
    "failed": "failed calls",
    "errors_as_responses": "errors stored as a response",
    "empty_responses": "empty responses",
    "died_mid_call": "calls sent and never answered (in doubt)",
    "responses_not_recorded": "calls that were answered, and whose answers were not written down",
    "workflow_errors": "errors of the old program itself (no call)",
    "untyped_messages": "messages that do not say what they are (kept, no call is made)",
    "unreadable_lines": "lines that cannot be read (kept)",
    "blank_lines": "blank lines",
    "unreadable_files": "files that cannot be read",
    "empty_files": "empty files",
    "symlinks": "symlinks (not followed)",
    "documents_twice": "documents that lie there as .md and as .txt",
    "credentials_suspected": "files with text shaped like a credential (kept as they are)",
}
"""Everything that is counted besides files and calls, in the order in which it is told."""

WORTH = {
    "hmac": "proves nothing: the key default_dev_key is public, so whoever changes a line can sign it again",
    "content_hash": "finds accidents in a line's data; proves nothing about who wrote them",
    "event_id": "finds accidents in a line's stamp and type; proves nothing about who wrote them",
}

ORIGINS = ("captured", "reconstructed", "unknown")


def as_dict(plan: Plan) -> dict[str, Any]:
    """The whole plan as plain JSON."""
    by = byte_sums(plan)
    return {
        "migration": plan.id,
        "source": shown(plan.source.name),
        "generations": sorted({g for s in plan.sessions for g in s.generations}),
        "bytes": {"total": plan.total, **by, "accounted_for": sum(by.values()) == plan.total},
        "files": [
            {
                "path": shown(file.path),
                "bytes": file.size,
                "sha256": file.sha256,
                "kind": file.kind,
                "generation": file.generation,
                "disposition": file.disposition,
                "reason": file.reason,
                "goes_to": shown(file.goes_to) if file.goes_to else None,
            }
            for file in plan.files
        ],
        "sessions": [_session(session) for session in plan.sessions],
        "calls": {
            "total": sum(len(s.calls) for s in plan.sessions),
            **{origin: plan.counts[f"origin_{origin}"] for origin in ORIGINS},
            "answers": plan.counts["answers"],
        },
        "found": {name: plan.counts[name] for name in COUNTS},
        "checks": [
            {"check": check, "worth": WORTH[check], **{r: n for (c, r), n in sorted(plan.checks.items()) if c == check}}
            for check in sorted({c for c, _ in plan.checks})
        ],
        "definitions": [
            {
                "experiment": d.experiment,
                "what": d.what,
                "named": shown(d.named),
                "path": shown(d.path) if d.path else None,
                "content": d.content,
                "by": shown(d.by),
            }
            for d in plan.definitions
        ],
        "remarks": plan.remarks,
    }


def byte_sums(plan: Plan) -> dict[str, int]:
    """Bytes by what becomes of them."""
    sums = dict.fromkeys(("migrated", "kept", "ignored"), 0)
    for file in plan.files:
        sums[file.disposition] += file.size
    return sums


def origins(calls: list[LegacyCall]) -> dict[str, int]:
    found = Counter(call.origin for call in calls)
    return {origin: found[origin] for origin in ORIGINS if found[origin]}  # type: ignore[index]


def _session(session: PlannedSession) -> dict[str, Any]:
    return {
        "session": session.session,
        "folder": session.folder,
        "generations": session.generations,
        "started": session.started.isoformat(),
        "started_by": session.started_by,
        "ids": {shown(name): how for name, how in session.run.ids.items()},
        "calls": {"total": len(session.calls), **origins(session.calls)},
        "answers": sum(call.answers for call in session.calls),
        "failed": sum(bool(call.failed) for call in session.calls),
        "in_doubt": sum(call.in_doubt for call in session.calls),
        "files": len(session.run.files),
    }


def lines(plan: Plan) -> Iterator[str]:
    """The plan for a person, after its tables."""
    by = byte_sums(plan)
    sums = ", ".join(f"{n} {word}" for word, n in by.items())
    agrees = "all accounted for" if sum(by.values()) == plan.total else "NOT ALL ACCOUNTED FOR"
    yield f"bytes     {plan.total} = {sums}: {agrees}"
    word = ", ".join(f"{plan.counts[f'origin_{origin}']} {origin}" for origin in ORIGINS)
    total = sum(len(s.calls) for s in plan.sessions)
    yield f"calls     {total}: {word}; {plan.counts['answers']} of them are answers that need not be paid again"
    for name, text in COUNTS.items():
        if plan.counts[name]:
            yield f"{plan.counts[name]:>8}  {text}"
    for check in sorted({c for c, _ in plan.checks}):
        results = ", ".join(f"{n} {result}" for (c, result), n in sorted(plan.checks.items()) if c == check)
        yield f"{check}: {results} ({WORTH[check]})"
    for d in plan.definitions:
        where = shown(d.path) if d.path else "not in the source"
        yield f"{d.what} of {d.experiment}: {where} (named by {shown(d.by)}; its content is {d.content})"
    yield from plan.remarks
