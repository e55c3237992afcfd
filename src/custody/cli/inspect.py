"""``custody status``, ``calls``, ``show``, ``verify``: look at a stored session."""

from __future__ import annotations

import os
import sys
from decimal import Decimal
from typing import Any

import click

from custody.cli.console import in_line, print_json, print_pairs, print_table, safe
from custody.cli.engine import chosen, engine_options
from custody.cli.stored import json_option as _json
from custody.cli.stored import one_id, open_session, open_storage
from custody.cli.stored import root_option as _root
from custody.cli.stored import session_argument as _session
from custody.journal import lines
from custody.report import pending, team
from custody.report.cost import shown
from custody.report.stored import Answer, Call, Frame, StoredSession
from custody.report.verify import verify as verify_session
from custody.sessions import behind


@click.command()
@_session
@_root
@_json
def status(session: str, root: str, as_json: bool) -> None:
    """Where SESSION stands: counts, calls in doubt, tokens, damage."""
    found = open_session(session, root).status()
    if as_json:
        print_json(found)
        return
    without = found["calls_without_usage"]
    print_pairs(
        [
            ("session", found["session"]),
            ("project / experiment", f"{found['project']} / {found['experiment']}"),
            ("state", found["state"]),
            ("folder", found["path"]),
            ("calls", f"{found['calls']} in {found['attempts']} attempts, {found['resumed']} resumes"),
            ("outcomes", ", ".join(f"{n} {outcome}" for outcome, n in found["outcomes"].items()) or "none"),
            ("reused", _reused(found)),
            ("replayed", f"{found['replayed']} answers given again from the archive"),
            ("in doubt", _doubts(found)),
            *(("worker " + worker["worker"], team.sentence(worker)) for worker in found["workers"]),
            *((f"plan {n}", _planned(plan)) for n, plan in enumerate(found["plans"], start=1)),
            ("flags", _flagged(found)),
            *((("older layout", _origins(found["origins"])),) if found["origins"] else ()),
            ("models", ", ".join(f"{model} ({n})" for model, n in found["models"].items()) or "none"),
            ("tokens", f"{found['tokens_used']}" + (f" at least ({without} calls do not say)" if without else "")),
            ("cost", found["cost"] if found["calls"] or found["in_doubt_cost_unknown"] else "nothing was sent"),
            *((("repriced", _repriced(found["repriced"])),) if found["repriced"] else ()),
            ("saved by replay", _saved(found["saved_by_replay_usd"])),
            *([("waiting", _spilled(found))] if found["spilled"] else []),
            *([("backlog", behind.sentence(found["backlog"]))] if found["backlog"] else []),
            ("redacted", f"{found['redacted']} answers had a secret cut out, and replay without it"),
            ("damage", f"{found['damaged_lines']} damaged lines, {found['torn_tails']} torn tails"),
            *([("gone", _gone(found["vanished"]))] if found["vanished"] else []),
        ]
    )


def _gone(count: int) -> str:
    return f"{count} calls that were complete are in no segment any more: put the files back from a copy"


def _reused(found: dict[str, Any]) -> str:
    whose = ", ".join(f"{n} answers of {session}" for session, n in found["reused"].items())
    return f"{whose}; what was paid there: {found['reused_cost']}" if whose else "none"


def _repriced(found: dict[str, Any]) -> str:
    return f"{found['cost']}, by custody cost reprice on {found['time'][:10]} (run {found['run']})"


def _planned(plan: dict[str, Any]) -> str:
    fields = {name: value for name, value in plan.items() if name != "pending"}
    return pending.sentence(pending.Pending(**fields))


def _saved(usd: str | None) -> str:
    return "unknown" if usd is None else shown(Decimal(usd))


def _flagged(found: dict[str, Any]) -> str:
    session = found["path"] if "://" in found["path"] else found["session"]
    return f"{found['flagged']} calls flagged: see custody forensics {session}" if found["flagged"] else "none"


def _spilled(found: dict[str, Any]) -> str:
    files = found["spilled"]
    return f"records that the archive could not take are in {', '.join(files)}: the next start takes them in"


def _origins(origins: dict[str, int]) -> str:
    return f"{sum(origins.values())} of the calls are salvaged: " + ", ".join(f"{n} {o}" for o, n in origins.items())


def _doubts(found: dict[str, Any]) -> str:
    doubts = found["in_doubt"]
    if found["in_flight"]:
        return f"{found['in_flight']} in flight"
    if not doubts:
        return "none"
    again = sum(1 for doubt in doubts if doubt["answered_by"])
    unknown = found["in_doubt_cost_unknown"]  # also of those that were asked again: each may have been paid, too
    cost = f" ({'their' if unknown == len(doubts) else f'{unknown} of them: the'} cost is unknown)" if unknown else ""
    return f"{len(doubts)} sent without an answer on record{cost}; {again} of them asked again since and answered"


@click.command()
@_session
@_root
@_json
def calls(session: str, root: str, as_json: bool) -> None:
    """The calls of SESSION, one a line."""
    found = open_session(session, root).calls()
    if as_json:
        print_json([call.fields for call in found])
        return
    rows = [
        (
            call.id,
            " ".join(f"{k}={v}" for k, v in call.scope.items()),
            call.fields["replicate"],
            call.fields["operation"],
            call.model_forensics["actual_model"] or call.model_forensics["requested_model"],
            f"{call.outcome} ({call.fields['origin']})" if call.fields.get("origin") else call.outcome,
            len(call.fields["attempts"]),
            call.response_metadata["tokens_used"],
            call.response_metadata["response_time_ms"],
        )
        for call in found
    ]
    print_table(("call", "scope", "n", "operation", "model", "outcome", "attempts", "tokens", "ms"), rows)


@click.command()
@_session
@click.argument("call", required=False)
@_root
@_json
def show(session: str, call: str | None, root: str, as_json: bool) -> None:
    """What SESSION is, or one CALL of it: its record, request and response.

    CALL is an id, or the end of one.
    """
    opened = open_session(session, root)
    if call is None:
        _show_session(opened, as_json)
        return
    calls = {c.id: c for c in opened.calls()}
    _show_call(calls[one_id(calls, call, opened.manifest.session)], as_json)


def _show_session(opened: StoredSession, as_json: bool) -> None:
    files = [entry._asdict() for entry in opened.storage.list()]
    if as_json:
        print_json({"manifest": opened.manifest.model_dump(), "path": str(opened.path), "files": files})
        return
    manifest = opened.manifest
    print_pairs([
        ("session", manifest.session),
        ("folder", opened.path),
        ("created", manifest.created),
        ("command", " ".join(manifest.command or ["unknown"])),
        ("custody / Python", f"{manifest.custody} / {manifest.python}"),
        ("plugins", ", ".join(f"{p.name} {p.version}" for p in manifest.plugins)),
    ])  # fmt: skip
    print_table(("file", "bytes"), [(f["name"], f["size"]) for f in files])


def _show_call(call: Call, as_json: bool) -> None:
    request, answer = call.request, call.response
    if as_json:
        print_json({"call": call.fields, "request": request, "response": _answer_dict(answer)})
        return
    fields = call.fields
    print_pairs([
        ("call", call.id),
        ("outcome", call.outcome),
        *((("origin", f"{fields['origin']}: of an older layout"),) if fields.get("origin") else ()),
        ("scope", " ".join(f"{k}={v}" for k, v in call.scope.items()) or "(none)"),
        ("replicate", fields["replicate"]),
        ("started / ended", f"{fields['started']} / {fields['ended']}"),
        *((name, _with_evidence(value, fields["evidence"].get(name))) for name, value in call.model_forensics.items()),
        *((name, _with_evidence(v, fields["evidence"].get(name))) for name, v in call.response_metadata.items()),
        ("request", f"{request['method']} {request['url']}"),
    ])  # fmt: skip
    click.echo("\n--- request body ---")
    missing = request.get("unknown", {}).get("body")
    click.echo(f"unknown  [{missing}]" if missing else safe(call.request_body.decode("utf-8", "replace")))
    click.echo("--- response ---")
    if answer is None:
        click.echo("none")
        return
    status = answer.head.status or "status"
    click.echo(f"{status} {safe(answer.head.reason)}" + ("" if answer.complete else " (incomplete)"))
    for frame in answer.frames:
        click.echo(
            f"{frame.at_ms:>10.1f} ms  {in_line(frame.direction)} {in_line(frame.kind):<12}  {in_line(_text(frame))}"
        )
    if not answer.frames:
        click.echo(safe(answer.content.decode("utf-8", "replace")))


def _text(frame: Frame) -> str:
    """A frame's text, or what it is otherwise."""
    readable = frame.kind.startswith(("text", "continuation"))
    return frame.data.decode("utf-8", "replace") if readable else f"{len(frame.data)} bytes"


def _with_evidence(value: object, evidence: str | None) -> str:
    shown = "unknown" if value is None else str(value)
    return f"{shown}  [{evidence.removeprefix('unknown:')}]" if evidence else shown


def _answer_dict(answer: Answer | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    return {
        "status": answer.head.status,
        "headers": [list(pair) for pair in answer.head.headers],
        "complete": answer.complete,
        "content": answer.content.decode("utf-8", "replace"),
        "chunks": len(answer.chunks),
        **({"frames": [_frame_dict(frame) for frame in answer.frames]} if answer.frames else {}),
    }


def _frame_dict(frame: Frame) -> dict[str, Any]:
    return {"at_ms": frame.at_ms, "direction": frame.direction, "kind": frame.kind, "body": lines.pack(frame.data)}


@click.command()
@_session
@_root
@click.option("--deep", is_flag=True, help="Recompute every SHA-256, besides the checksum of every line.")
@click.option("--processes", type=click.IntRange(1), help="Work in so many processes; the number of cores by default.")
@engine_options
@_json
def verify(
    session: str, root: str, deep: bool, processes: int | None, engine: str | None, workers: int | None, as_json: bool
) -> None:
    """Check every byte of SESSION against what it says of itself. Exits 0 sound, 1 not, 2 misuse."""
    storage = open_storage(session, root)
    with chosen(engine, workers) as running:
        verdict = verify_session(storage, deep=deep, processes=processes or os.cpu_count() or 1, engine=running)
    if as_json:
        print_json(verdict.as_dict())
    else:
        for problem in verdict.problems:
            click.echo(f"PROBLEM  {safe(problem)}")
        for remark in verdict.remarks:
            click.echo(f"remark   {safe(remark)}")
        word = "sound" if verdict.sound else f"NOT SOUND: {len(verdict.problems)} problems"
        click.echo(
            f"{safe(verdict.session)}: {word} ({verdict.calls} calls, {verdict.lines} lines, "
            f"{verdict.segments} segments; "
            "integrity, not authenticity: nothing is signed)"
        )
    sys.exit(0 if verdict.sound else 1)
