"""(a) What recording adds to a call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmarks import calls, rounds
from benchmarks.processes import Bench, Subject
from benchmarks.rounds import Spread


@dataclass(frozen=True)
class Case:
    """One kind of round. ``disk`` "10 ms": a disk whose every sync takes so long, simulated."""

    name: str
    kind: str
    count: int
    size: int = 60
    in_flight: int = 1
    slow: bool = False
    disk: str = "real"


CASES = (
    Case("sync, small", "sync", 60),
    Case("sync, 140 k characters", "sync", 20, size=calls.LARGE),
    Case("streamed, small", "stream", 30),
    Case("streamed, 140 k characters", "stream", 12, size=calls.LARGE),
    Case("async, 1 in flight", "async", 40),
    Case("async, 16 in flight", "async", 128, in_flight=16),
    Case("async, 64 in flight", "async", 256, in_flight=64),
    Case("async, 64 in flight, vendor takes 300 ms", "async", 128, in_flight=64, slow=True),
    Case("sync, small, 10 ms disk", "sync", 15, disk="10 ms"),
    Case("async, 64 in flight, 10 ms disk", "async", 256, in_flight=64, disk="10 ms"),
    Case("async, 64 in flight, vendor takes 300 ms, 10 ms disk", "async", 128, in_flight=64, slow=True, disk="10 ms"),
)


@dataclass
class Row:
    """Microseconds a call, and ratios; ``floor`` is what the same bytes and one fdatasync add to the bare SDK,
    ``beyond_floor`` and ``added_cpu_floor`` what custody adds to that."""

    case: Case
    bare_wall: Spread
    bare_cpu: Spread
    added_wall: Spread
    added_cpu: Spread
    added_cpu_mean: Spread
    wall_ratio: Spread
    cpu_ratio: Spread
    floor_wall: Spread | None = None
    beyond_floor: Spread | None = None
    added_cpu_floor: Spread | None = None
    first_bare: Spread | None = None
    first_added: Spread | None = None
    first_ratio: Spread | None = None


@dataclass
class Overhead:
    bytes_per_call: int = 0
    rows: list[Row] = field(default_factory=list)

    def row(self, name: str) -> Row | None:
        return next((row for row in self.rows if row.case.name == name), None)


SHORT = ("sync, small", "streamed, small", "async, 16 in flight")


def measure(bench: Bench, repeat: int, scale: float = 1.0) -> Overhead:
    """All cases, ``repeat`` rounds each; ``scale`` below 1 shortens the rounds, and tries ``SHORT`` only."""
    found = Overhead()
    cases = [case for case in CASES if scale >= 1 or case.name in SHORT]
    for disk, suffix in (("real", ""), ("10 ms", ", 10 ms disk")):
        if not any(case.disk == disk for case in cases):
            continue
        bare, recording = bench.subject("bare" + suffix), bench.subject("custody" + suffix)
        floor = bench.subject("bare" + suffix)
        floor.name = "floor"
        try:
            for case in cases:
                if case.disk == disk:
                    print(f"  {case.name}", flush=True)
                    found.rows.append(_case(case, bare, recording, floor, repeat, scale, found))
        finally:
            for subject in (bare, recording, floor):
                subject.stop()
    return found


def _case(
    case: Case, bare: Subject, recording: Subject, floor: Subject, repeat: int, scale: float, found: Overhead
) -> Row:
    count = max(case.in_flight, 2, int(case.count * scale))
    work: dict[str, Any] = {"kind": case.kind, "size": case.size, "in_flight": case.in_flight, "slow": case.slow}
    size = _bytes_per_call(recording, work)
    if case == CASES[0]:
        found.bytes_per_call = size
    with_floor = case.kind != "async"
    subjects = (bare, recording, floor) if with_floor else (bare, recording)
    rows = rounds.take_turns(subjects, count, repeat, {"floor": size}, **work)
    one, base = recording.name, bare.name
    row = Row(
        case,
        rounds.measured(rows, base, rounds.wall),
        rounds.measured(rows, base, rounds.cpu),
        rounds.added(rows, one, base, rounds.wall),
        rounds.added(rows, one, base, rounds.cpu),
        rounds.added(rows, one, base, rounds.cpu_mean),
        rounds.ratio(rows, one, base, rounds.wall),
        rounds.ratio(rows, one, base, rounds.cpu_mean),
    )
    if with_floor:
        row.floor_wall = rounds.added(rows, "floor", base, rounds.wall)
        row.beyond_floor = rounds.added(rows, one, "floor", rounds.wall)
        row.added_cpu_floor = rounds.added(rows, one, "floor", rounds.cpu)
    if case.kind == "stream":
        row.first_bare = rounds.measured(rows, base, rounds.first_chunk)
        row.first_added = rounds.added(rows, one, base, rounds.first_chunk)
        row.first_ratio = rounds.ratio(rows, one, base, rounds.first_chunk)
    return row


def _bytes_per_call(recording: Subject, work: dict[str, Any]) -> int:
    """What custody writes of one call, from two of them."""

    def written() -> int:
        return sum(path.stat().st_size for path in recording.folder.rglob("llm_archive/*"))

    recording.do("calls", count=1, first=rounds.first_number(1), **work)
    before = written()
    recording.do("calls", count=2, first=rounds.first_number(2), **work)
    return max(1, (written() - before) // 2)
