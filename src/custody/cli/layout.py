"""``custody layout``: what each file of a tree is for."""

from __future__ import annotations

import sys

import click

from custody.cli.console import print_json, say
from custody.cli.stored import one_root
from custody.cli.table import Column, print_rows
from custody.report import tree
from custody.storage.folders import local


@click.command()
@click.argument("place", metavar="[PATH]", required=False)
@click.option("--root", help="The same as PATH, as other commands have it; a folder, no URL.  [default: .]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def layout(place: str | None, root: str | None, as_json: bool) -> None:
    """What each file below PATH is for (a root, project, experiment or session).

    Exits 1 where a file does not belong.
    """
    found = list(tree.explain(local(one_root(place, root), "custody layout")))
    foreign = [one for one in found if one.foreign]
    if as_json:
        print_json([vars(one) for one in found])
    else:
        columns = (Column("bytes", right=True), Column("file"), Column("what it answers", 1))
        print_rows(columns, lambda: ((one.size, one.name, _said(one)) for one in found))
        if foreign:
            say(f"custody: {len(foreign)} files do not belong here, the first is {foreign[0].name}")
    sys.exit(1 if foreign else 0)


def _said(one: tree.Explained) -> str:
    return f"FOREIGN: {one.question}" if one.foreign else one.question
