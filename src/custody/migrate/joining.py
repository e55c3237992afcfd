"""Which ids are one run: what a file names together, and stamps a second or two apart.

Names have local time without a zone; one of them may be in UTC. How far the two are apart is taken from
logs whose name has the one and whose first line has the other. Two conversations, or two session folders,
are never one run by time alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from custody.migrate import times

NEAR = timedelta(seconds=2)


@dataclass
class Run:
    """One run of one experiment.

    Attributes:
        ids: every id of it, with how it came to it.
        files: paths in the source.
        folders: those that are a session by themselves.
        local: one of its logs shows that its name is in local time.
    """

    root: str
    ids: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)
    local: bool = False

    @property
    def stamps(self) -> list[datetime]:
        return sorted(stamp for name in self.ids if (stamp := times.in_name(name)) is not None)

    @property
    def name(self) -> str:
        """The id that a person would look for: a session's before a conversation's before a folder's."""
        return min(self.ids, key=lambda i: ("session" not in i, "conversation" not in i, len(i), i), default="")

    def conversations(self) -> set[str]:
        return {name for name in self.ids if name.startswith("conversation_")}


@dataclass(frozen=True)
class Sighting:
    """A file and the ids that are its run's; ``own_folder``: they name a folder that is a session by itself."""

    path: str
    root: str
    ids: tuple[str, ...]
    own_folder: bool = False
    local: bool = False


def join(sightings: Iterable[Sighting], offsets: Iterable[timedelta]) -> list[Run]:
    """The runs, in order of their stamps."""
    runs: list[Run] = []
    for sighting in sightings:
        if sighting.ids:
            _take(runs, sighting)
    merged = _by_time(runs, sorted(set(offsets)))
    return sorted(merged, key=lambda run: (run.root, run.stamps[0] if run.stamps else datetime.max, run.name))


def _take(runs: list[Run], sighting: Sighting) -> None:
    """Put a file to the run that has one of its ids; join those that it shows to be one."""
    found = [run for run in runs if run.root == sighting.root and run.ids.keys() & set(sighting.ids)]
    run = found[0] if found else Run(sighting.root)
    if not found:
        runs.append(run)
    for name in sighting.ids:
        run.ids.setdefault(name, "" if not run.ids else f"named together in {sighting.path}")
    for other in found[1:]:
        _absorb(run, other, f"named together in {sighting.path}")
        runs.remove(other)
    run.files.append(sighting.path)
    run.local = run.local or sighting.local
    if sighting.own_folder:
        run.folders.add(sighting.ids[0])


def _by_time(runs: list[Run], offsets: list[timedelta]) -> list[Run]:
    ordered = sorted((run for run in runs if run.stamps), key=lambda run: (run.root, run.stamps[0], run.name))
    kept: list[Run] = []
    for run in ordered:
        best = None
        for other in kept:
            why = _near(other, run, offsets)
            if why is not None and _may_be_one(other, run) and (best is None or why[0] < best[1][0]):
                best = (other, why)
        if best is None:
            kept.append(run)
        else:
            _absorb(best[0], run, best[1][1])
    return [*kept, *(run for run in runs if not run.stamps)]


def _near(one: Run, other: Run, offsets: list[timedelta]) -> tuple[timedelta, str] | None:
    """How near two runs' stamps are, and in words; None where they are not."""
    if one.root != other.root:
        return None
    found: list[tuple[timedelta, str]] = []
    for a in one.stamps:
        for b in other.stamps:
            apart = abs(b - a)
            if apart <= NEAR:
                found.append((apart, f"{apart.total_seconds():.0f} s apart"))
            for offset in () if one.local and other.local else offsets:
                rest = min(abs(b - a - offset), abs(a - b - offset))
                if offset and rest <= NEAR:
                    hours = offset.total_seconds() / 3600
                    found.append((rest + NEAR, f"the same in UTC ({-hours:+g} h), {rest.total_seconds():.0f} s apart"))
    return min(found) if found else None


def _may_be_one(one: Run, other: Run) -> bool:
    if one.folders and other.folders:
        return False
    mine, theirs = one.conversations(), other.conversations()
    return not (mine and theirs and mine != theirs)


def _absorb(run: Run, other: Run, why: str) -> None:
    for name, how in other.ids.items():
        run.ids.setdefault(name, how or why)
    run.files += other.files
    run.folders |= other.folders
    run.local = run.local or other.local
