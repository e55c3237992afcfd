"""Freezes what a session is about. Frozen files are never overwritten, so old sessions go on to verify.

The experiment's folder holds what its first session was about. A session binds the digests, in
``system_state/snapshots/``; where the live definition is another one, it keeps a copy of its own beside them.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from custody import layout
from custody.research.definitions import KINDS, Kind, Live
from custody.stamps import now
from custody.storage import Storage

FROZEN: Mapping[Kind, str] = {
    "experiment": layout.EXPERIMENT_SNAPSHOT,
    "framework": layout.FRAMEWORK_SNAPSHOT,
    "corpus": layout.CORPUS_MANIFEST,
}


@dataclass(frozen=True)
class Drift:
    """A live definition that is not the frozen one.

    Attributes:
        since: what it was compared with: "experiment", its first session; "session", the start of this one.
    """

    kind: str
    since: str
    before: bytes
    after: bytes

    @property
    def summary(self) -> str:
        """In a few words: ``3 lines added, 1 removed``, or names of files."""
        if self.kind == "corpus":
            return _files_changed(_files(self.before), _files(self.after))
        lines = self.lines()[2:]
        added = sum(1 for line in lines if line.startswith("+"))
        removed = sum(1 for line in lines if line.startswith("-"))
        return f"{added} lines added, {removed} removed"

    def lines(self) -> list[str]:
        """A unified difference, line by line."""
        old, new = (data.decode("utf-8", "replace").splitlines() for data in (self.before, self.after))
        return list(difflib.unified_diff(old, new, f"{self.kind} (frozen)", f"{self.kind} (now)", lineterm="", n=2))


def binding(storage: Storage, kind: str) -> dict[str, Any] | None:
    """What a session is bound to; None where it is to nothing of this kind."""
    try:
        value = json.loads(storage.read(_binding_name(kind)))
        return value if isinstance(value, dict) else None
    except (FileNotFoundError, ValueError):
        return None


def bind(experiment: Storage, session: Storage, live: Mapping[Kind, Live]) -> list[Drift]:
    """Freeze and bind what is not bound yet; gives what differs from what is.

    ``experiment``: the experiment's folder.
    """
    found = []
    for kind, one in live.items():
        frozen = _frozen(experiment, one)
        known = binding(session, kind)
        if known is None:
            found += _bind_new(session, kind, one, frozen)
        elif not _same(kind, before := bound_content(experiment, session, known), one.content):
            session.put_if_absent(copy_name(kind, one.sha256), one.content)
            found.append(Drift(kind, "session", before or b"", one.content))
    return found


def _bind_new(session: Storage, kind: Kind, live: Live, frozen: bytes) -> list[Drift]:
    same = _same(kind, frozen, live.content)
    content = frozen if same else live.content
    fields: dict[str, Any] = {
        "kind": kind,
        "sha256": digest(content),
        "size": len(content),
        "source": live.source,
        "frozen": "experiment" if same else "session",
        "differs_from": None if same else digest(frozen),
        "time": now(),
    }
    if kind == "corpus":
        fields["files"] = len(live.documents)
    if not same:
        session.put_if_absent(copy_name(kind, live.sha256), live.content)
    session.put_if_absent(_binding_name(kind), json.dumps(fields, ensure_ascii=False, indent=1).encode() + b"\n")
    return [] if same else [Drift(kind, "experiment", frozen, live.content)]


def bound_content(experiment: Storage, session: Storage, known: Mapping[str, Any]) -> bytes | None:
    """The frozen bytes that a binding names; None where they are not there."""
    kind = str(known["kind"])
    own = known["frozen"] == "session"
    try:
        return session.read(copy_name(kind, str(known["sha256"]))) if own else experiment.read(FROZEN[kind])  # type: ignore[index]
    except FileNotFoundError:
        return None


def copies(session: Storage) -> list[str]:
    """Names of the session's own copies."""
    names = [entry.name for entry in session.list(f"{layout.SNAPSHOTS}/")]
    return [name for name in names if "-" in PurePosixPath(name).name]


def problems(experiment: Storage, session: Storage) -> tuple[list[str], list[str]]:
    """Problems and remarks: frozen files that are not what the session is bound to, or are not there."""
    wrong, said = [], []
    for kind in KINDS:
        known = binding(session, kind)
        if known is None:
            continue
        where = "this session's copy" if known.get("frozen") == "session" else f"the experiment's {FROZEN[kind]}"
        try:
            content = bound_content(experiment, session, known)
        except KeyError:
            wrong.append(f"{_binding_name(kind)} is damaged")
            continue
        if content is None:
            said.append(f"{where} is not here, so the {kind} cannot be compared with its digest")
        elif digest(content) != known["sha256"]:
            wrong.append(f"{where} is not what this session was bound to: it was changed")
    for name in copies(session):
        stated = PurePosixPath(name).stem.rpartition("-")[2]
        if not digest(session.read(name)).startswith(stated):
            wrong.append(f"{name} is not what its name says: it was changed")
    return wrong, said


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def copy_name(kind: str, sha256: str) -> str:
    suffix = ".json" if kind in ("corpus", "environment") else ".md"
    return f"{layout.SNAPSHOTS}/{kind}-{sha256[:16]}{suffix}"


def _binding_name(kind: str) -> str:
    return f"{layout.SNAPSHOTS}/{kind}.json"


def _frozen(experiment: Storage, live: Live) -> bytes:
    name = FROZEN[live.kind]
    try:
        return experiment.read(name)
    except FileNotFoundError:
        experiment.put_if_absent(name, live.content)
        return experiment.read(name)


def _same(kind: str, one: bytes | None, other: bytes) -> bool:
    """Of a corpus only the files count: a media type depends on the Python that guesses it."""
    if one is None or kind != "corpus":
        return one == other
    return _files(one) == _files(other)


def _files(manifest: bytes) -> dict[str, tuple[int, str]]:
    try:
        return {f["path"]: (f["size"], f["sha256"]) for f in json.loads(manifest)["files"]}
    except (ValueError, KeyError, TypeError):
        return {}


def _files_changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    parts = []
    for word, names in (
        ("added", after.keys() - before.keys()),
        ("removed", before.keys() - after.keys()),
        ("changed", {name for name in before.keys() & after.keys() if before[name] != after[name]}),
    ):
        if names:
            some = ", ".join(sorted(names)[:3]) + (", ..." if len(names) > 3 else "")
            parts.append(f"{len(names)} files {word} ({some})")
    return "; ".join(parts) or "no file"
