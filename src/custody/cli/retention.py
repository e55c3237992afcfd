"""``custody prune``: removes what is old and lies, verified, elsewhere."""

from __future__ import annotations

import os
import sys

import click

from custody.cli.console import in_line, print_json, say
from custody.cli.stored import json_option
from custody.cli.table import Column, print_rows
from custody.errors import UsageError
from custody.storage.folders import folder
from custody.transfer import retention
from custody.transfer.retention import Decision, Rule

_WORDS = {"keep": "kept", "refuse": "REFUSED", "remove": "would go", "removed": "removed"}


@click.command()
@click.option("--verified-at", "other", required=True, metavar="ROOT", help="The root of the copies, a folder or URL.")
@click.option("--older-than", metavar="AGE", help="Last written to so long ago: 90d, 8w, 12h.")
@click.option(
    "--keep", type=click.IntRange(0), help="Keep the newest so many of each experiment; 0 keeps none for that."
)
@click.option("--project", help="Only of this project.")
@click.option("--experiment", help="Only of experiments of this name.")
@click.option("--yes", "apply", is_flag=True, help="Do it. Without this, nothing is removed.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; so it is without --yes.")
@click.option("--root", default=".", show_default=True, help="The folder or URL that holds projects/.")
@json_option
def prune(
    other: str, older_than: str | None, keep: int | None, project: str | None, experiment: str | None, apply: bool,
    dry_run: bool, root: str, as_json: bool,
) -> None:  # fmt: skip
    """Remove sessions that are old, and of which a verified copy lies at another root.

    A session is removed only if its copy has the same bytes and custody verify --deep finds it sound; both are read
    for that, with and without --yes. What it was and where its copy is stays on record. Exits 1 where one is refused.
    """
    if apply and dry_run:
        raise UsageError("give one of --yes and --dry-run")
    if older_than is None and keep is None:
        raise UsageError(
            "say what may go: --older-than 90d, or --keep 5 for all but the newest of each experiment (--keep 0: all)"
        )
    rule = Rule(retention.before(older_than), keep or 0, project, experiment)
    where, copies = folder(root), folder(other)
    if where == copies:
        raise UsageError(f"{where} holds the sessions themselves: --verified-at names the root of their copies")
    found = []
    for one in retention.prune(where, copies, rule, apply=apply, processes=os.cpu_count() or 1):
        found.append(one)
        if one.action == "removed":  # said at once: an interruption later does not undo it
            say(f"custody: removed {one.path}; its verified copy is {one.copy}")
    if as_json:
        print_json({"root": str(where), "verified_at": str(copies), "applied": apply,
                    "sessions": [one.as_dict() for one in found]})  # fmt: skip
    else:
        _tell(found, apply=apply)
    sys.exit(1 if any(one.action == "refuse" for one in found) else 0)


def _tell(found: list[Decision], *, apply: bool) -> None:
    if not found:
        click.echo("no session")
        return
    columns = [
        Column(""), Column("session"), Column("project", 2), Column("experiment", 2), Column("last written"),
        Column("calls", 2, right=True), Column("bytes", 2, right=True), Column("in doubt", 1, right=True),
        Column("why", 1),
    ]  # fmt: skip
    print_rows(
        columns,
        lambda: (
            (
                _WORDS[one.action], one.session, one.project, one.experiment, (one.last or "")[:16], one.calls or None,
                one.bytes or None, one.in_doubt or None, one.why or (one.copy and f"verified: {one.copy}"),
            )
            for one in found
        ),
    )  # fmt: skip
    going = [one for one in found if one.action in ("remove", "removed")]
    total = f"{len(going)} of {len(found)} sessions, {sum(one.bytes for one in going)} bytes"
    doubts = sum(one.in_doubt for one in going)
    if doubts:
        click.echo(
            f"{doubts} calls of them are in doubt: sent, without an outcome on record; so they are in the copies"
        )
    for one in found:
        if one.action == "refuse":
            click.echo(f"REFUSED  {in_line(one.session)}: {in_line(one.why)}")
    click.echo(f"{total} were removed" if apply else f"{total} would be removed; nothing was: --yes")
