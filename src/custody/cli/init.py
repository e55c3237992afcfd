"""``custody init``: folders for a project or an experiment."""

from __future__ import annotations

import click

from custody import layout
from custody.cli.console import safe
from custody.research import templates
from custody.storage.folders import local


@click.command()
@click.argument("project")
@click.argument("experiment", required=False)
@click.option("--root", default=".", show_default=True, help="The folder that holds projects/.")
def init(project: str, experiment: str | None, root: str) -> None:
    """Make PROJECT, or EXPERIMENT in it with a commented template. What is there is never overwritten."""
    project = layout.checked_name("project", project)
    experiment = layout.checked_name("experiment", experiment) if experiment is not None else None
    for path in templates.make(local(root, "custody init"), project, experiment):
        click.echo(f"made {safe(path)}")
    if experiment is not None:
        click.echo("Put the documents into corpus/, say in experiment.md what is asked, then:")
        click.echo(f"  custody run --project {safe(project)!r} --experiment {safe(experiment)!r} -- python study.py")
