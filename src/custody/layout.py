"""Names and places of the layout v3: which file of a session answers which question.

All paths are relative to the session's folder and written with ``/``.
"""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from custody.errors import SessionNotFound, SessionRemoved, UsageError
from custody.storage.folders import Folder, folder

F = TypeVar("F", bound=Folder)

LAYOUT_VERSION = 3

CHRONOLOG = "SESSION_CHRONOLOG.jsonl"
ARCHIVE = "llm_archive"
RESULTS = (
    "analysis_results/individual_analyses",
    "analysis_results/aggregated_data",
    "analysis_results/final_deliverables",
)
STATE = "system_state"
STEPS = "steps"
"""Below ``STATE``: what completed steps keep."""
MANIFEST = f"{STATE}/session.json"
REQUEST_KEY = f"{STATE}/request_key.json"
SEGMENTS = f"{STATE}/segments.jsonl"
OWNER_LOCK = f"{STATE}/owner.lock"
MEMBERS_LOCK = f"{STATE}/members.lock"
CLAIMS = f"{STATE}/claims.lock"
TURN_LOCK = f"{STATE}/turn.lock"
LOCKS = (OWNER_LOCK, MEMBERS_LOCK, CLAIMS, TURN_LOCK)
WORKERS = f"{STATE}/workers"
"""Heartbeats. What workers hold is below the locks' names without ``.lock``."""
ENVIRONMENT = f"{STATE}/environment_snapshot.json"
HEAD = f"{STATE}/chronolog_head.json"
COPYING = f"{STATE}/unfinished_copy.json"
"""There from the beginning of a copy until all of it is there."""
CARRIED = f"{STATE}/project_chronolog-"
"""And 16 digits and ``.jsonl``: the project's chronolog where a session was copied from."""
SNAPSHOTS = f"{STATE}/snapshots"
BACKLOG = f"{STATE}/backlog.json"
BUDGET = f"{STATE}/budget.jsonl"
REPRICED = f"{STATE}/repriced_costs.jsonl"
RECOVERY = "fault_recovery"
CHECKPOINT = f"{RECOVERY}/resume_checkpoint.json"
DAMAGED = f"{RECOVERY}/damaged"
LOSSES = f"{RECOVERY}/accepted_losses.json"
PENDING = f"{RECOVERY}/pending_work_queue.json"
ORIGINALS = "legacy_originals"
"""Files of an older layout, byte for byte: what a migrated session, experiment or project was made from."""
MIGRATED = f"{STATE}/migration.json"
MIGRATIONS = "migrations"
"""Beside ``projects/``: what each migration made, and the digest of every file of its source."""

REMOVED = "removed"
"""In the experiment's folder: what each session was that was moved away or removed, and where its copy is."""
EXPERIMENT_TOML = "experiment.toml"
EXPERIMENT_SNAPSHOT = "experiment_snapshot.md"
FRAMEWORK_SNAPSHOT = "framework_snapshot.md"
CORPUS_MANIFEST = "corpus_manifest.json"
KINDS = ("experiment", "framework", "corpus")
FROZEN = (EXPERIMENT_SNAPSHOT, FRAMEWORK_SNAPSHOT, CORPUS_MANIFEST)
"""In the experiment's folder."""

FOLDERS = (ARCHIVE, *RESULTS, STATE, RECOVERY)

_SESSION_ID = re.compile(r"session_\d{8}_\d{6}(_\d+)?\Z", re.ASCII)
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?\Z", re.IGNORECASE)


def checked_name(kind: str, name: str) -> str:
    """``name`` if it can be a folder's name on every system, NFC-normalised. Raises UsageError."""
    name = unicodedata.normalize("NFC", name)
    bad = (
        not name.strip()
        or name != name.strip()
        or name.startswith(".")
        or name.endswith(".")
        or len(name.encode("utf-8", "surrogatepass")) > 200
        or _RESERVED.match(name)
        or any(ch in '/\\:*?"<>|' or not ch.isprintable() for ch in name)
    )
    if bad:
        raise UsageError(
            f"{kind} name {name!r} cannot be a folder's name: use letters, digits, spaces, '_', '-', '.' "
            "and parentheses, at most 200 bytes, no leading dot"
        )
    return name


def name_from(text: str, default: str) -> str:
    """A folder's name made from ``text`` (a folder or a script), for where the user gave none."""
    text = unicodedata.normalize("NFC", text)
    kept = "".join(ch if ch.isalnum() or ch in "_.() -" or unicodedata.category(ch)[0] == "M" else "_" for ch in text)
    cleaned = re.sub("__+", "_", kept).strip(" ._").encode()[:80].decode("utf-8", "ignore").strip(" ._")
    return f"{cleaned}_" if _RESERVED.match(cleaned) else cleaned or default


def experiment_path(root: F, project: str, experiment: str) -> F:
    return cast("F", root / f"projects/{project}/experiments/{experiment}")


def new_session_id(now: datetime, attempt: int = 0) -> str:
    """``session_YYYYMMDD_HHMMSS`` in UTC; ``attempt`` adds a suffix where that second is taken."""
    stamp = now.astimezone(UTC).strftime("session_%Y%m%d_%H%M%S")
    return f"{stamp}_{attempt + 1}" if attempt else stamp


def is_session_id(name: str) -> bool:
    return _SESSION_ID.match(name) is not None


def sessions_of(experiment: F) -> list[F]:
    """The experiment's sessions, oldest first."""
    sessions = experiment / "sessions"
    if isinstance(sessions, Path) and not sessions.is_dir():
        return []
    found = [p for p in sessions.iterdir() if is_session_id(p.name) and (not isinstance(p, Path) or p.is_dir())]
    return cast("list[F]", sorted(found, key=_session_order))


def find_session(root: Folder, session: str) -> Folder:
    """The session's folder, by path or URL or by id under ``root``.

    Raises SessionNotFound, UsageError; SessionRemoved where its verified copy lies elsewhere.
    """
    direct = folder(session) if "://" in session else Path(session)
    try:
        if (direct / MANIFEST).is_file():
            return direct.resolve()
        if isinstance(direct, Path) and direct.exists() and not direct.is_dir():
            raise UsageError(f"{session} is a file; a session is a folder with {MANIFEST} in it")
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise SessionNotFound(f"no session {session[:200]!r}: {error.strerror or error}") from error
    if is_session_id(session):
        found: list[Any] = sorted(root.glob(f"projects/*/experiments/*/sessions/{session}"))
        if len(found) == 1:
            if not (found[0] / MANIFEST).is_file():
                refuse_if_removed(found[0].resolve())
            return cast("Folder", found[0].resolve())
        if found:
            names = ", ".join(str(p) for p in found)
            raise UsageError(f"{session} exists {len(found)} times below {root}: give one of the paths {names}")
        for record in root.glob(f"projects/*/experiments/*/{REMOVED}/{session}.json"):
            refuse_if_removed(record.parents[1] / f"sessions/{session}")
    elif is_session_id(direct.name):
        refuse_if_removed(direct.resolve())
    if direct.is_dir():
        raise SessionNotFound(f"{session} is a folder, but no session: it has no {MANIFEST}")
    raise SessionNotFound(
        f"no session {session!r}: neither a session's folder nor an id below {root / 'projects'} "
        "(give the folder, or --root with the folder that holds 'projects')"
    )


def refuse_if_removed(session: Folder) -> None:
    """Raises SessionRemoved where the experiment has a record of it (``transfer.removing``)."""
    try:
        record = json.loads((session.parents[1] / REMOVED / f"{session.name}.json").read_bytes())
        copy, time = str(record["copy"]), str(record["removed"])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return
    raise SessionRemoved(
        f"{session.name} was removed from {session.parents[5]} on {time[:10]}: its verified copy is {copy}",
        place=str(session), copy=copy,
    )  # fmt: skip


def _session_order(path: Folder) -> tuple[str, int]:
    stamp, _, suffix = path.name.removeprefix("session_").replace("_", "T", 1).partition("_")
    return stamp, int(suffix or 0)
