"""``migrations/migration_<id>.json`` of a destination: what a migration made, of what, and how far it came."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from custody import layout
from custody.errors import ArchiveDamaged, SessionBusy, UsageError
from custody.storage.local import LocalStorage

State = Literal["begun", "complete", "rolling_back"]


class Original(BaseModel):
    """A file of the source. ``goes_to`` is relative to the destination; None where it is not copied."""

    path: str
    bytes: int
    sha256: str | None
    kind: str
    generation: str | None
    disposition: str
    reason: str
    goes_to: str | None


class Made(BaseModel):
    """A file that the migration made, as it left it."""

    path: str
    bytes: int
    sha256: str


class SessionMade(BaseModel):
    """A session, and the old run that it is. ``root``: the experiment's folder in the source."""

    session: str
    folder: str
    experiment: str
    root: str
    run: str
    calls: int
    answers: int
    in_doubt: int


class ChronologGrown(BaseModel):
    """A project's chronolog: its size before (None: there was none), and after."""

    path: str
    before: int | None
    after: int
    sha256: str


class Record(BaseModel):
    """One migration."""

    migration: str
    state: State
    time: str
    custody: str
    source: str
    total_bytes: int
    files: list[Original]
    sessions: list[SessionMade]
    made: list[Made] = Field(default_factory=list)
    chronologs: list[ChronologGrown] = Field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{layout.MIGRATIONS}/migration_{self.migration}.json"


def read_all(destination: Path) -> list[Record]:
    """The destination's migrations, by name. Raises ArchiveDamaged."""
    found = []
    for path in sorted((destination / layout.MIGRATIONS).glob("migration_*.json")):
        try:
            found.append(Record.model_validate(json.loads(path.read_bytes())))
        except (ValueError, ValidationError) as error:
            raise ArchiveDamaged(f"{path} is damaged; what was migrated cannot be told from it") from error
    return found


def required(destination: Path) -> list[Record]:
    """The same. Raises UsageError where there is none."""
    found = read_all(destination)
    if not found:
        raise UsageError(f"{destination} holds no migration: there is no {layout.MIGRATIONS}/migration_<id>.json")
    return found


def write(destination: Path, record: Record) -> None:
    """Write or replace it, atomically. Names that are no text stay readable: everything beyond ASCII is escaped."""
    text = json.dumps(record.model_dump(), ensure_ascii=True, indent=1)
    LocalStorage(destination).put(record.name, text.encode() + b"\n")


@contextmanager
def alone(destination: Path) -> Iterator[None]:
    """One migration at a time in a destination. Raises SessionBusy."""
    descriptor = os.open(destination, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SessionBusy(f"another migration is under way in {destination}: wait for it") from error
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)
