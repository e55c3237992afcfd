"""Removes sessions of a root that are old enough, and of which a verified copy lies at another root."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

from custody import layout
from custody.errors import (
    ArchiveDamaged,
    CustodyError,
    SessionBusy,
    SessionNotFound,
    StorageError,
    StorageNotFound,
    UsageError,
)
from custody.integrity import chronolog
from custody.report.verify import verify
from custody.sessions import behind
from custody.sessions import manifest as manifests
from custody.sessions.state import is_alive
from custody.stamps import parsed
from custody.storage import Storage
from custody.storage.folders import Folder, at
from custody.transfer import around, equivalent, places, removing
from custody.transfer.comparing import is_unfinished
from custody.transfer.equivalent import Equivalence
from custody.transfer.places import Place

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_AGE = re.compile(r"(\d{1,6})([hdw])", re.ASCII)
_EVENT = re.compile(rb'"event":"')

Action = Literal["keep", "refuse", "remove", "removed"]


@dataclass
class Decision:
    """What is, or was, done with a session, and why.

    Attributes:
        last: when something was last written into its chronolog, or when it was made.
        copy: where its verified copy is.
        in_doubt: calls that were sent and have no outcome, in the session as in its copy.
    """

    session: str
    project: str
    experiment: str
    path: str
    action: Action = "keep"
    why: str = ""
    last: str | None = None
    calls: int = 0
    bytes: int = 0
    in_doubt: int = 0
    copy: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Rule:
    """Attributes:
    before: a session that was written to since is kept.
    keep: so many of each experiment are kept, the newest ones.
    project, experiment: only of these; None of all.
    """

    before: datetime
    keep: int = 0
    project: str | None = None
    experiment: str | None = None


def age(text: str) -> timedelta:
    """``90d``, ``12h``, ``8w``. Raises UsageError."""
    match = _AGE.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no age: write it as 90d, 8w or 12h")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def prune(root: Folder, other: Folder, rule: Rule, *, apply: bool, processes: int = 1) -> Iterator[Decision]:
    """One decision a session below ``root``; with ``apply`` it is carried out. ``other`` is the root of the copies.

    Raises UsageError where the two roots cannot be two.
    """
    for place in (root, other):
        if not (place / "projects").is_dir():
            raise UsageError(f"{place} holds no projects/: give the folder that does")
    experiments: list[Any] = sorted(root.glob("projects/*/experiments/*"))
    for experiment in experiments:
        if rule.project in (None, experiment.parents[1].name) and rule.experiment in (None, experiment.name):
            sessions: list[Folder] = layout.sessions_of(experiment)
            whole = [session for session in sessions if (session / layout.MANIFEST).is_file()] if rule.keep else []
            for session in sessions:
                newest = session in whole[-rule.keep :]
                yield _decide(session, other, rule, newest=newest, apply=apply, processes=processes)


def _decide(session: Folder, other: Folder, rule: Rule, *, newest: bool, apply: bool, processes: int) -> Decision:
    found = Decision(session.name, session.parents[3].name, session.parents[1].name, str(session))
    target = places.target_of(session, other)
    try:
        found.last = _last(at(session))
        if newest:
            found.why = f"one of the newest {rule.keep}"
        elif parsed(found.last) >= rule.before:
            found.why = "not old enough"
        else:
            _judge(found, session, target, apply=apply, processes=processes)
    except SessionNotFound:
        _unfinished(found, session, apply=apply, processes=processes)
    except SessionBusy:
        found.action, found.why = "keep", "it is open in another process"
    except (CustodyError, OSError, ValueError) as error:
        found.action, found.why = "refuse", str(error)
    return found


def _judge(found: Decision, session: Folder, target: Folder, *, apply: bool, processes: int) -> None:
    with places.held(session, "removed", must=apply) as source:
        removing.refuse_unfit(source)
        same = verified(source, target, processes)
        found.calls = same.calls
        found.bytes = sum(one.size for one in same.files.digests.values())
        found.in_doubt, found.copy = removing.in_doubt(source.storage), str(target)
        found.action = "remove"
        if apply:
            with _stopped():
                files, otherwise = same.files.digests, same.files.otherwise
                removing.remove(source, str(target), files, by="prune", calls=found.calls, otherwise=otherwise)
    if apply:
        with _stopped():
            removing.sweep(session)
        found.action = "removed"


@contextlib.contextmanager
def _stopped() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"its removal stopped ({error}): the same command goes on with it") from error


@dataclass(frozen=True)
class Verified:
    """A copy that has all that a session has, and is sound."""

    files: Equivalence
    calls: int


def verified(source: Place, target: Folder, processes: int) -> Verified:
    """Compare a session with its copy, byte by byte, and verify the copy.

    Raises UsageError where they are not the same or are one and the same; ArchiveDamaged where the copy is not sound.
    """
    none = f"no copy at {target}, or none that came to its end: custody copy {source.path.name} --to ..."
    try:
        copy = places.seen(target)
    except StorageNotFound:
        raise UsageError(none) from None
    places.refuse_if_same(source, copy)
    for place in (source, copy):
        behind.refuse(place.storage)
    if is_unfinished(copy.storage) or not any(e.name == layout.MANIFEST for e in copy.storage.list(layout.MANIFEST)):
        raise UsageError(none)
    if is_alive(copy.storage):  # it goes on there, or is just being pruned against this one
        raise UsageError(f"its copy at {target} is open in another process")
    files = equivalent.compare(source.storage, copy.storage)
    frozen = around.frozen(source)
    lacking = [name for name in frozen if name not in around.frozen(copy)] + around.others(frozen, copy)
    if lacking:
        files.problems.append(f"the copy's experiment has not the {lacking[0]} that it is bound to")
    if files.problems:
        raise UsageError(f"{target} is not the same: {files.problems[0]}")
    verdict = verify(copy.storage, deep=True, processes=processes)
    if not verdict.sound:
        raise ArchiveDamaged(f"its copy at {target} is not sound: {verdict.problems[0]}")
    return Verified(files, verdict.calls)


def _unfinished(found: Decision, session: Folder, *, apply: bool, processes: int) -> None:
    """A folder without a manifest: what a removal left, or a start or a copy that was killed."""
    record = removing.read(session)
    if record is None:
        found.why = "it is no session: a start or a copy that was killed"
        return
    found.copy, found.calls, found.in_doubt = record.copy, record.calls, record.in_doubt
    found.action, found.why = "remove", "its removal was interrupted"
    if apply:
        try:
            removing.finish(session, processes=processes)
            found.action = "removed"
        except (CustodyError, OSError) as error:
            found.action, found.why = "refuse", str(error)


def _last(storage: Storage) -> str:
    """When it was last written to. Raises SessionNotFound, ArchiveDamaged."""
    created = manifests.read(storage).created
    size = next((e.size for e in storage.list(layout.CHRONOLOG) if e.name == layout.CHRONOLOG), 0)
    for event in chronolog.latest(partial(storage.read, layout.CHRONOLOG), size, _EVENT, b'"event":"'):
        return max(str(event.get("time")), created)
    return created


def before(older_than: str | None) -> datetime:
    """The time before which a session is old enough. Raises UsageError."""
    return datetime.now(UTC) - (age(older_than) if older_than is not None else timedelta())
