"""What stands around a session's archive, for ``verify``: frozen definitions, and how far its chronologs had come."""

from __future__ import annotations

from typing import NamedTuple

from custody import layout
from custody.errors import CustodyError
from custody.integrity import chronolog
from custody.integrity.chain import Chain
from custody.report.events import Events
from custody.research import snapshots
from custody.sessions import heads
from custody.sessions import manifest as manifests
from custody.storage import Storage
from custody.storage.folders import at, folder


class Judged(NamedTuple):
    problems: list[str]
    remarks: list[str]


def check(storage: Storage, told: Events | None) -> Judged:
    """``told``: by the session's chronolog; None where there is none, which verify says itself."""
    judged = Judged([], [])
    if any(entry.name == layout.COPYING for entry in storage.list(layout.COPYING)):
        judged.problems.append("it is a copy that has not come to its end: run the same custody copy again")
    if told is not None:
        _session_chronolog(told, judged)
    _project_chronolog(storage, judged)
    experiment = at(folder(storage.url).parents[1])
    wrong, said = snapshots.problems(experiment, storage)
    judged.problems.extend(wrong)
    judged.remarks.extend(said)
    return judged


def _session_chronolog(told: Events, judged: Judged) -> None:
    if told.cut is not None:
        judged.problems.append(f"{layout.CHRONOLOG}: {told.cut}")
    elif told.unheard and not told.chain.problems:
        judged.remarks.append(
            f"{told.unheard} archived calls have no event: {layout.CHRONOLOG} was cut off after line "
            f"{told.chain.lines}, or a power cut took its end; the archive is whole"
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
    chain = Chain(head[0] if head else None).follow([data])
    cut = heads.cut(chain, head)
    judged.problems.extend(f"{path.name}: {one}" for one in (*chain.problems, *([cut] if cut else ())))
