"""``custody repair`` and ``custody compress``: upkeep of a session that nobody has open."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import click

from custody import layout
from custody.cli.console import print_json, safe, say
from custody.cli.stored import json_option as _json
from custody.cli.stored import root_option as _root
from custody.cli.stored import session_argument as _session
from custody.errors import SessionBusy
from custody.journal import closing
from custody.journal.archive import Archive
from custody.journal.ledger import Ledger
from custody.journal.repair import repair as repair_segments
from custody.sessions import behind
from custody.sessions.state import is_alive
from custody.storage import Storage
from custody.storage.folders import at, folder


@contextmanager
def _owned(session: str, root: str) -> Iterator[Storage]:
    """A session's storage, kept from everybody else. Raises SessionNotFound, SessionBusy."""
    found = layout.find_session(folder(root), session)
    behind.catch_up(found)
    storage = at(found, create=True)
    behind.refuse(storage)
    alive = is_alive(storage)
    owner = None if alive else storage.lock(layout.OWNER_LOCK)
    if owner is None:
        raise SessionBusy(f"{session} is open in another process: nothing was changed; try again when it has ended")
    try:
        yield storage
    finally:
        owner.release()


@click.command()
@_session
@_root
@_json
def repair(session: str, root: str, as_json: bool) -> None:
    """Write the damaged segments of SESSION anew, without what cannot be read.

    A compressed segment of which little is damaged is put right, byte for byte. Else every whole line is kept as it is.
    The damaged original is kept in fault_recovery/damaged/. Calls that lost their answer are asked again when the
    session is continued.
    """
    with _owned(session, root) as storage:
        done = repair_segments(storage, Ledger(storage))
        archive = Archive(storage)
        archive.refresh()
    lost = sorted({damage.segment for damage in archive.damage if not damage.torn})
    for name in lost:
        say(f"custody: nothing in {name} can be read: it is left as it is; restore it from a copy, if there is one")
    if as_json:
        print_json([asdict(each) for each in done])
        sys.exit(1 if lost else 0)
    for each in done:
        if each.corrected:
            click.echo(f"{safe(each.segment)}: put right, nothing is lost; the original is {safe(each.original)}")
            continue
        whose = f"; calls that lost a line: {', '.join(each.calls)}" if each.calls else ""
        click.echo(
            f"{safe(each.segment)}: {each.damaged_bytes} damaged bytes left out, {each.kept_lines} lines kept; "
            f"the original is {safe(each.original)}{safe(whose)}"
        )
    nothing = "nothing was changed" if lost else "nothing is damaged, so nothing was changed"
    click.echo(f"{len(done)} segments repaired" if done else nothing)
    sys.exit(1 if lost else 0)


@click.command()
@_session
@_root
@_json
def compress(session: str, root: str, as_json: bool) -> None:
    """Compress the closed segments of SESSION (zstd; zstdcat reads them, and so does every command here)."""
    with _owned(session, root) as storage:
        archive, ledger = Archive(storage), Ledger(storage)
        archive.refresh()
        for name, index in closing.left_open(archive):
            closing.close(storage, ledger, name, index)
        before, after = closing.compress_all(storage, ledger, [name for name, _ in archive.segments.list()])
    if as_json:
        print_json({"bytes_before": before, "bytes_after": after})
        return
    share = f" ({after / before:.1%})" if before else ""
    click.echo(f"{before} bytes compressed to {after}{share}" if before else "nothing was left to compress")
