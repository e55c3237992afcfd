"""What differs between what a session was about and what was frozen before it, or met by it later."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath

from custody import layout
from custody.research import environment, snapshots
from custody.research.snapshots import Drift as Drift
from custody.storage import Storage
from custody.storage.folders import Folder, at


def drifts(session: Folder) -> Iterator[Drift]:
    """Each difference once: with the experiment's frozen copy first, then what the session met when it was resumed."""
    storage, experiment = at(session), at(session.parents[1])
    bound: dict[str, bytes] = {}
    for frozen, name in snapshots.FROZEN.items():
        kind: str = frozen
        known = snapshots.binding(storage, kind)
        content = snapshots.bound_content(experiment, storage, known) if known else None
        if known is None or content is None:
            continue
        bound[kind] = content
        if known["frozen"] == "session":
            yield Drift(kind, "experiment", _read(experiment, name), content)
    if (first := _read(storage, layout.ENVIRONMENT)) != b"":
        bound["environment"] = first
    for name in snapshots.copies(storage):
        kind = PurePosixPath(name).name.partition("-")[0]
        content = storage.read(name)
        if kind in bound and content != bound[kind]:
            yield Drift(kind, "session", bound[kind], content)


def lines(drift: Drift) -> list[str]:
    """The difference, for people."""
    if drift.kind == "environment":
        try:
            return environment.differences(drift.before, drift.after) + _git(drift)
        except (ValueError, AttributeError):
            return ["one of the two cannot be read"]
    return drift.lines()


def _git(drift: Drift) -> list[str]:
    before, after = ((json.loads(data).get("git") or {}).get("diff") for data in (drift.before, drift.after))
    return [] if before == after else ["the repository's difference from its commit is another one"]


def _read(storage: Storage, name: str) -> bytes:
    try:
        return storage.read(name)
    except FileNotFoundError:
        return b""
