"""``custody sessions``: all of them, with reasons."""

from __future__ import annotations

import click

from custody.cli.console import print_json, say
from custody.cli.stored import json_option, one_root
from custody.cli.table import Column, print_rows
from custody.errors import UsageError
from custody.report import listing
from custody.storage.folders import folder


@click.command()
@click.argument("place", metavar="[ROOT]", required=False)
@click.option("--root", help="The folder or URL that holds projects/, as of other commands.  [default: .]")
@json_option
def sessions(place: str | None, root: str | None, as_json: bool) -> None:
    """Every session below ROOT: finished, failed, interrupted, abandoned and removed ones, with the reason."""
    where = folder(one_root(place, root))
    if not (where / "projects").is_dir():
        raise UsageError(f"{where} holds no projects/: give the folder that does")
    found = list(listing.sessions(where))
    if as_json:
        print_json(found)
        return
    if not found:
        say(f"no session below {where}: custody run starts one")
        return
    columns = (
        Column("session"), Column("project", 2), Column("experiment", 2), Column("state"),
        Column("answers", 1, right=True),
        Column("failed", 3, right=True), Column("resumes", 3, right=True), Column("why", 1),
    )  # fmt: skip
    names = ("session", "project", "experiment", "state", "answered", "failed_calls", "resumed", "reason")
    print_rows(columns, lambda: (tuple(one[name] for name in names) for one in found))
