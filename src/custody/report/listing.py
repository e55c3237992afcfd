"""All sessions below a root, with how they stand and why: failed and abandoned ones, too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from custody import layout
from custody.errors import CustodyError, SessionRemoved
from custody.integrity import chronolog
from custody.journal.segments import segments
from custody.sessions import manifest as manifests
from custody.sessions.state import standing
from custody.storage import Storage
from custody.storage.folders import Folder, at


def sessions(root: Folder) -> Iterator[dict[str, Any]]:
    """One dict a session, by project, experiment and age."""
    found: list[Any] = sorted(root.glob("projects/*/experiments/*"))
    for experiment in (path for path in found if path.is_dir()):
        listed = layout.sessions_of(experiment)
        for session in listed:
            yield _session(session)
        for record in sorted(experiment.glob(f"{layout.REMOVED}/*.json")):
            gone = experiment / "sessions" / record.name.removesuffix(".json")
            if gone not in listed:
                yield from _removed(gone)


def _removed(path: Folder) -> Iterator[dict[str, Any]]:
    try:
        layout.refuse_if_removed(path)
    except SessionRemoved as removed:
        yield _row(path) | {"state": "removed", "reason": f"its verified copy is {removed.copy}"}


def _row(path: Folder) -> dict[str, Any]:
    return {
        "session": path.name,
        "project": path.parents[3].name,
        "experiment": path.parents[1].name,
        "path": str(path),
        "state": "abandoned",
        "reason": "",
        "created": None,
        "answered": 0,
        "failed_calls": 0,
        "resumed": 0,
    }


def _session(path: Folder) -> dict[str, Any]:
    found = _row(path)
    storage = at(path)
    try:
        found["created"] = manifests.read(storage).created
        found["state"] = standing(storage).state
    except CustodyError as error:
        has_manifest = (path / layout.MANIFEST).exists()
        found["state"] = "damaged" if has_manifest else "abandoned"
        found["reason"] = str(error) if has_manifest else _no_session(path, storage)
        return found
    try:
        events = list(chronolog.read(storage.read(layout.CHRONOLOG)))
    except OSError:
        found["reason"] = f"{layout.CHRONOLOG} is missing"
        return found
    count = Counter(event["event"] for event in events)
    good = sum(1 for event in events if event["event"] == "llm_call_complete" and event.get("success"))
    found |= {
        "answered": good + count["llm_call_reused"],
        "failed_calls": count["llm_call_complete"] - good,
        "resumed": count["session_resume"],
        "reason": _reason(found["state"], events, count),
    }
    return found


def _no_session(path: Folder, storage: Storage) -> str:
    """Why a folder has no manifest."""
    if any(entry.name == layout.COPYING for entry in storage.list(layout.COPYING)):
        return "a copy that has not come to its end: the same custody copy goes on with it"
    try:
        layout.refuse_if_removed(path)
    except SessionRemoved as removed:
        return f"its removal was interrupted: the same command finishes it; its copy is {removed.copy}"
    if segments(storage):
        return f"it holds calls, and has no {layout.MANIFEST}: put it back from a copy"
    return "killed while it was made: it holds nothing"


def _reason(state: str, events: list[dict[str, Any]], count: Counter[str]) -> str:
    last: dict[str, Any] = next((event for event in reversed(events) if event["event"] == "session_end"), {})
    if state == "failed":
        parts = [
            f"the program raised {last['error']}" if last.get("error") else "",
            f"it ended with exit code {last['exit_code']}" if last.get("exit_code") else "",
            f"it ended by {last['signal']}" if last.get("signal") else "",
            "records wait in the spill folder" if last.get("records") else "",
        ]
        return "; ".join(part for part in parts if part) or "the program failed"
    if state == "interrupted":
        in_doubt = max(0, count["llm_call_start"] - count["llm_call_complete"])
        end = (
            "it was left open"
            if last.get("outcome") == "left_open"
            else "killed, or the power went: no end is recorded"
        )
        return f"{end}; {in_doubt} calls perhaps in doubt" if in_doubt else end
    return ""
