"""``custody drift``: what differs from what was frozen."""

from __future__ import annotations

import click

from custody import layout
from custody.cli.console import in_line, print_json
from custody.cli.stored import json_option, root_option, session_argument
from custody.report import drift as drifts
from custody.storage.folders import folder


@click.command()
@session_argument
@root_option
@json_option
def drift(session: str, root: str, as_json: bool) -> None:
    """How definition, framework, corpus and environment of SESSION differ from those that were frozen before."""
    found = list(drifts.drifts(layout.find_session(folder(root), session)))
    if as_json:
        print_json([{**_head(one), "lines": drifts.lines(one)} for one in found])
        return
    for one in found:
        since = "the experiment's frozen one" if one.since == "experiment" else "the start of this session"
        summary = "" if one.kind == "environment" else f": {in_line(one.summary)}"
        click.echo(f"{one.kind}: differs from {since}{summary}")
        for line in drifts.lines(one):
            click.echo(f"  {in_line(line)}")
    if not found:
        click.echo("no difference")


def _head(one: drifts.Drift) -> dict[str, str]:
    return {"kind": one.kind, "since": one.since}
