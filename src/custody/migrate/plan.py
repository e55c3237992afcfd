"""The plan of a migration: every byte of the source, every run, every call. Reads only."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Literal

from custody import layout
from custody.errors import UsageError
from custody.migrate import chronologs, conversations, definitions, machine, merging, naming, prompts, times
from custody.migrate import runs as runs_of
from custody.migrate import source as sources
from custody.migrate.detect import SHAPES, Placed
from custody.migrate.detect import place as placed_files
from custody.migrate.joining import Run
from custody.migrate.legacy import Generation, LegacyCall, Reading
from custody.migrate.naming import Home
from custody.redact import Redactor

Disposition = Literal["migrated", "kept", "ignored"]

_NEAR_START = timedelta(hours=1)
_FARTHEST = timedelta(hours=15)  # between a name and its first line, whatever the zone

_READERS = {
    "conversation": conversations.read,
    "machine_log": machine.read_log,
    "state": machine.read_state,
    "chronolog": chronologs.read,
}


@dataclass
class PlannedFile:
    """A file of the source and what becomes of it.

    Attributes:
        belongs_to: folder of its project or experiment, where it is of no run.
        goes_to: where its copy lies, relative to the destination.
    """

    path: str
    size: int
    sha256: str | None
    kind: str
    generation: str | None
    disposition: Disposition
    reason: str
    belongs_to: str = ""
    goes_to: str | None = None


@dataclass
class PlannedSession:
    """A session that will be made.

    Attributes:
        started_by: where the point in time is taken from.
        zone: what naive stamps are behind UTC by; None where that is not known, and they are taken as UTC.
    """

    run: Run
    home: Home
    session: str
    started: datetime
    started_by: str
    generations: list[str]
    calls: list[LegacyCall]
    zone: timedelta | None = None

    @property
    def folder(self) -> str:
        return f"projects/{self.home.project}/experiments/{self.home.experiment}/sessions/{self.session}"

    def utc(self, when: datetime) -> datetime:
        if when.tzinfo is not None:
            return when.astimezone(UTC)
        return (when + (self.zone or timedelta())).replace(tzinfo=UTC)


@dataclass
class Plan:
    """All of it. ``id`` names this state of this source."""

    source: Path
    id: str
    total: int
    files: list[PlannedFile] = field(default_factory=list)
    sessions: list[PlannedSession] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    checks: Counter[tuple[str, str]] = field(default_factory=Counter)
    definitions: list[definitions.Definition] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    stage: str | None = None


def make(source: Path, *, project: str | None = None, experiment: str | None = None, stage: str | None = None) -> Plan:
    """Plan the migration of ``source``. Raises UsageError where nothing of an older layout is in it."""
    source = source.resolve()
    files = sources.walk(source)
    placed = placed_files(files, source)
    roots = sorted({p.root for p in placed if p.root is not None})
    if not roots:
        raise UsageError(
            f"{source}: no older layout is recognised in these {len(files)} files; looked for {', '.join(SHAPES)}"
        )
    homes = _homes(source, roots, project, experiment)
    plan = Plan(source, _identity(files), sources.total(source), stage=stage)
    readings = _read(source, placed)
    offsets = {root: runs_of.offsets_of(readings, placed, root) for root in roots}
    runs = runs_of.find(placed, readings, roots, offsets)
    calls = runs_of.assigned(source, readings, runs, homes, offsets, plan.counts)
    stems = {root: _stems(placed, root) for root in roots}
    sessions = []
    for run, found in calls:
        merged = merging.merge(found, stems.get(run.root, {}), plan.counts)
        sessions.append(_session(run, merged, homes[run.root], readings, offsets.get(run.root, []), placed))
    plan.sessions = sessions
    number(plan.sessions, set())
    for reading in readings.values():
        plan.counts += reading.counts
        plan.checks += reading.checks
    plan.files = _files(placed, plan.sessions, readings, homes)
    place(plan)
    plan.definitions = definitions.find(source, placed, readings, {root: homes[root].experiment for root in roots})
    _count(plan, placed)
    return plan


def _homes(source: Path, roots: list[str], project: str | None, experiment: str | None) -> dict[str, Home]:
    if experiment is not None and len(roots) > 1:
        raise UsageError(f"--experiment names one experiment, and {source} holds {len(roots)}: {', '.join(roots)}")
    homes = {}
    for root in roots:
        home = naming.home(source, root)
        if project is not None:
            home = home._replace(project=layout.checked_name("project", project))
        if experiment is not None:
            home = home._replace(experiment=layout.checked_name("experiment", experiment))
        homes[root] = home
    return homes


def _identity(files: list[sources.SourceFile]) -> str:
    digest = hashlib.sha256()
    for file in files:
        told = (file.path, str(file.size), file.kind, file.sha256 or "", file.target)
        digest.update("\0".join(told).encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()[:16]


def _read(source: Path, placed: list[Placed]) -> dict[str, Reading]:
    readings: dict[str, Reading] = {}
    folders: dict[str, list[Placed]] = defaultdict(list)
    for p in placed:
        path = p.file.path
        if p.kind == "archive":
            folders[path.rpartition("/")[0]].append(p)
        elif (reader := _READERS.get(p.kind)) is not None:
            readings[path] = reader(path, sources.read(source, path))
    for folder, members in folders.items():
        data = {p.file.path.rpartition("/")[2]: sources.read(source, p.file.path) for p in members}
        for reading in prompts.read(folder, data, members[0].ids[0]):
            readings[reading.file] = reading
    roots = {p.file.path: p.root for p in placed}
    gen3b = {roots[r.file] for r in readings.values() if r.generation == "gen3b"}
    for reading in readings.values():
        if reading.generation == "gen3a" and roots[reading.file] in gen3b:
            reading.generation = "gen3b"
            for call in reading.calls:
                call.generation = "gen3b"
    return readings


def _stems(placed: list[Placed], root: str) -> dict[str, set[str]]:
    """The experiment's documents: what lies in a folder called corpus."""
    found: dict[str, set[str]] = defaultdict(set)
    for p in placed:
        parts = p.file.path.split("/")
        if p.root == root and p.kind == "experiment_file" and "corpus" in parts[:-1]:
            found[PurePosixPath(parts[-1]).stem].add(parts[-1])
    return found


def _session(
    run: Run, calls: list[LegacyCall], home: Home, readings: dict[str, Reading], offsets: list[timedelta],
    placed: list[Placed],
) -> PlannedSession:  # fmt: skip
    own = [readings[path] for path in run.files if path in readings]
    aware = sorted(r.first for r in own if r.first is not None and r.first.tzinfo is not None)
    naive = [r.first for r in own if r.first is not None and r.first.tzinfo is None]
    zone = _zone(run, naive, offsets)
    started, by = _start(run, aware, naive, offsets)
    # A chronolog is in all of them; it says nothing unless there is nothing else.
    generations: set[Generation] = {r.generation for r in own if r.kind != "chronolog"}
    generations |= {call.generation for call in calls} or {r.generation for r in own if not generations}
    if not generations and any(p.kind == "human_log" for p in placed if p.file.path in run.files):
        generations = {"gen3b"}
    return PlannedSession(run, home, "", started.replace(microsecond=0), by, sorted(generations), calls, zone)


def _start(run: Run, aware: list[datetime], naive: list[datetime], offsets: list[timedelta]) -> tuple[datetime, str]:
    """When a run began, in UTC, and where that is taken from."""
    named = run.stamps[0] + offsets[0] if run.stamps and offsets else None
    if named is not None and all(abs(times.plain(first) - named) < _NEAR_START for first in aware[:1]):
        return named.replace(tzinfo=UTC), "its name, and the zone by its logs"
    if aware and all(abs(times.plain(aware[0]) - stamp) < _FARTHEST for stamp in run.stamps[:1]):
        return aware[0].astimezone(UTC), "its first line"
    if run.stamps:
        return run.stamps[0].replace(tzinfo=UTC), "its name; its zone is not recorded, and taken as UTC"
    if naive:
        return min(naive).replace(tzinfo=UTC), "its first line; its zone is not recorded, and taken as UTC"
    return datetime(1970, 1, 1, tzinfo=UTC), "nothing: no time is recorded"


def _zone(run: Run, naive: list[datetime], offsets: list[timedelta]) -> timedelta | None:
    """Whether naive lines are local: they begin where the run's name says, not where that is in UTC."""
    if not (naive and run.stamps and offsets):
        return None
    first, near = min(naive), timedelta(minutes=5)
    local = abs(first - run.stamps[0]) <= near
    return offsets[0] if local else timedelta() if abs(first - run.stamps[0] - offsets[0]) <= near else None


def number(sessions: list[PlannedSession], taken: set[str]) -> None:
    """Give every session an id that no other one has."""
    taken = set(taken)
    for session in sorted(sessions, key=lambda s: (s.started, s.home.project, s.home.experiment, s.run.name)):
        attempt = 0
        while (name := layout.new_session_id(session.started, attempt)) in taken:
            attempt += 1
        taken.add(name)
        session.session = name
    sessions.sort(key=lambda s: (s.home.project, s.home.experiment, s.started, s.session))


def place(plan: Plan) -> None:
    """Say where every file goes, once the sessions have their ids."""
    session_of = {path: session for session in plan.sessions for path in session.run.files}
    for file in plan.files:
        if file.disposition != "ignored":
            folder = session_of[file.path].folder if file.path in session_of else file.belongs_to
            file.goes_to = f"{folder}/{layout.ORIGINALS}/{file.path}".lstrip("/")


def _files(
    placed: list[Placed], sessions: list[PlannedSession], readings: dict[str, Reading], homes: dict[str, Home]
) -> list[PlannedFile]:
    used: dict[str, int] = Counter()
    for session in sessions:
        for call in session.calls:
            for path in {call.file, *(_file_of(p) for p in call.also)}:
                used[path] += 1
    planned = []
    for p in placed:
        path, reading = p.file.path, readings.get(p.file.path)
        generation = reading.generation if reading is not None else None
        entry = PlannedFile(path, p.file.size, p.file.sha256, p.kind, generation, "kept", "")
        planned.append(entry)
        if p.kind == "ignored":
            entry.kind, entry.disposition, entry.reason = p.file.kind, "ignored", p.reason
            continue
        entry.belongs_to = _place(p, homes)
        if used.get(path):
            entry.disposition, entry.reason = "migrated", f"{used[path]} calls"
        elif reading is not None and not p.file.size:
            entry.reason = "empty"
        else:
            entry.reason = _KEPT.get(p.kind, "of the experiment")
    return planned


_KEPT = {
    "conversation": "no call in it",
    "machine_log": "no call in it",
    "state": "no call in it",
    "archive": "no call in it",
    "chronolog": "its events are no calls",
    "human_log": "the same as the machine log, for people",
    "run_file": "of the run",
    "project_file": "of the project",
}


def _file_of(place: str) -> str:
    path, _, line = place.rpartition(":")
    return path if path and line.isdigit() else place


def _place(p: Placed, homes: dict[str, Home]) -> str:
    """Where a file that is of no run belongs."""
    if p.root is not None:
        home = homes[p.root]
        return f"projects/{home.project}/experiments/{home.experiment}"
    for home in homes.values():
        folder = home.project_folder
        if folder is not None and (not folder or p.file.path.startswith(f"{folder}/")):
            return f"projects/{home.project}"
    projects = {home.project for home in homes.values()}
    return f"projects/{projects.pop()}" if len(projects) == 1 else ""


def _count(plan: Plan, placed: list[Placed]) -> None:
    counts = plan.counts
    for session in plan.sessions:
        for call in session.calls:
            counts[f"origin_{call.origin}"] += 1
            counts["answers"] += call.answers
            counts["failed"] += call.failed == "error"
            counts["errors_as_responses"] += call.failed == "error_as_response"
            counts["died_mid_call"] += call.in_doubt
            counts["responses_not_recorded"] += call.completed and call.response is None
            counts["empty_responses"] += not call.failed and call.response is not None and not call.response.strip()
        ids = session.run.ids
        counts["joined_ids"] += len(ids) - 1
        held = [f"/{path}".partition("/results/")[2] for path in session.run.files]
        counts["split_results"] += len({rest.partition("/")[0] for rest in held if "/" in rest}) > 1
    redactor = Redactor()
    counts["credentials_suspected"] += sum(
        file.disposition != "ignored" and _holds_credential(plan.source, file, redactor) for file in plan.files
    )
    counts["symlinks"] += sum(p.file.kind == "symlink" for p in placed)
    counts["empty_files"] += sum(p.file.kind == "file" and not p.file.size for p in placed)
    counts["unreadable_files"] += sum(p.file.kind == "unreadable" for p in placed)
    pairs: dict[str, set[str]] = defaultdict(set)
    for p in placed:
        if p.kind == "experiment_file":
            path = PurePosixPath(p.file.path)
            pairs[str(path.with_suffix(""))].add(path.suffix)
    counts["documents_twice"] += sum({".md", ".txt"} <= endings for endings in pairs.values())
    for name in list(counts):
        if not counts[name]:
            del counts[name]


def _holds_credential(source: Path, file: PlannedFile, redactor: Redactor) -> bool:
    """Whether a file that is copied as it is holds text shaped like a key."""
    data = sources.read(source, file.path)
    return redactor.scrub(data) != data
