"""The runs of a source, and which call is whose: zones, ids and stamps."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime, timedelta
from pathlib import Path

from custody.migrate import conversations, naming, times
from custody.migrate.detect import Placed
from custody.migrate.joining import NEAR, Run, Sighting, join
from custody.migrate.legacy import LegacyCall, Reading
from custody.migrate.naming import Home

Offsets = dict[str, list[timedelta]]
"""By experiment's folder: how far its local time is behind UTC, the likeliest first."""


def offsets_of(readings: dict[str, Reading], placed: list[Placed], root: str) -> list[timedelta]:
    found: Counter[timedelta] = Counter()
    for p in placed:
        reading = readings.get(p.file.path)
        if reading is None:
            continue
        if p.root == root and (offset := _offset_of(p, reading)) is not None:
            found[offset] += 1
        above = p.file.path.rpartition("/")[0]
        if reading.kind == "chronolog" and (not above or f"{root}/".startswith(f"{above}/")):
            for session, first in reading.facts["firsts"].items():
                stamp = times.in_name(session)
                if stamp is not None and (offset := times.offset(stamp, first)):
                    found[offset] += 1
    return [offset for offset, _ in found.most_common()]


def _offset_of(p: Placed, reading: Reading) -> timedelta | None:
    """How far a log's own name is behind the zone that its lines state, where it is at all."""
    if reading.first is None or reading.kind == "archive":
        return None
    for name in (*p.ids, *reading.ids):
        stamp = times.in_name(name)
        offset = times.offset(stamp, reading.first) if stamp is not None else None
        if offset:
            return offset
    return None


def find(placed: list[Placed], readings: dict[str, Reading], roots: list[str], offsets: Offsets) -> list[Run]:
    runs: list[Run] = []
    for root in roots:
        sightings = []
        for p in placed:
            if p.root != root or p.kind in ("ignored", "experiment_file", "project_file"):
                continue
            reading = readings.get(p.file.path)
            ids = dict.fromkeys([*p.ids, *(reading.ids if reading is not None else ())])
            by_itself = bool(p.ids) and f"/sessions/{p.ids[0]}/" in f"/{p.file.path}"
            local = reading is not None and _offset_of(p, reading) is not None
            sightings.append(Sighting(p.file.path, root, tuple(i for i in ids if i), by_itself, local))
        runs += join(sightings, offsets[root])
    return runs


def assigned(
    source: Path,
    readings: dict[str, Reading],
    runs: list[Run],
    homes: dict[str, Home],
    offsets: Offsets,
    counts: Counter[str],
) -> list[tuple[Run, list[LegacyCall]]]:
    """Each run with the calls of its files, and with those that a log of many runs has of it."""
    by_file = {path: run for run in runs for path in run.files}
    calls: dict[int, list[LegacyCall]] = defaultdict(list)
    spans = _spans(runs, readings, offsets)
    for path, reading in readings.items():
        own = by_file.get(path)
        for call in reading.calls:
            run = own if own is not None else _run_of(source, call, path, runs, homes, spans)
            if run is None:
                counts["calls_of_no_run"] += 1
                continue
            if own is None and (call.session is None or call.session in conversations.UNKNOWN):
                counts["assigned_by_time"] += 1
            calls[id(run)].append(call)
    return [(run, calls[id(run)]) for run in runs]


def _spans(runs: list[Run], readings: dict[str, Reading], offsets: Offsets) -> dict[int, datetime]:
    """When each run began, in UTC as far as that is known."""
    begun = {}
    for run in runs:
        firsts = [r.first for path in run.files if (r := readings.get(path)) and r.first is not None]
        aware = [times.plain(first) for first in firsts if first.tzinfo is not None]
        if aware:
            begun[id(run)] = min(aware)
        elif run.stamps:
            begun[id(run)] = run.stamps[0] + next(iter(offsets.get(run.root, ())), timedelta())
        elif firsts:
            begun[id(run)] = min(firsts)
    return begun


def _run_of(
    source: Path, call: LegacyCall, path: str, runs: list[Run], homes: dict[str, Home], begun: dict[int, datetime]
) -> Run | None:
    """The run of a call in a project's log: the one that it names, else the one that was under way."""
    above = path.rpartition("/")[0]
    near = [run for run in runs if not above or run.root == above or run.root.startswith(f"{above}/")] or runs
    if call.session is not None and call.session not in conversations.UNKNOWN:
        named = next((run for run in near if call.session in run.ids), None)
        if named is not None:
            return named
        roots = {run.root for run in near}
        root = roots.pop() if len(roots) == 1 else above
        homes.setdefault(root, naming.home(source, root))
        made = Run(root, ids={call.session: f"named in {path}"})
        stamp = times.in_name(call.session)
        close = [run for run in near if stamp and any(abs(stamp - s) <= NEAR for s in run.stamps)]
        if len(close) == 1:
            close[0].ids[call.session] = f"named in {path}, within 2 s"
            return close[0]
        runs.append(made)
        return made
    when = call.time or call.asked
    if when is None:
        return near[0] if len(near) == 1 else None
    before = [run for run in near if id(run) in begun and begun[id(run)] <= times.plain(when)]
    return max(before, key=lambda run: begun[id(run)]) if before else (near[0] if len(near) == 1 else None)
