"""``custody copy``, ``custody move`` and ``custody compact``: sessions between storages."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict

import click

from custody import layout
from custody.cli.console import in_line, print_json, say
from custody.cli.stored import json_option as _json
from custody.cli.stored import root_option as _root
from custody.cli.stored import session_argument as _session
from custody.errors import SessionRemoved
from custody.sessions import behind
from custody.storage.folders import Folder, folder
from custody.transfer import compaction, copying, places, removing
from custody.transfer.copying import Copied

_to = click.option("--to", "target", required=True, metavar="ROOT", help="The folder or URL that is to hold projects/.")


@click.command()
@_session
@_to
@_root
@_json
def copy(session: str, target: str, root: str, as_json: bool) -> None:
    """Copy SESSION to another root, byte for byte, and verify the copy.

    What is there and equal is not sent again, so the same command goes on after an interruption. Nothing is ever
    overwritten. Exits 1 where the copy, which is equal, is not sound.
    """
    path = layout.find_session(folder(root), session)
    with (
        _interrupted(f"the copy in {target} is not finished; the same command goes on with it"),
        places.held(path, "copied") as source,
    ):
        copied, _ = copying.copy(source, folder(target), processes=os.cpu_count() or 1)
    _tell(copied, as_json)
    sys.exit(0 if copied.sound else 1)


@click.command()
@_session
@_to
@_root
@_json
def move(session: str, target: str, root: str, as_json: bool) -> None:
    """Copy SESSION to another root, and remove it here once every byte of the copy is verified.

    What it was and where its copy is stays on record. Interrupted in the middle of the removal, what is left here is
    no session any more; the same command finishes it.
    """
    to, processes = folder(target), os.cpu_count() or 1
    with _interrupted(f"{session} is not moved yet; the same command goes on"):
        try:
            copied = removing.move(layout.find_session(folder(root), session), to, processes=processes)
        except SessionRemoved as error:
            _finish(error, to, as_json, processes)
            return
    _tell(copied, as_json)
    if not as_json:
        click.echo(f"{in_line(copied.source)} is removed")


@click.command()
@_session
@_root
@_json
def compact(session: str, root: str, as_json: bool) -> None:
    """Make one object of each log of SESSION that lies in parts on an object store, which makes it quick to open.

    A session that is continued does that with what earlier starts left. Claims of answered calls, which workers leave
    where one of them was lost, are removed, too.
    """
    path = layout.find_session(folder(root), session)
    behind.catch_up(path)
    with places.held(path, "compacted", must=True) as place:
        done = compaction.compact(place.storage)
    if as_json:
        print_json((done or compaction.Compacted(0, 0, 0))._asdict())
    elif done is None:
        click.echo("nothing to do: each log is one file here (custody compress makes closed segments smaller)")
    else:
        closed = f"; {done.closed} of them were left open by a crash, and are closed" if done.closed else ""
        swept = f"; {done.claims} claims of answered calls are removed" if done.claims else ""
        click.echo(f"{in_line(path.name)}: {done.logs} logs are one object each{closed}{swept}")


def _finish(found: SessionRemoved, to: Folder, as_json: bool, processes: int) -> None:
    """What an earlier move, or prune, has left to do."""
    place = folder(found.place)
    if folder(found.copy) != places.target_of(place, to):
        raise found
    record = removing.finish(place, processes=processes)
    if as_json:
        print_json(asdict(record))
        return
    click.echo(f"{in_line(record.session)} is in {in_line(record.copy)}, and {in_line(place)} is removed")


@contextlib.contextmanager
def _interrupted(what: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        say(f"custody: {what}")
        raise


def _tell(copied: Copied, as_json: bool) -> None:
    if as_json:
        print_json(copied.as_dict())
        return
    for problem in copied.problems:
        click.echo(f"PROBLEM  {in_line(problem)}")
    for remark in copied.remarks:
        click.echo(f"remark   {in_line(remark)}")
    for name in copied.left_out:
        click.echo(f"remark   {in_line(name)} is a link or no file: it is not in the copy")
    if not copied.held:
        click.echo(
            "remark   the source cannot be written, so nobody could be kept from it; it did not change meanwhile"
        )
    sent = (
        f"{copied.sent} files, {copied.sent_bytes} bytes sent"
        if copied.sent
        else "all of it was there, nothing was sent"
    )
    word = "sound" if copied.sound else f"NOT SOUND: {len(copied.problems)} problems"
    click.echo(
        f"{in_line(copied.session)} is in {in_line(copied.target)}: {copied.files} files, {copied.bytes} bytes, "
        f"{copied.calls} calls ({sent}); every byte was read back and is equal (SHA-256); verify --deep: {word}"
    )
