"""``custody cost``: what a session cost, by what, and what it would cost by the prices of today."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path

import click

from custody.cli.console import encodable, print_json, print_pairs, say
from custody.cli.engine import chosen, engine_options, warn_of_damage
from custody.cli.stored import json_option, open_session, open_storage, root_option, session_argument
from custody.cli.table import Column, print_rows
from custody.cost import load
from custody.cost.money import dollars
from custody.engines import Engine
from custody.errors import UsageError
from custody.report.cost import DIMENSIONS, Sum, named, shown
from custody.report.cost_plot import bars
from custody.report.repricing import Repriced, append, reprice
from custody.report.tally import Tally, tallied
from custody.sessions import manifest as manifests


class _Cost(click.Group):
    """``custody cost SESSION``, and ``custody cost reprice SESSION``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["of", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Cost)
def cost() -> None:
    """What a session cost. ``custody cost SESSION`` is ``custody cost of SESSION``."""


@cost.command()
@session_argument
@click.option("--by", help=f"A row for each {', '.join(DIMENSIONS)}, or label of the scope (corpus_file, ...).")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, amounts exact.")
@click.option("--plot", type=click.Path(dir_okay=False), help="Write bars to a file in SVG.")
@engine_options
@root_option
@json_option
def of(
    session: str, by: str | None, as_csv: bool, plot: str | None, engine: str | None, workers: int | None, root: str,
    as_json: bool,
) -> None:  # fmt: skip
    """What SESSION cost, as its calls were priced when they were made."""
    with chosen(engine, workers) as running:
        name, tally = _tally(session, root, by or "model", running)
    if by is not None and by not in DIMENSIONS and by not in tally.labels:
        raise UsageError(
            f"no call of {name} has a label {by!r}; there are: {', '.join(sorted(tally.labels)) or 'none'}"
        )
    whole, groups = tally.whole, tally.ordered
    if plot:
        _write(plot, bars(groups, f"{name}: cost by {by or 'model'}, {whole.sentence}"))
        say(f"custody: wrote {plot}")
    if as_json:
        parts = [{"value": name, **part.as_dict()} for name, part in groups.items()]
        print_json({"session": name, **whole.as_dict(), "by": by or "model", "groups": parts,
                    "methods": tally.methods})  # fmt: skip
    elif as_csv:
        click.echo(encodable(_csv(by or "model", groups)), nl=False)
    else:
        _print(by or "model", groups, whole, tally.methods)


def _tally(session: str, root: str, by: str, engine: Engine | None) -> tuple[str, Tally]:
    """The session's id, and its sums: from its index, or from all its segments where an engine reads them."""
    if engine is not None:
        storage = open_storage(session, root)
        told = tallied(storage, by, engine)
        warn_of_damage(told.damaged)
        return manifests.read(storage).session, told.tally
    opened, tally = open_session(session, root), Tally(by)
    warn_of_damage(opened.damaged)
    given = opened.replays()
    for call in opened.calls():
        tally.add(call.fields, given[call.id])
    return opened.manifest.session, tally


def _print(by: str, groups: dict[str, Sum], whole: Sum, sentence: str) -> None:
    columns = (Column(by), Column("calls", right=True), Column("cost", right=True), Column("tokens", 2, right=True),
               Column("replayed", 3, right=True), Column("saved", 2, right=True), Column("unpriced", 1))  # fmt: skip
    print_rows(columns, lambda: [_row(name, part) for name, part in groups.items()])
    click.echo()
    print_pairs([
        ("cost", whole.sentence),
        ("saved by replay", f"{_saved(whole)} ({whole.replays} answers given again)"),
        ("saved by vendors' caches", _signed(whole)),
        ("unbilled", f"{whole.unbilled} calls refused by their status, or without usage"),
        ("for the methods section", sentence),
    ])  # fmt: skip


def _row(name: str, part: Sum) -> tuple[object, ...]:
    amount = "unknown" if part.known is None else _amount(part, part.known)
    unpriced = named(part.unpriced + part.beyond) if part.unpriced or part.beyond else ""
    return name, part.calls, amount, part.tokens, part.replays or "", _saved(part) if part.replays else "", unpriced


def _amount(part: Sum, usd: Decimal) -> str:
    more = bool(part.unpriced or part.beyond)
    return f"{'>=' if more else ''}{shown(usd, least=more)}"


def _saved(part: Sum) -> str:
    return "unknown" if part.known_saved is None else shown(part.known_saved)


def _signed(whole: Sum) -> str:
    return shown(whole.cache_saved) if whole.cache_saved >= 0 else f"-{shown(-whole.cache_saved)}"


def _csv(by: str, groups: dict[str, Sum]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = ("calls", "cost_usd", "complete", "priced", "unbilled", "tokens", "replays", "saved_by_replay_usd",
             "saved_by_vendor_caches_usd")  # fmt: skip
    writer.writerow([by, *names, "unpriced"])
    for value, part in groups.items():
        fields = part.as_dict()
        label = f"'{value}" if value[:1] in "=+-@\t\r" else value  # no spreadsheet takes it for a formula
        writer.writerow([label, *(fields[name] for name in names), sum(part.unpriced.values())])
    return out.getvalue()


@cost.command("reprice")
@session_argument
@click.option("--rates", type=click.Path(dir_okay=False), help="A file with your own rates (docs/cost.md).")
@click.option("--dry-run", is_flag=True, help="Show the difference, write nothing.")
@root_option
@json_option
def reprice_command(session: str, rates: str | None, dry_run: bool, root: str, as_json: bool) -> None:
    """Price SESSION's calls anew, by the tables of today at the day of each call.

    The figures on the call lines stay; the new ones are appended to a file beside them.
    """
    opened = open_session(session, root)
    found = reprice(opened, load(rates) if rates else None)
    if not dry_run and found:
        append(opened, found)
    if as_json:
        print_json([{"call": one.call, "old": one.old, "new": one.new, "changed": one.changed} for one in found])
        return
    changed = [one for one in found if one.changed]
    columns = (Column("call"), Column("old", right=True), Column("new", right=True), Column("difference", right=True))
    if changed:
        print_rows(columns, lambda: [_difference(one) for one in changed])
    say(f"custody: {len(changed)} of {len(found)} calls are priced differently" + ("" if dry_run else ", all are kept"))


def _difference(one: Repriced) -> tuple[object, ...]:
    old, new = dollars(one.old.get("cost_usd")), dollars(one.new["cost_usd"])
    return (
        one.call,
        one.old.get("reason") if old is None else f"${one.old['cost_usd']}",
        one.new["reason"] if new is None else f"${one.new['cost_usd']}",
        "" if old is None or new is None else f"{new - old:+f}",
    )


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
