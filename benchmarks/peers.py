"""(b) The same calls under other recorders, and what each has kept when the process is killed at their end."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import rounds
from benchmarks.calls import NAMED
from benchmarks.processes import Bench, Failed, Subject
from benchmarks.rounds import Spread

CALLS = 100  # before the kill
PEERS = ("OpenLLMetry", "OpenInference", "Langfuse", "Logfire", "MLflow", "Weave", "litellm, disk cache")
_BASE = {"litellm, disk cache": "litellm"}  # measured beside litellm itself; the others beside the bare SDK


@dataclass
class Peer:
    """Microseconds a call added; ``cpu`` with background threads, to the start of the next round.

    Attributes:
        kept: of ``CALLS`` finished calls, those on disk or at the collector after SIGKILL.
        problem: why it could not be measured.
    """

    name: str
    wall: Spread | None = None
    cpu: Spread | None = None
    stream_wall: Spread | None = None
    stream_cpu: Spread | None = None
    kept: int | None = None
    problem: str = ""


@dataclass
class Peers:
    rows: list[Peer] = field(default_factory=list)

    def row(self, name: str) -> Peer | None:
        return next((row for row in self.rows if row.name == name), None)


def measure(bench: Bench, repeat: int, scale: float) -> Peers:
    """All peers and custody, in turns with the SDK that each of them records; ``scale`` below 1: custody alone."""
    names = ("bare", "custody", *PEERS, "litellm") if scale >= 1 else ("bare", "custody")
    found = Peers()
    running: list[Subject] = []
    for name in names:
        try:
            running.append(bench.subject(name, peer=name not in ("bare", "custody")))
        except Failed as error:
            print(f"  {error}", flush=True)
            if name != "litellm":
                found.rows.append(Peer(name, problem=str(error).removeprefix(f"{name}: ")))
    able = _able(running, found)
    rows = {
        kind: rounds.take_turns(able, max(3, int(count * scale)), repeat, {}, kind=kind)
        for kind, count in (("sync", 40), ("stream", 20))
    }
    for subject in able:
        base = _BASE.get(subject.name, "bare")
        if subject.name not in ("bare", "litellm") and base in rows["sync"]:
            found.rows.append(
                Peer(
                    subject.name,
                    rounds.added(rows["sync"], subject.name, base, rounds.wall),
                    rounds.added(rows["sync"], subject.name, base, _with_background(rows["sync"])),
                    rounds.added(rows["stream"], subject.name, base, rounds.wall),
                    rounds.added(rows["stream"], subject.name, base, _with_background(rows["stream"])),
                )
            )
    for subject in able:
        subject.stop()
    for peer in found.rows:
        if not peer.problem:
            peer.kept = _kept(bench, peer.name)
    return found


def _able(running: list[Subject], found: Peers) -> list[Subject]:
    """Those that can make a call at all."""
    able = []
    for subject in running:
        try:
            for kind in ("sync", "stream"):
                subject.do("calls", kind=kind, count=1, first=rounds.first_number(1))
        except Failed as error:
            print(f"  {error}", flush=True)
            if subject.name != "litellm":
                found.rows.append(Peer(subject.name, problem=str(error).removeprefix(f"{subject.name}: ")))
        else:
            able.append(subject)
    return able


def _with_background(rows: dict[str, list[rounds.Round]]) -> rounds.Value:
    """A call's CPU time with what the process did until its next round began: exporters work behind the calls."""
    following = {
        id(one): after for turns in rows.values() for one, after in zip(turns, [*turns[1:], None], strict=True)
    }

    def value(one: rounds.Round) -> float:
        after = following[id(one)]
        spent = after["cpu_at_start"] - one["cpu_at_start"] if after else one["round_cpu"]
        return float(spent) / int(one["count"])

    return value


def _kept(bench: Bench, name: str) -> int | None:
    bench.sink.get("/forget")
    try:
        subject = bench.subject(name, peer=name != "custody")
        first = rounds.first_number(CALLS)
        subject.send("calls", kind="sync", count=CALLS, first=first, then="kill")
        subject.wait()
    except (Failed, OSError) as error:
        print(f"  {name}, killed: {error}", flush=True)
        return None
    wanted = {f"bench-call-{number:07d}" for number in range(first, first + CALLS)}
    return _found(name, subject.folder, wanted, set(bench.sink.get("/seen")))


def _found(name: str, folder: Path, wanted: set[str], at_sink: set[str]) -> int:
    if name == "custody":  # a call is complete with its call line
        segments = [path.read_bytes() for path in folder.rglob("llm_archive/*.jsonl")]
        return sum(len(re.findall(rb'^\{"kind":"call",.*"crc32":"[0-9a-f]{8}"\}$', data, re.M)) for data in segments)
    if name == "litellm, disk cache":  # a row of its cache; the key is a digest of the prompt
        with closing(sqlite3.connect(folder / "cache" / "cache.db")) as database:
            return int(database.execute("SELECT count(*) FROM Cache").fetchone()[0])
    on_disk = {
        name.decode() for path in folder.rglob("*") if path.is_file() for name in NAMED.findall(path.read_bytes())
    }
    return len(wanted & (on_disk | at_sink))
