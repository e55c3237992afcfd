"""Sessions that are for a part of every plan: ``custody run --shard K/N``, without anything that the parts share.

The manifest says which part a session is for, so that a start finds its own among the others', and a session that is
resumed goes on with its part, and not with the whole plan.
"""

from __future__ import annotations

import os

from custody.errors import CustodyError, UsageError
from custody.sessions import manifest as manifests
from custody.sessions.manifest import Manifest
from custody.storage.folders import Folder, at

ENV = "CUSTODY_SHARD"


def parsed(text: str) -> tuple[int, int]:
    """``K/N`` as numbers. Raises UsageError."""
    first, _, second = text.partition("/")
    if first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second):
        return int(first), int(second)
    raise UsageError(f"shard {text!r}: write it as K/N, with K from 1 to N, for instance 2/4")


def asked() -> str | None:
    """The part that this process is for, as manifests state it; None for all. Raises UsageError."""
    stated = os.environ.get(ENV)
    part = parsed(stated) if stated else (1, 1)
    return None if part == (1, 1) else f"{part[0]}/{part[1]}"


def among(sessions: list[Folder]) -> list[Folder]:
    """Those of the part that is asked for. Raises UsageError where none is asked for, and the newest is for one: to
    start another session would pay for what its parts have."""
    wanted = asked()
    if wanted is not None:
        return [path for path in sessions if _part_of(path) == wanted]
    part = _part_of(sessions[-1]) if sessions else None
    if part is not None:
        raise UsageError(
            f"session {sessions[-1].name} is for a part of the plan: give --shard {part} to continue it, "
            f"--session ID for another one, or --new, which pays for its own calls"
        )
    return sessions


def agreed(manifest: Manifest) -> str | None:
    """The part of a session that is continued. Raises UsageError where another one is asked for."""
    wanted = asked()
    if wanted is not None and wanted != manifest.shard:
        part = f"the part {manifest.shard}" if manifest.shard else "the whole plan"
        raise UsageError(f"session {manifest.session} is for {part}, not for {wanted}: without --session one is found")
    return manifest.shard


def _part_of(path: Folder) -> str | None:
    try:
        return manifests.read(at(path)).shard
    except (CustodyError, OSError):
        return None  # whoever opens it says what is wrong
