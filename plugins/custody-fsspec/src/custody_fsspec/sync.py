"""``custody sync``: store what programs have left on this machine (``CUSTODY_DURABILITY=local-then-remote``)."""

from __future__ import annotations

import sys

import click

from custody.cli.console import safe
from custody.plugin import StorageError, UsageError
from custody_fsspec import backlog
from custody_fsspec.clients import objects_of
from custody_fsspec.part import all_parts
from custody_fsspec.settings import Settings


@click.command()
@click.argument("url", required=False)
@click.option("--give-up", is_flag=True, help="What another machine has not stored of the session URL is lost: go on.")
def sync(url: str | None, give_up: bool) -> None:
    """Store what was left on this machine of sessions, of URL and below or of all.

    That is what a program with CUSTODY_DURABILITY=local-then-remote had not stored when it ended. The next start does
    the same.
    """
    settings = Settings.from_environment()
    if url is not None and "://" not in url:
        raise UsageError(f"{url!r} is no URL of sessions, such as s3://bucket/study")
    if give_up:
        if url is None:
            raise UsageError("--give-up needs the URL of the session")
        _give_up(url, settings)
        return
    found = stuck = 0
    for part in all_parts():
        try:
            objects = objects_of(part.url, settings)
            if objects is None or not f"{part.url}/".startswith(f"{(url or part.url).rstrip('/')}/"):
                continue
            if objects.store != part.store:
                stuck += 1
                click.echo(
                    f"{safe(part.url)}: is of another server ({safe(part.store)}); set its address, and try again"
                )
                continue
            found += 1
            calls, size = backlog.here(part, objects)
            try:
                stored = backlog.catch_up(objects, part)
            except (OSError, StorageError) as error:
                stuck += 1
                click.echo(f"{safe(part.url)}: {backlog.amount(calls, size)} stay in {part.folder}: {safe(str(error))}")
                continue
            if stored:
                click.echo(f"{safe(part.url)}: {backlog.amount(calls, size)} stored")
            else:
                stuck += 1
        finally:
            part.close()
    if not found and not stuck:
        click.echo("nothing was left on this machine")
    sys.exit(1 if stuck else 0)


def _give_up(url: str, settings: Settings) -> None:
    objects = objects_of(url, settings)
    found = backlog.marker(objects) if objects is not None else None
    if objects is None or found is None:
        raise UsageError(f"{url}: no machine has written anything of this session that is not stored")
    objects.delete([backlog.MARKER])
    click.echo(
        f"{safe(url)}: what machine {safe(found.machine)} has not stored is given up; calls that lie there only are "
        "paid again when they are asked again"
    )
