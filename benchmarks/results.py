"""Writes ``results.md``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks import machine
from benchmarks.overhead import Overhead
from benchmarks.peers import CALLS, Peers
from benchmarks.questions import Questions
from benchmarks.remote import Remote
from benchmarks.replay import Replay
from benchmarks.rounds import Spread
from benchmarks.scale import Resumed, Run, Scale
from benchmarks.space import Space


@dataclass
class Results:
    """What was measured; None where it was not."""

    arguments: list[str]
    overhead: Overhead | None = None
    peers: Peers | None = None
    replay: Replay | None = None
    scale: Scale | None = None
    space: Space | None = None
    questions: Questions | None = None
    remote: Remote | None = None
    seconds: float = 0.0


def page(found: Results, goals: str) -> str:
    """The whole page, in Markdown."""
    return "\n".join((*_head(found), goals, "", *_overhead(found.overhead), *_peers(found.peers),
                      *_replay(found.replay), *_scale(found.scale), *_space(found.space),
                      *_questions(found.questions), *_remote(found.remote)))  # fmt: skip


def _head(found: Results) -> Iterator[str]:
    yield "# What custody costs: one run"
    yield ""
    yield "Written by `make bench`; what the figures mean, and where the time goes, is in `docs/overhead.md`."
    yield "Subjects took turns, round by round; every figure is the median of the rounds, with the quartiles in"
    yield "brackets. Added: custody's round less the bare SDK's of the same round."
    yield ""
    yield f"* command: `python -m benchmarks {' '.join(found.arguments)}`".rstrip("` ") + "`"
    yield f"* run on {datetime.now(UTC):%Y-%m-%d}, {found.seconds / 60:.0f} minutes"
    for line in machine.described():
        yield f"* {line}"
    yield ""
    yield "## Goals"
    yield ""


def _us(value: Spread | None) -> str:
    return "" if value is None else value.text(0)


def _overhead(found: Overhead | None) -> Iterator[str]:
    if found is None:
        return
    yield "## Overhead"
    yield ""
    yield f"Microseconds a call. custody writes {found.bytes_per_call:,} bytes of a small call. CPU is the process's,"
    yield "all threads. The sync alone: the bare SDK, and after each call one write of as many bytes and one fdatasync."
    yield "The 10 ms disk is simulated: `os.fdatasync` sleeps 10 ms before it does what it does."
    yield ""
    yield ("| case | bare wall | added | ratio | added beyond the sync | bare CPU | added | without the sync's "
           "| mean of all | CPU ratio |")  # fmt: skip
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for row in found.rows:
        yield (f"| {row.case.name} | {_us(row.bare_wall)} | {_us(row.added_wall)} | {row.wall_ratio.text(2)} "
               f"| {_us(row.beyond_floor)} | {_us(row.bare_cpu)} | {_us(row.added_cpu)} | {_us(row.added_cpu_floor)} "
               f"| {_us(row.added_cpu_mean)} | {row.cpu_ratio.text(2)} |")  # fmt: skip
    yield ""
    yield "Time to the first streamed chunk, microseconds:"
    yield ""
    yield "| case | bare | added | ratio |"
    yield "|---|---|---|---|"
    for row in found.rows:
        if row.first_ratio is not None:
            yield f"| {row.case.name} | {_us(row.first_bare)} | {_us(row.first_added)} | {row.first_ratio.text(3)} |"
    yield ""


def _peers(found: Peers | None) -> Iterator[str]:
    if found is None:
        return
    yield "## Other recorders"
    yield ""
    yield "Microseconds a call added to the SDK without them, on the same vendor, in the same rounds; CPU with what"
    yield f"the process did until its next round. Kept: of {CALLS} finished calls, those on disk or at the collector"
    yield "after SIGKILL right behind the last one."
    yield ""
    yield "| recorder | sync wall | sync CPU | stream wall | stream CPU | kept |"
    yield "|---|---|---|---|---|---|"
    for row in found.rows:
        if row.problem:
            yield f"| {row.name} | could not be run: {row.problem.replace('|', '/')} | | | | |"
        else:
            yield (f"| {row.name} | {_us(row.wall)} | {_us(row.cpu)} | {_us(row.stream_wall)} | {_us(row.stream_cpu)} "
                   f"| {'?' if row.kept is None else row.kept} |")  # fmt: skip
    yield ""


def _replay(found: Replay | None) -> Iterator[str]:
    if found is None:
        return
    yield "## Replay"
    yield ""
    yield "The most: the SDK over a transport that answers at once from memory; nothing below the SDK can be faster."
    yield ""
    yield "| kind | bare, calls/s | replayed, calls/s | ratio | the most |"
    yield "|---|---|---|---|---|"
    for kind, ratio in found.ratio.items():
        yield (f"| {kind} | {_us(found.bare[kind])} | {_us(found.replayed[kind])} | {ratio.text(2)} "
               f"| {found.most[kind].text(2)} |")  # fmt: skip
    yield ""


def _scale(found: Scale | None) -> Iterator[str]:
    if found is None:
        return
    yield "## Large sessions"
    yield ""
    yield "Seconds from the start of the process to the first replayed call, and the most memory that it took."
    yield ""
    yield ("| calls | MB | segments | first resume | the next one | without index | verify | verify --deep "
           "| sha256sum |")  # fmt: skip
    yield "|---|---|---|---|---|---|---|---|---|"
    for size in found.sizes:
        yield (f"| {size.calls:,} | {size.bytes / 1e6:.0f} | {size.segments} | {_resumed(size.first_resume)} "
               f"| {_resumed(size.with_index)} | {_resumed(size.without_index)} | {_run(size.verify)} "
               f"| {_run(size.deep)} | {_run(size.sha256sum)} |")  # fmt: skip
    yield ""
    yield "Of the time, before the session is opened (Python, the SDK, custody):"
    shares = [f"{size.calls:,} calls {size.with_index.imported:.2f} s" for size in found.sizes if size.with_index]
    yield ", ".join(shares) + "."
    yield ""


def _resumed(one: Resumed | None) -> str:
    return "failed" if one is None else f"{one.replayed:.2f} s, {one.peak_mb:.0f} MB"


def _run(one: Run | None) -> str:
    if one is None:
        return "not known"
    return f"{one.wall:.2f} s ({one.cpu:.2f} CPU), {one.peak_mb:.0f} MB{'' if one.ok else ', NOT SOUND'}"


def _space(found: Space | None) -> Iterator[str]:
    if found is None:
        return
    yield "## Space"
    yield ""
    yield f"{found.documents} documents x {found.runs} runs, 12 KB of framework, 20 KB of text, 3 KB of answer each."
    yield ""
    yield "| | MB | of the raw bytes |"
    yield "|---|---|---|"
    parts = (("bodies, raw", found.raw), ("segments, live", found.live), ("segments, closed", found.closed),
             ("after custody compress", found.compressed),
             ("all other files", found.rest))  # fmt: skip
    for name, size in parts:
        yield f"| {name} | {size / 1e6:.2f} | {size / found.raw:.1%} |"
    yield ""


def _questions(found: Questions | None) -> Iterator[str]:
    if found is None:
        return
    yield "## Questions"
    yield ""
    yield f"A table of {found.rows:,} made-up calls, by the exporter: {found.written:.0f} s, {found.peak_mb:.0f} MB of"
    yield f"memory, {found.bytes / 1e6:.0f} MB of Parquet. Tokens and cost by model and stage over it, with"
    yield f"`custody sql`, from the start of its process: {_run(found.asked)}."
    yield ""
    yield f"`verify --deep` of {found.calls:,} calls, seconds; on Dask from the first task on, when the workers are up"
    yield f"(reports {'the same' if found.same else '**NOT THE SAME**'}):"
    yield ""
    yield "| one process | " + " | ".join(f"{n} workers" for n in found.verified if n) + " |"
    yield "|---" * len(found.verified) + "|"
    yield "| " + " | ".join(f"{seconds:.2f}" for seconds in found.verified.values()) + " |"
    yield ""


def _remote(found: Remote | None) -> Iterator[str]:
    if found is None or found.missing:
        return
    yield "## On S3"
    yield ""
    yield f"Ceph's gateway on loopback, in memory. custody puts {found.bytes_per_call:,} bytes of a small call."
    yield "Microseconds a call, one after another; the PUT alone: the bare SDK and a conditional PUT of as many bytes."
    yield ""
    yield "| bare wall | added | the PUT alone | added beyond it |"
    yield "|---|---|---|---|"
    yield f"| {_us(found.bare)} | {_us(found.added)} | {_us(found.put)} | {_us(found.beyond)} |"
    yield ""
    yield "| case | bare, calls/s | custody, calls/s | ratio |"
    yield "|---|---|---|---|"
    for name, rates in found.in_flight.items():
        yield f"| {name} | {_us(rates.bare)} | {_us(rates.rate)} | {rates.share.text(3)} |"
    yield ""
    if found.closed is not None and found.opened is not None:
        yield (f"A session of {found.calls:,} calls, {found.bytes / 1e6:.0f} MB as they were written, "
               f"{found.stored / 1e6:.0f} MB stored. The first start after a kill: "
               f"{_resumed(found.closed)}; custody compact: {_run(found.compacted)}; the start after it: "
               f"{_resumed(found.opened)}; verify: {_run(found.verify)}.")  # fmt: skip
        yield ""
