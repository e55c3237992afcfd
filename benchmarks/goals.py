"""The goals, what was measured, and whether they are met."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.peers import Peers
from benchmarks.remote import Remote
from benchmarks.results import Results


@dataclass(frozen=True)
class Goal:
    """``met``: None where it was not measured."""

    what: str
    goal: str
    measured: str
    ratio: str
    met: bool | None


def table(found: Results) -> str:
    """All goals as a Markdown table."""
    lines = ["| what | goal | measured | ratio | met |", "|---|---|---|---|---|"]
    for goal in goals(found):
        word = {True: "yes", False: "**no**", None: "not measured"}[goal.met]
        lines.append(f"| {goal.what} | {goal.goal} | {goal.measured} | {goal.ratio} | {word} |")
    return "\n".join(lines)


def goals(found: Results) -> Iterator[Goal]:
    """In the order of the issue."""
    yield from _overhead(found)
    yield from _peers(found.peers)
    yield from _rest(found)
    yield from _remote(found.remote)


def _missing(what: str, goal: str) -> Goal:
    return Goal(what, goal, "", "", None)


def _overhead(found: Results) -> Iterator[Goal]:
    row = found.overhead.row("sync, small") if found.overhead else None
    what, goal = "CPU added per small call, recording (openai sync)", "150 us at the median, 10 % of the bare SDK's"
    if row is None or row.added_cpu_floor is None or row.beyond_floor is None:
        yield _missing(what, goal)
    else:
        share = row.added_cpu.median / row.bare_cpu.median
        yield Goal(
            what,
            goal,
            f"{row.added_cpu.text(0, ' us')}; without the sync's own {row.added_cpu_floor.text(0, ' us')}",
            f"{share:.0%}; {row.added_cpu_floor.median / row.bare_cpu.median:.0%}",
            row.added_cpu.median <= 150 and share <= 0.10,
        )
        beyond = row.beyond_floor
        yield Goal(
            "wall added per call beyond one fdatasync of the same bytes",
            "150 us at the median",
            beyond.text(0, " us"),
            f"the sync alone: {row.floor_wall.text(0, ' us') if row.floor_wall else ''}",
            beyond.median <= 150,
        )
    for name, least in (("async, 64 in flight", 0.90), ("async, 64 in flight, vendor takes 300 ms", 0.99)):
        row = found.overhead.row(name) if found.overhead else None
        what, goal = f"throughput, {name}", f"{least:.0%} of bare"
        if row is None:
            yield _missing(what, goal)
        else:
            rate = 1 / row.wall_ratio.median
            per_second = 1e6 / (row.bare_wall.median + row.added_wall.median)
            yield Goal(what, goal, f"{per_second:.0f}/s, bare {1e6 / row.bare_wall.median:.0f}/s", f"{rate:.1%}",
                       rate >= least)  # fmt: skip
    row = found.overhead.row("streamed, small") if found.overhead else None
    what, goal = "time to first streamed chunk", "within 2 % or 0.2 ms of bare"
    if row is None or row.first_added is None or row.first_ratio is None:
        yield _missing(what, goal)
    else:
        ok = row.first_added.median <= 200 or row.first_ratio.median <= 1.02
        yield Goal(what, goal, row.first_added.text(0, " us later"), f"{row.first_ratio.median:.2f}", ok)


def _peers(peers: Peers | None) -> Iterator[Goal]:
    own = peers.row("custody") if peers else None
    names = ("less CPU added than every peer", "less wall added than each that keeps all calls at SIGKILL",
             "within 0.3 ms of the cheapest batching peer, which keeps none")  # fmt: skip
    if peers is None or own is None or own.cpu is None or own.wall is None:
        for name in names:
            yield _missing(name, "")
        return
    others = [row for row in peers.rows if row is not own and row.cpu is not None and row.wall is not None]
    cheapest = min(others, key=lambda row: row.cpu.median if row.cpu else 0.0, default=None)
    if cheapest is not None and cheapest.cpu is not None:
        yield Goal(names[0], f"below {cheapest.name}'s {cheapest.cpu.text(0, ' us')}", own.cpu.text(0, " us"),
                   f"{own.cpu.median / cheapest.cpu.median:.2f}", own.cpu.median < cheapest.cpu.median)  # fmt: skip
    durable = [row for row in others if row.kept is not None and row.kept >= 100]
    for row in durable:
        assert row.wall is not None
        yield Goal(names[1], f"below {row.name}'s {row.wall.text(0, ' us')}", own.wall.text(0, " us"),
                   f"{own.wall.median / row.wall.median:.2f}", own.wall.median < row.wall.median)  # fmt: skip
    batching = [row for row in others if row.kept == 0]
    cheap = min(batching, key=lambda row: row.wall.median if row.wall else 0.0, default=None)
    if cheap is not None and cheap.wall is not None:
        yield Goal(names[2], f"{cheap.name}'s {cheap.wall.text(0, ' us')} and 300 us", own.wall.text(0, " us"),
                   f"{(own.wall.median - cheap.wall.median) / 1000:+.2f} ms",
                   own.wall.median - cheap.wall.median <= 300)  # fmt: skip


def _rest(found: Results) -> Iterator[Goal]:
    if found.replay is None:
        yield _missing("replay", "3 times the bare SDK's rate")
    else:
        for kind, ratio in found.replay.ratio.items():
            rate = (
                f"{found.replay.replayed[kind].median:.0f}/s, bare {found.replay.bare[kind].median:.0f}/s; "
                f"the SDK over a transport in memory: {found.replay.most[kind].median:.2f} times"
            )
            yield Goal(f"replay, {kind}", "3 times the bare SDK's rate", rate, ratio.text(2), ratio.median >= 3)
    for size in found.scale.sizes if found.scale else ():
        n, resumed = f"{size.calls:,} calls", size.with_index
        share = size.calls / 1_000_000
        if resumed is not None:
            yield Goal(f"resume of {n}, start to first replayed call", f"under {max(3 * share, 3):.0f} s, 500 MB",
                       f"{resumed.replayed:.2f} s, {resumed.peak_mb:.0f} MB", "",
                       resumed.replayed < 3 and resumed.peak_mb < 500)  # fmt: skip
        if size.without_index is not None:
            bare = size.without_index
            yield Goal(f"the same without the index, {n}", "under 30 s, 500 MB",
                       f"{bare.replayed:.2f} s, {bare.peak_mb:.0f} MB", "",
                       bare.replayed < 30 and bare.peak_mb < 500)  # fmt: skip
        if size.verify is not None:
            speed = size.bytes / 1e6 / size.verify.cpu
            yield Goal(f"verify, all CRCs, {n}", "500 MB/s a core", f"{speed:.0f} MB/s of CPU time, "
                       f"{size.bytes / 1e6 / size.verify.wall:.0f} MB/s of wall, {size.verify.peak_mb:.0f} MB", "",
                       speed >= 500 and size.verify.ok)  # fmt: skip
        if size.deep is not None and size.sha256sum is not None:
            ratio = size.deep.wall / size.sha256sum.wall
            yield Goal(f"verify --deep, {n}", "1.3 times sha256sum", f"{size.deep.wall:.2f} s, sha256sum "
                       f"{size.sha256sum.wall:.2f} s", f"{ratio:.2f}", ratio <= 1.3 and size.deep.ok)  # fmt: skip
    space = found.space
    if space is None:
        yield _missing("disk, closed segments", "8 % of the raw bytes")
    else:
        yield Goal(f"disk, closed segments, {space.documents} documents x {space.runs} runs", "8 % of the raw bytes",
                   f"{space.compressed / 1e6:.2f} MB of {space.raw / 1e6:.2f} MB; live {space.live / space.raw:.0%}",
                   f"{space.compressed / space.raw:.1%}", space.compressed / space.raw <= 0.08)  # fmt: skip
    asked = found.questions
    if asked is None or asked.asked is None:
        yield _missing("tokens and cost by model and stage over 10^6 calls, custody sql", "under 5 s")
    else:
        yield Goal(f"tokens and cost by model and stage over {asked.rows:,} calls, custody sql", "under 5 s",
                   f"{asked.asked.wall:.2f} s, {asked.asked.peak_mb:.0f} MB", "",
                   asked.asked.wall < 5 and asked.asked.ok)  # fmt: skip
        most = max(asked.verified)
        yield Goal(f"verify --deep on Dask, {asked.calls:,} calls, {most} workers", "less than with 1",
                   f"{asked.verified[most]:.2f} s, with 1: {asked.verified[1]:.2f} s",
                   f"{asked.verified[most] / asked.verified[1]:.2f}",
                   asked.same and asked.verified[most] < asked.verified[1])  # fmt: skip


def _remote(found: Remote | None) -> Iterator[Goal]:
    what = "wall added per call on S3 (Ceph's gateway)"
    if found is None or found.added is None or found.beyond is None or found.put is None:
        yield Goal(what, "one conditional PUT and 1 ms", found.missing if found else "", "", None)
        return
    yield Goal(what, "one conditional PUT of the same bytes and 1 ms at the median", found.added.text(0, " us"),
               f"the PUT {found.put.text(0, ' us')}; beyond it {found.beyond.text(0, ' us')}",
               found.beyond.median <= 1000)  # fmt: skip
    for name, rates in found.in_flight.items():
        yield Goal(f"throughput on S3, {name}", "90% of bare", f"{rates.rate.median:.0f}/s, bare "
                   f"{rates.bare.median:.0f}/s", f"{rates.share.median:.1%}", rates.share.median >= 0.90)  # fmt: skip
    if found.opened is not None:
        yield Goal(f"a session of {found.calls:,} calls on S3, start to first replayed call, after compaction",
                   "under 30 s", f"{found.opened.replayed:.2f} s, {found.opened.peak_mb:.0f} MB", "",
                   found.opened.replayed < 30)  # fmt: skip
