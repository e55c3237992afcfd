"""What stands around a session's archive, for ``verify``: frozen definitions, and how far its chronologs had come."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from custody import layout
from custody.errors import CustodyError
from custody.integrity import chronolog
from custody.research import snapshots
from custody.sessions import heads
from custody.sessions import manifest as manifests
from custody.storage import Storage
from custody.storage.folders import at, folder

_HEARD = ("llm_call_start", "llm_call_complete", "llm_call_reused")


class Judged(NamedTuple):
    problems: list[str]
    remarks: list[str]


def check(storage: Storage, calls: Collection[str]) -> Judged:
    """``calls``: ids of all archived calls."""
    judged = Judged([], [])
    if any(entry.name == layout.COPYING for entry in storage.list(layout.COPYING)):
        judged.problems.append("it is a copy that has not come to its end: run the same custody copy again")
    _session_chronolog(storage, calls, judged)
    _project_chronolog(storage, judged)
    experiment = at(folder(storage.url).parents[1])
    wrong, said = snapshots.problems(experiment, storage)
    judged.problems.extend(wrong)
    judged.remarks.extend(said)
    return judged


def _session_chronolog(storage: Storage, calls: Collection[str], judged: Judged) -> None:
    try:
        data = storage.read(layout.CHRONOLOG)
    except FileNotFoundError:
        return  # a problem that verify names itself
    cut = heads.cut(data, heads.bound(storage, "session"))
    if cut is not None:
        judged.problems.append(f"{layout.CHRONOLOG}: {cut}")
        return
    heard = {e.get("call_id") for e in chronolog.read(data) if e["event"] in _HEARD}
    unheard = sum(1 for call in calls if call not in heard)
    if unheard and not chronolog.problems(data):
        judged.remarks.append(
            f"{unheard} archived calls have no event: {layout.CHRONOLOG} was cut off after line "
            f"{data.count(bytes([10]))}, or a power cut took its end; the archive is whole"
        )


def _project_chronolog(storage: Storage, judged: Judged) -> None:
    try:
        path = heads.project_chronolog(folder(storage.url), manifests.read(storage).project)
    except CustodyError:
        return
    head = heads.bound(storage, "project")
    if head is not None and any(
        heads.upto(data, head) and not chronolog.problems(data) for data in heads.carried(storage)
    ):
        return  # where it was copied from; the project's chronolog here may be another one
    try:
        data = path.read_bytes()
    except OSError:
        if head is not None:
            judged.remarks.append(f"{path.name} is not here, so it is not judged")
        return
    cut = heads.cut(data, head)
    judged.problems.extend(f"{path.name}: {one}" for one in (*chronolog.problems(data), *([cut] if cut else ())))
