"""What of a session stands outside of its folder: the frozen files it is bound to, and its project's chronolog."""

from __future__ import annotations

from collections.abc import Iterator

from custody import layout
from custody.errors import CustodyError
from custody.research import snapshots
from custody.sessions import heads
from custody.sessions import manifest as manifests
from custody.storage import Storage
from custody.storage.folders import at
from custody.transfer.places import Place
from custody.transfer.streaming import of_target


def frozen(place: Place) -> dict[str, bytes]:
    """The experiment's frozen files that the session is bound to and that are there, by name."""
    found = {}
    experiment = at(place.path.parents[1])
    for name in _bound(place.storage):
        try:
            found[name] = experiment.read(name)
        except FileNotFoundError:
            continue  # verify remarks it
    return found


def _bound(storage: Storage) -> Iterator[str]:
    for kind, name in snapshots.FROZEN.items():
        known = snapshots.binding(storage, kind)
        if known is not None and known.get("frozen") == "experiment":
            yield name


def others(wanted: dict[str, bytes], target: Place) -> list[str]:
    """Which of these frozen files are other ones in the target's experiment."""
    try:
        experiment = at(target.path.parents[1])
    except FileNotFoundError:
        return []
    different = []
    for name, content in wanted.items():
        try:
            if experiment.read(name) != content:
                different.append(name)
        except FileNotFoundError:
            continue
    return different


def freeze(wanted: dict[str, bytes], target: Place) -> None:
    """Put the frozen files into the target's experiment where they are not there. Raises StorageError."""
    if wanted:
        experiment = at(target.path.parents[1], create=True)
        for name, content in wanted.items():
            with of_target(experiment, name):
                if not any(entry.name == name for entry in experiment.list(name)):
                    experiment.put_if_absent(name, content)


def carry(source: Place) -> tuple[str, bytes] | None:
    """Name and bytes of a file by which a copy still shows whether its project's chronolog was cut off.

    The chronolog of the target's project tells of other sessions, and cannot be that of two roots at once. So the
    session takes along the source's, as far as it is bound to it. None where there is none, or it has it already.
    """
    head = heads.bound(source.storage, "project")
    if head is None or any(heads.upto(data, head) for data in heads.carried(source.storage)):
        return None
    try:
        chronolog = heads.project_chronolog(source.path, manifests.read(source.storage).project)
        data = heads.upto(chronolog.read_bytes(), head)
    except (OSError, CustodyError):
        return None
    return None if data is None else (f"{layout.CARRIED}{head[1][:16]}.jsonl", data)
