"""``custody export``: a table of calls, in a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO

import click

from custody.cli.console import in_line, say
from custody.cli.engine import chosen, engine_options, warn_of_damage
from custody.cli.stored import open_storage, root_option
from custody.errors import UsageError
from custody.export.formats import FORMATS, new_file, writer
from custody.export.remote import new_object
from custody.export.stream import Export
from custody.storage.folders import RemoteFolder, folder


@click.command()
@click.argument("sessions", nargs=-1, required=True, metavar="SESSION...")
@click.option("--to", "form", type=click.Choice(FORMATS), required=True, help="parquet needs custody[sql].")
@click.option("--out", metavar="FILE|URL", help="The file, or its URL.  [default: standard output; not for parquet]")
@click.option("--content", is_flag=True, help="Requests and responses, too: text that may be private or protected.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@engine_options
@root_option
def export(
    sessions: tuple[str, ...], form: str, out: str | None, content: bool, force: bool, engine: str | None,
    workers: int | None, root: str,
) -> None:  # fmt: skip
    """One row for each call of each SESSION, without prompts and answers. docs/export.md explains every column."""
    if out is None and form == "parquet":
        raise UsageError("Parquet is no text: give --out FILE")
    storages = [open_storage(session, root) for session in sessions]
    with chosen(engine, workers) as running:
        wanted = Export(storages, content=content, engine=running)
        if out is None:
            _write(wanted, form, sys.stdout.buffer, terminal=sys.stdout.isatty())
        else:
            place = folder(out) if "://" in out else Path(out)
            with (
                new_object(place, replace=force) if isinstance(place, RemoteFolder) else new_file(place, replace=force)
            ) as file:
                _write(wanted, form, file, terminal=False)
    warn_of_damage(wanted.damaged)
    if out is not None:
        say(f"custody: wrote {wanted.rows} calls to {out}")


def _write(wanted: Export, form: str, file: IO[bytes], *, terminal: bool) -> None:
    made = writer(form, wanted.columns, file, in_line if terminal else None)
    for group in wanted:
        made.write(group)
    made.close()
    file.flush()
