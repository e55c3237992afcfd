"""``custody forensics``: who answered the calls of a stored session."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import click

from custody.cli.console import print_json, print_pairs, safe
from custody.cli.engine import chosen, engine_options, warn_of_damage
from custody.cli.stored import json_option, one_id, open_session, open_storage, root_option, session_argument, short_ids
from custody.cli.table import Column, print_rows
from custody.engines import Engine
from custody.report import forensics as report
from custody.report.call_lines import gathered
from custody.report.forensics import USAGE, Group, Row, Value
from custody.sessions import manifest as manifests
from custody.sessions.manifest import Manifest

_GROUP_COLUMNS = (
    Column("requested"),
    Column("actual"),
    Column("vendor", 1),
    Column("calls", 0, right=True),
    Column("reused", 1, right=True),
    Column("outcomes", 2),
    Column("flags", 1),
    *(Column(name, 3, right=True) for name in USAGE),
    Column("api version", 5),
    Column("built", 4),
    Column("region", 4),
    Column("organization", 6),
    Column("fingerprint", 6),
    Column("tier asked", 6),
    Column("tier", 5),
    Column("sdk", 7),
    Column("transport", 7),
    Column("attempts", 7, right=True),
    Column("unknown", 5),
)
_CALL_COLUMNS = (
    Column("call"),
    Column("scope", 3),
    Column("operation", 6),
    Column("requested", 4),
    Column("actual"),
    Column("vendor", 5),
    Column("outcome"),
    Column("reused from", 3),
    Column("finish", 5),
    *(Column(name, 4, right=True) for name in USAGE),
    Column("first ms", 5, right=True),
    Column("ms", 3, right=True),
    Column("attempts", 3),
    Column("request id", 6),
    Column("fingerprint", 7),
    Column("region", 7),
    Column("tier asked", 8),
    Column("tier", 7),
    Column("parameters", 9),
    Column("flags", 0),
    Column("unknown", 8),
)


@click.command()
@session_argument
@click.option(
    "--call", "wanted", metavar="ID", help="One call, every value with its evidence; an id or the end of one."
)
@engine_options
@root_option
@json_option
def forensics(
    session: str, wanted: str | None, engine: str | None, workers: int | None, root: str, as_json: bool
) -> None:
    """Who answered the calls of SESSION: models, vendors, versions, usage, times, each value with its evidence.

    The flags are explained in docs/forensics.md.
    """
    with chosen(engine, workers) as running:
        manifest, lines = _lines(session, root, running)
    if wanted is not None:
        name = one_id((str(line.get("id")) for line in lines), wanted, manifest.session)
        row = next(row for row in report.rows(lines) if row.id == name)
        if as_json:
            print_json(row.as_dict())
        else:
            _print_call(row)
        return
    found = report.groups(report.rows(lines))
    if as_json:
        _stream_json(manifest, found, lines)
        return
    _print_groups(manifest, found, len(lines))
    if lines:
        click.echo()
        short = short_ids(str(line.get("id")) for line in lines)
        print_rows(_CALL_COLUMNS, lambda: (_call_cells(row, short) for row in report.rows(lines)))
    _print_sums(found)


def _lines(session: str, root: str, engine: Engine | None) -> tuple[Manifest, list[Mapping[str, Any]]]:
    """Call lines in order: from the session's index, or from all its segments where an engine reads them."""
    if engine is None:
        opened = open_session(session, root)
        warn_of_damage(opened.damaged)
        return opened.manifest, report.in_order(call.fields for call in opened.archive.calls.values())
    storage = open_storage(session, root)
    found = gathered(storage, engine)
    warn_of_damage(found.damaged)
    return manifests.read(storage), report.in_order(found.lines)


def _stream_json(manifest: Manifest, found: list[Group], lines: list[Mapping[str, Any]]) -> None:
    """One object; the calls, one a line, are written as they are made."""
    head = {
        "session": manifest.session,
        "project": manifest.project,
        "experiment": manifest.experiment,
        "total": len(lines),
        "reused": _total(group.reused for group in found),
        "flags": _total(group.flags for group in found),
        "unknown": _total(group.unknown for group in found),
        "models": [group.as_dict() for group in found],
    }
    write = sys.stdout.write
    write(json.dumps(head)[:-1] + ', "calls": [')
    for number, row in enumerate(report.rows(lines)):
        write((",\n" if number else "\n") + json.dumps(row.as_dict()))
    write("\n]}\n")


def _print_groups(manifest: Manifest, found: list[Group], calls: int) -> None:
    click.echo(f"{safe(manifest.session)}: {calls} calls, {len(found)} combinations of model and vendor\n")
    if found:
        print_rows(_GROUP_COLUMNS, lambda: map(_group_cells, found))


def _group_cells(group: Group) -> tuple[object, ...]:
    requested, actual, vendor = group.key
    values = {name: _few(seen) for name, seen in group.constant.items()}
    return (
        _or_unknown(requested), _or_unknown(actual), _or_unknown(vendor), group.calls,
        group.reused.total() or "", _counted(group.outcomes), _counted(group.flags),
        *(_at_least(group, name) for name in USAGE),
        values["api_version"], values["model_build_date"], values["deployment_region"], values["organization"],
        values["system_fingerprint"], values["service_tier_requested"], values["service_tier"],
        values["sdk"], values["transport"], group.attempts, _counted(group.unknown),
    )  # fmt: skip


def _call_cells(row: Row, short: Mapping[str, str]) -> tuple[object, ...]:
    line, value = row.line, row.value
    scope = line.get("scope")
    return (
        short.get(row.id, row.id), _named(scope) if isinstance(scope, dict) else "", line.get("operation"),
        _or_unknown(value("requested_model")), _or_unknown(value("actual_model")), _or_unknown(value("vendor")),
        line.get("outcome"), row.origin or "", value("finish_reason"), *(value(name) for name in USAGE),
        value("first_byte_ms"), value("response_time_ms"), _statuses(row),
        value("provider_request_id"), value("system_fingerprint"), value("deployment_region"),
        value("service_tier_requested"), value("service_tier"), _named(row.parameters),
        " ".join(row.judgement.flags), _counted(row.unknown),
    )  # fmt: skip


def _print_sums(found: list[Group]) -> None:
    flags = _total(group.flags for group in found)
    unknown = _total(group.unknown for group in found)
    click.echo()
    reused = _total(group.reused for group in found)
    print_pairs([
        *((("reused", f"{_answers(reused)}; tokens and attempts above are without them"),) if reused else ()),
        ("flags", _counted(flags) or "none"),
        ("unknown values", _counted(unknown) or "none"),
        ("evidence", "with --json, or of one call with --call ID"),
    ])  # fmt: skip


def _answers(reused: Mapping[str, int]) -> str:
    return ", ".join(f"{count} answers of {session}" for session, count in reused.items())


def _print_call(row: Row) -> None:
    line = row.line
    judgement = row.judgement
    print_pairs([
        ("call", row.id),
        ("outcome", f"{line.get('outcome')} (status {line.get('status')}, ending {line.get('ending')})"),
        ("started / ended", f"{line.get('started')} / {line.get('ended')}"),
        *(("flag", f"{name}: {why}") for name, why in judgement.flags.items()),
        *(("not judged", f"{name}: {why}") for name, why in judgement.unjudged.items()),
        *((("reused from", f"{row.origin}: it was asked, and paid for, there"),) if row.origin else ()),
        *((name, _with_evidence(value)) for name, value in row.values.items()),
        *((f"usage {name}", _with_evidence(value)) for name, value in row.usage.items()),
        ("usage as stated", json.dumps(row.as_dict()["usage_raw"])),
        *((f"parameter {name}", f"{value}  [request]") for name, value in row.parameters.items()),
        *((f"attempt {n}", _attempt(attempt)) for n, attempt in enumerate(row.attempts, 1)),
    ])  # fmt: skip


def _attempt(attempt: Mapping[str, Any]) -> str:
    status = attempt.get("status")
    said = [f"status {status}" if status is not None else "no response", str(attempt.get("ending"))]
    said += [f"{attempt[name]}" for name in ("error", "vendor") if attempt.get(name)]
    return f"{', '.join(said)}; sent {attempt.get('sent')}, {attempt.get('total_ms')} ms"


def _with_evidence(value: Value) -> str:
    if value.value is None:
        return f"unknown  [{value.reason}]"
    return f"{value.value}  [{value.evidence or 'no evidence on record'}]"


def _statuses(row: Row) -> str:
    return " ".join(str(a.get("status") or a.get("error") or "-") for a in row.attempts)


def _named(pairs: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in pairs.items())


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _few(seen: Iterable[Any]) -> str:
    values = [str(value) for value in seen]
    return ", ".join(values[:3]) + (f" and {len(values) - 3} more" if len(values) > 3 else "")


def _at_least(group: Group, name: str) -> str:
    if name not in group.usage:
        return ""
    return f"{'>=' if group.unstated[name] else ''}{group.usage[name]}"


def _or_unknown(value: object) -> object:
    return "(unknown)" if value is None else value


def _total(counts: Iterable[Counter[str]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(sorted(total.items()))
