"""``system_state/chronolog_head.json``: how far the chronologs had come when the session last began or ended.

The chain of a chronolog shows every change but one: whole lines that are cut off its end. So their number is
bound here. After a crash, what came after the last start is bound by the archive alone: a call that is archived
has an event.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from typing import Any

from custody import layout
from custody.errors import StorageError
from custody.integrity import chronolog
from custody.integrity.chain import Chain
from custody.stamps import now
from custody.storage import Settling, Storage
from custody.storage.folders import Folder, at

log = logging.getLogger("custody")

_TAIL = 1 << 20


def record(session: Folder, storage: Storage, project: str) -> None:
    """Bind both chronologs as they are now. A storage that refuses is said, and what was bound before stays."""
    try:
        _record(session, storage, project)
    except (OSError, StorageError) as error:
        log.warning("custody: %s cannot be written (%s); what it bound before stays bound", layout.HEAD, error)


def _record(session: Folder, storage: Storage, project: str) -> None:
    heads: dict[str, Any] = {"time": now()}
    shared = project_chronolog(session, project)
    for name, where, file in (("session", storage, layout.CHRONOLOG), ("project", at(shared.parent), shared.name)):
        try:
            if isinstance(where, Settling):
                where.settle(file)
            size = next((entry.size for entry in where.list(file) if entry.name == file), 0)
            head = chronolog.head(where.read(file, max(0, size - _TAIL)))
        except FileNotFoundError:
            continue
        if head is not None:
            heads[name] = {"seq": head[0], "sha256": head[1]}
    storage.put(layout.HEAD, json.dumps(heads, indent=1).encode() + b"\n")


def bound(storage: Storage, name: str) -> tuple[int, str] | None:
    """Number and digest of the line of the chronolog ("session" or "project") that was its last one then."""
    try:
        head = json.loads(storage.read(layout.HEAD))[name]
        return int(head["seq"]), str(head["sha256"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def cut(chain: Chain, head: tuple[int, str] | None) -> str | None:
    """What a chronolog that was followed to its end (with the bound number) lacks of what was bound, naming the first
    missing line; None where it is all there."""
    if head is None:
        return None
    if chain.met is None:
        return (
            f"line {chain.last + 1} is missing, and what followed it: cut off after line {chain.last}, "
            f"there were {head[0]} events"
        )
    line, digest = chain.met
    return None if digest == head[1] else f"line {line} is not the one that {layout.HEAD} binds"


def upto(data: bytes, head: tuple[int, str]) -> bytes | None:
    """A chronolog's bytes up to the line that was bound; None where it is not there."""
    end = 0
    for line in data.split(b"\n")[:-1]:
        end += len(line) + 1
        if hashlib.sha256(line).hexdigest() == head[1]:
            return data[:end]
    return None


def carried(storage: Storage) -> Iterator[bytes]:
    """The project's chronologs of where the session was copied from: those of its new place know nothing of it."""
    for entry in storage.list(layout.CARRIED):
        yield storage.read(entry.name)


def project_chronolog(session: Folder, project: str) -> Folder:
    return session.parents[3] / f"PROJECT_CHRONOLOG_{project}.jsonl"
