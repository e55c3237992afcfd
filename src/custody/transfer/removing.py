"""Takes away a session whose verified copy lies elsewhere: its manifest first, so that what a kill leaves is none.

``removed/<session>.json`` in the experiment's folder says before that what it was, and where its copy is. It stays, and
a second try finishes by it what the first one left.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from custody import layout
from custody.errors import ArchiveDamaged, CustodyError, UsageError
from custody.integrity import chronolog
from custody.journal import spill
from custody.journal.archive import Archive
from custody.redact import Redactor
from custody.report.verify import verify
from custody.sessions import events, heads, process, recovery, state
from custody.sessions import manifest as manifests
from custody.stamps import now
from custody.storage import Storage
from custody.storage.folders import Folder, at, folder, named
from custody.transfer import contents, copying, places
from custody.transfer.comparing import some
from custody.transfer.copying import Copied
from custody.transfer.places import Place
from custody.transfer.streaming import Digest, digest
from custody.transfer.together import together


@dataclass(frozen=True)
class Removal:
    """``removed/<session>.json``.

    Attributes:
        removed: when. The copy was verified just before.
        files: name, size and sha256 of each; ``same`` where the copy has the same bytes under this name, and not the
            same lines in another form.
    """

    session: str
    project: str
    experiment: str
    by: str
    removed: str
    copy: str
    custody: str
    state: str
    calls: int
    in_doubt: int
    files: list[dict[str, Any]]


def refuse_unfit(source: Place) -> None:
    """Raises UsageError where something of a session would be lost that no copy has."""
    links = contents.unusual(source.path)
    if links:
        raise UsageError(
            f"{source}: {some(links)} would be lost, because links and the like are in no copy. Nothing was removed: "
            "put the files in their places, or take the links away"
        )
    try:
        waiting = spill.pending(manifests.unique_name(source.storage))
    except CustodyError:  # without its request key it has no name in the spill folder
        return
    if waiting:
        raise UsageError(
            f"{source}: records of it wait in {waiting[0].parent}, and are in no copy. Nothing was removed: "
            f"custody resume {named(source.path)} takes them in"
        )


def in_doubt(storage: Storage) -> int:
    """How many calls of a session were sent and have no outcome, nor one in their place."""
    archive = Archive(storage)
    archive.refresh()
    return sum(1 for doubt in recovery.doubts(archive) if doubt["answered_by"] is None)


def remove(
    source: Place, copy: str, digests: Mapping[str, Digest], *, by: str, calls: int, otherwise: Collection[str] = ()
) -> None:
    """Remove the files of a held session that are all at ``copy``, verified just now. ``sweep`` does the rest.

    Args:
        by: the command.
        otherwise: files that the copy has in another form, as compressed.

    Raises OSError where one cannot be removed; the same command goes on then.
    """
    manifest = manifests.read(source.storage)
    record = Removal(
        manifest.session, manifest.project, manifest.experiment, by, now(), copy, process.custody_version(),
        state.ended(source.storage).state, calls, in_doubt(source.storage),
        [
            {"name": name, "size": one.size, "sha256": one.sha256, "same": name not in otherwise}
            for name, one in sorted(digests.items())
        ],
    )  # fmt: skip
    text = json.dumps(asdict(record), ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace") + b"\n"
    at(source.path.parents[1], create=True).put(_name(source.path), text)
    _remove(source.storage, [layout.MANIFEST])  # from here on it is no session
    _remove(source.storage, [name for name in digests if name != layout.MANIFEST])


def sweep(session: Folder) -> None:
    """Take away what is left of a session without a manifest when nobody holds it: locks, heartbeats, empty folders;
    and write into the project's chronolog that it was removed."""
    record = read(session)
    storage = at(session)
    left = [entry.name for entry in storage.list()]
    _remove(storage, [name for name in left if contents.is_bound(name)])
    if foreign := [name for name in left if not contents.is_bound(name)]:
        raise UsageError(
            f"{session}: {some(foreign)} came while it was removed, and is left: take it out, and run it again"
        )
    if isinstance(session, Path) and session.is_dir():
        for torn in session.rglob(".tmp-*"):
            torn.unlink(missing_ok=True)
        for where, _, _ in os.walk(session, topdown=False):
            with contextlib.suppress(OSError):  # not empty: somebody has put something there just now
                os.rmdir(where)
    if record is not None and not _told(session, record):
        named = manifests.Manifest(session=record.session, project=record.project, experiment=record.experiment,
                                   created="", custody="", python="")  # fmt: skip
        events.project_event(
            session, named, Redactor(), "session_removed", by=record.by, copy=record.copy, calls=record.calls,
            in_doubt=record.in_doubt, files=len(record.files),
        )  # fmt: skip


def finish(session: Folder, *, processes: int = 1) -> Removal:
    """Finish the removal of a session that has a record and no manifest, once its copy has been verified again.

    Raises UsageError where something is left that the copy has not; ArchiveDamaged where the copy is not sound.
    """
    record = read(session)
    if record is None:
        raise UsageError(f"{session}: no record says where its copy is; nothing was removed")
    storage = at(session)
    left = [entry.name for entry in storage.list()]
    if not left and _told(session, record):
        return record
    _verify(record, processes)
    known = {one["name"]: Digest(one["size"], one["sha256"]) for one in record.files}
    with contextlib.ExitStack() as stack:
        if left:
            source = stack.enter_context(places.held(session, "removed", must=True))
            files = contents.files(source.storage)
            found = together(lambda name: digest(source.storage, name, files[name]), files, files)
            foreign = [name for name, one in found.items() if known.get(name) != one]
            if foreign:
                raise UsageError(f"{session}: {some(foreign)} is not in the copy; nothing more was removed")
            _remove(source.storage, list(files))
    sweep(session)
    return record


def read(session: Folder) -> Removal | None:
    """The record of a removed session. Raises ArchiveDamaged."""
    try:
        return Removal(**json.loads(at(session.parents[1]).read(_name(session))))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ArchiveDamaged(f"{session.parents[1]}/{_name(session)} is damaged: {error}") from error


def _verify(record: Removal, processes: int) -> None:
    copy = at(folder(record.copy))
    sizes = {one["name"]: int(one["size"]) for one in record.files if one["same"]}
    try:
        found = together(lambda name: digest(copy, name, sizes[name]), sizes, sizes)
    except FileNotFoundError as error:
        raise ArchiveDamaged(f"{record.copy} is not whole ({error}): nothing more was removed") from error
    wrong = [one["name"] for one in record.files if one["same"] and found[one["name"]].sha256 != one["sha256"]]
    problems = (
        [f"{some(wrong)} is not what was copied"] if wrong else verify(copy, deep=True, processes=processes).problems
    )
    if problems:
        raise ArchiveDamaged(
            f"{record.copy} is not what it was ({problems[0]}): nothing more was removed. If it was continued there "
            "and is sound, remove the rest here by hand"
        )


def _remove(storage: Storage, names: list[str]) -> None:
    together(storage.remove, names, {})


def _name(session: Folder) -> str:
    return f"{layout.REMOVED}/{session.name}.json"


def _told(session: Folder, record: Removal) -> bool:
    try:
        data = heads.project_chronolog(session, record.project).read_bytes()
    except OSError:
        return False
    told = (
        e for e in chronolog.read(data) if e["event"] == "session_removed" and e.get("session_id") == record.session
    )
    return any(str(event.get("time")) >= record.removed for event in told)


def move(session: Folder, root: Folder, *, processes: int = 1) -> Copied:
    """Copy a session to another root, and remove it once the copy is verified.

    Raises as ``copying.copy`` does; ArchiveDamaged where the copy is equal and not sound: nothing is removed.
    """
    with places.held(session, "moved", must=True) as source:
        refuse_unfit(source)
        copied, digests = copying.copy(source, root, what="moved", processes=processes)
        if not copied.sound:
            raise ArchiveDamaged(
                f"{source} was copied to {copied.target} and not removed, because it is not sound: {copied.problems[0]}"
            )
        remove(source, copied.target, digests, by="move", calls=copied.calls)
    sweep(session)
    return copied
