"""Verifies a destination: every byte of the source is accounted for, and every session is sound."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from custody import layout
from custody.errors import ArchiveDamaged, CustodyError
from custody.journal.segments import PLAIN, Segments
from custody.migrate import copying, record
from custody.migrate import source as sources
from custody.migrate.record import Made, Record
from custody.migrate.source import shown
from custody.report.stored import StoredSession
from custody.report.verify import verify as verify_session
from custody.storage.local import LocalStorage

LOCKS = (layout.OWNER_LOCK, layout.MEMBERS_LOCK, layout.CLAIMS)


@dataclass
class Verdict:
    """Of one migration. ``problems`` make it unsound, ``remarks`` do not."""

    migration: str
    source: str
    state: str
    files: int
    bytes: int
    sessions: int
    calls: int
    sound: bool = True
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return vars(self)


def verify(destination: Path, source: Path | None = None) -> list[Verdict]:
    """Check every migration of a destination, and with ``source`` whether that is what was migrated.

    Raises UsageError where the destination holds none, ArchiveDamaged where a record of one cannot be read.
    """
    return [_verdict(destination, made, source) for made in record.required(destination)]


def _verdict(destination: Path, made: Record, source: Path | None) -> Verdict:
    verdict = Verdict(
        made.migration, shown(made.source), made.state, len(made.files), made.total_bytes, len(made.sessions),
        sum(session.calls for session in made.sessions),
    )  # fmt: skip
    verdict.problems += _problems(destination, made, verdict.remarks)
    if source is not None:
        verdict.problems += _against(source, made)
    verdict.sound = not verdict.problems
    return verdict


def _problems(destination: Path, made: Record, remarks: list[str]) -> Iterator[str]:
    if made.state != "complete":
        yield f"it is not complete ({made.state}): run the same command again"
        return
    accounted = sum(file.bytes for file in made.files)
    if accounted != made.total_bytes:
        yield f"{accounted} bytes are accounted for, and the source had {made.total_bytes}"
    by_path = {entry.path: entry for entry in made.made}
    for file in made.files:
        if file.goes_to is None:
            continue
        copy = by_path.get(file.goes_to)
        if copy is None or copy.sha256 != file.sha256 or copy.bytes != file.bytes:
            yield f"the record has no copy of {shown(file.path)}"
    for entry in made.made:
        changed = change(destination, entry)
        if changed:
            yield f"{shown(entry.path)} {changed}"
    for session in made.sessions:
        yield from _session(destination / session.folder, session, remarks)


def change(destination: Path, entry: Made) -> str:
    """How a file is not as the migration left it; empty where it is. Logs may grow, a segment may be compressed."""
    path = destination / entry.path
    try:
        if not path.exists() and _segment(entry.path):
            folder, _, name = entry.path.rpartition(f"/{layout.ARCHIVE}/")
            data = Segments(LocalStorage(destination / folder, create=False)).read(f"{layout.ARCHIVE}/{name}")
            same = hashlib.sha256(data).hexdigest() == entry.sha256
        elif _grows(entry.path) and path.stat().st_size >= entry.bytes:
            with path.open("rb") as file:
                same = hashlib.sha256(file.read(entry.bytes)).hexdigest() == entry.sha256
        else:
            same = path.stat().st_size == entry.bytes and copying.digest(path) == entry.sha256
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except ArchiveDamaged:
        return "was changed"
    return "" if same else "was changed"


def _grows(name: str) -> bool:
    return name.endswith((f"/{layout.CHRONOLOG}", f"/{layout.SEGMENTS}")) and f"/{layout.ORIGINALS}/" not in name


def _segment(name: str) -> bool:
    return f"/{layout.ORIGINALS}/" not in name and f"/{layout.ARCHIVE}/" in name and name.endswith(PLAIN)


def additions(destination: Path, made: Record) -> list[str]:
    """Files that lie in the sessions and were not made by the migration, and chronologs that grew."""
    by_path = {entry.path: entry for entry in made.made}
    found = []
    for session in made.sessions:
        folder = destination / session.folder
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(destination).as_posix()
            if path.is_dir() and not path.is_symlink():
                continue
            known = by_path.get(name)
            if known is None:
                lock = name.removeprefix(f"{session.folder}/") in LOCKS and not path.stat().st_size
                found += [] if lock else [name]
            elif _grows(name) and path.stat().st_size > known.bytes:
                found.append(name)
    return found


def _session(folder: Path, planned: record.SessionMade, remarks: list[str]) -> Iterator[str]:
    try:
        verdict = verify_session(LocalStorage(folder, create=False))
        yield from (f"{planned.session}: {problem}" for problem in verdict.problems)
        salvaged = [call for call in StoredSession(folder).calls() if call.fields.get("origin") is not None]
    except CustodyError as error:
        yield f"{planned.session}: {error}"
        return
    expected = planned.calls - planned.in_doubt
    if len(salvaged) != expected:
        yield f"{planned.session}: {len(salvaged)} salvaged calls are in the archive, and {expected} were written"
    new = verdict.calls - len(salvaged)
    if new:
        remarks.append(f"{planned.session} has {new} calls of its own since")


def _against(source: Path, made: Record) -> Iterator[str]:
    now = {file.path: file for file in sources.walk(source.resolve())}
    then = {file.path: file for file in made.files}
    for path in sorted(then.keys() - now.keys()):
        yield f"{shown(path)} is not in {source} any more"
    for path in sorted(now.keys() - then.keys()):
        yield f"{shown(path)} was not in the source when it was migrated"
    for path in sorted(now.keys() & then.keys()):
        if now[path].sha256 != then[path].sha256:
            yield f"{shown(path)} of {source} is not what was migrated"
