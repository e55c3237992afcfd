"""What the commands that look at a stored session share: their arguments, and how one is opened."""

from __future__ import annotations

from collections.abc import Iterable

import click

from custody import layout
from custody.cli.console import say
from custody.errors import UsageError
from custody.report.stored import StoredSession
from custody.sessions import behind
from custody.storage import Storage
from custody.storage.folders import at, folder

session_argument = click.argument("session")
root_option = click.option(
    "--root", default=".", show_default=True, help="The folder or URL that holds projects/, where SESSION is an id."
)
RATES_HELP = "A file with your own rates (docs/cost.md), in place of the one that CUSTODY_RATES names."
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def one_root(argument: str | None, option: str | None) -> str:
    """The root that a command was given, as its argument or with --root. Raises UsageError where they differ."""
    if argument is not None and option is not None and argument != option:
        raise UsageError(f"give one root: {argument}, or --root {option}")
    return argument or option or "."


def open_session(session: str, root: str) -> StoredSession:
    """Raises SessionNotFound, UsageError, ArchiveDamaged."""
    found = StoredSession(layout.find_session(folder(root), session))
    _say_what_is_missing(found.storage)
    return found


def open_storage(session: str, root: str) -> Storage:
    """A session's bytes, without an index of them. Raises SessionNotFound, UsageError."""
    found = at(layout.find_session(folder(root), session))
    _say_what_is_missing(found)
    return found


def _say_what_is_missing(storage: Storage) -> None:
    """What lies on a machine only is not in what a command is about to count."""
    found = behind.backlog(storage)
    if found is not None:
        say(f"custody: {storage.url} is not all of the session: {behind.sentence(found)}")


def one_id(ids: Iterable[str], wanted: str, session: str) -> str:
    """The call's id that is ``wanted``, or the only one that ends with it. Raises UsageError."""
    known = list(ids)
    if wanted in known:
        return wanted
    matches = [name for name in known if wanted and name.endswith(wanted)]
    if len(matches) != 1:
        raise UsageError(
            f"{len(matches) or 'no'} calls of {session} are called {wanted!r}: see custody calls {session}"
        )
    return matches[0]


def short_ids(ids: Iterable[str]) -> dict[str, str]:
    """By id, the shortest end of it that no other one has, in whole parts."""
    known = list(ids)
    for parts in (1, 2):
        ends = {name: "-".join(name.split("-")[-parts:]) for name in known}
        if len(set(ends.values())) == len(ends):
            return ends
    return {name: name for name in known}
