"""``custody cost``: what a session cost, by what, and what it would cost by the prices of today."""

from __future__ import annotations

from pathlib import Path

import click

from custody.cli.console import encodable, print_json, print_pairs, say
from custody.cli.cost_view import View
from custody.cli.engine import chosen, engine_options, warn_of_damage
from custody.cli.stored import RATES_HELP, json_option, open_session, open_storage, root_option, session_argument
from custody.cli.table import Column, print_rows
from custody.cost.money import dollars
from custody.cost.rates import chosen as chosen_rates
from custody.engines import Engine
from custody.errors import UsageError
from custody.report.cost import DIMENSIONS
from custody.report.cost_plot import bars
from custody.report.repricing import Repriced, append, reprice
from custody.report.tally import SegmentTally, indexed, tallied
from custody.sessions import manifest as manifests


class _Cost(click.Group):
    """``custody cost SESSION``, and ``custody cost reprice SESSION``. Its help has the options of the first."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["of", *args]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return ["SESSION", "[OPTIONS]", "|", "COMMAND", "[ARGS]..."]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        options = [option for option in of.get_params(ctx) if isinstance(option, click.Option)]
        with formatter.section("Options of custody cost SESSION"):
            formatter.write_dl([told for option in options if (told := option.get_help_record(ctx)) is not None])
        self.format_commands(ctx, formatter)


@click.group(cls=_Cost)
def cost() -> None:
    """What a session cost, as its calls were priced when they were made.

    An answer that was reused from another session was paid for there, and is counted apart. "custody cost of SESSION"
    is the same, also for a session whose id is the name of a command.
    """


@cost.command()
@session_argument
@click.option("--by", help=f"A row for each {', '.join(DIMENSIONS)}, or label of the scope (corpus_file, ...).")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, amounts exact.")
@click.option("--plot", type=click.Path(dir_okay=False), help="Write bars to a file in SVG, and say where it is.")
@click.option("--repriced", is_flag=True, help="By the last custody cost reprice, in place of the recorded figures.")
@engine_options
@root_option
@json_option
def of(
    session: str, by: str | None, as_csv: bool, plot: str | None, repriced: bool, engine: str | None,
    workers: int | None, root: str, as_json: bool,
) -> None:  # fmt: skip
    """What SESSION cost, as its calls were priced when they were made.

    An answer that was reused from another session was paid for there, and is counted apart.
    """
    with chosen(engine, workers) as running:
        name, found = _tally(session, root, by or "model", running)
    shown_tally = found.later if repriced else found.tally
    if shown_tally is None:
        raise UsageError(f"{name} was never priced anew: custody cost reprice {name} does")
    if by is not None and by not in DIMENSIONS and by not in shown_tally.labels:
        raise UsageError(
            f"no call of {name} has a label {by!r}; there are: {', '.join(sorted(shown_tally.labels)) or 'none'}"
        )
    view = View(found, shown_tally)
    if as_json:
        print_json({"session": name, **view.as_dict()})
    elif as_csv:
        click.echo(encodable(view.csv()), nl=False)
    else:
        _print(view)
    if plot:
        title = f"{name}: {'repriced ' if repriced else ''}cost by {by or 'model'}, {shown_tally.whole.sentence}"
        _write(plot, bars(shown_tally.ordered, title))
        say(f"custody: wrote the cost by {by or 'model'}, as bars in SVG, to {Path(plot).resolve()}")


def _tally(session: str, root: str, by: str, engine: Engine | None) -> tuple[str, SegmentTally]:
    """The session's id, and its sums: from its index, or from all its segments where an engine reads them."""
    if engine is not None:
        storage = open_storage(session, root)
        told = tallied(storage, by, engine)
        warn_of_damage(told.damaged)
        return manifests.read(storage).session, told
    opened = open_session(session, root)
    warn_of_damage(opened.damaged)
    told = indexed(opened, by)
    return opened.manifest.session, told


def _print(view: View) -> None:
    print_rows(view.columns, view.rows)
    click.echo()
    print_pairs(view.pairs())


@cost.command("reprice")
@session_argument
@click.option("--rates", type=click.Path(dir_okay=False), help=RATES_HELP)
@click.option("--dry-run", is_flag=True, help="Show the difference, write nothing.")
@root_option
@json_option
def reprice_command(session: str, rates: str | None, dry_run: bool, root: str, as_json: bool) -> None:
    """Price SESSION's calls anew, by the tables of today at the day of each call.

    The figures on the call lines stay; the new ones are appended to a file beside them, and "custody cost SESSION"
    shows both.
    """
    opened = open_session(session, root)
    found = reprice(opened, chosen_rates(rates))
    if not dry_run and found:
        append(opened, found)
    if as_json:
        print_json([{"call": one.call, "old": one.old, "new": one.new, "changed": one.changed} for one in found])
        return
    changed = [one for one in found if one.changed]
    columns = (Column("call"), Column("old", right=True), Column("new", right=True), Column("difference", right=True))
    if changed:
        print_rows(columns, lambda: [_difference(one) for one in changed])
    kept = "" if dry_run or not found else ", all are kept; custody cost shows them beside the recorded figures"
    say(f"custody: {len(changed)} of {len(found)} calls are priced differently{kept}")


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
