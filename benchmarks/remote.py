"""(g) A session on S3: what it adds to a call, and how soon one of very many calls is open.

Against Ceph's gateway on loopback, which keeps everything in memory (``make s3`` says how to install it).
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks import rounds
from benchmarks.processes import REPOSITORY, Bench, Subject
from benchmarks.rounds import Spread
from benchmarks.scale import Resumed, Run, resume, timed

BUCKET = "bench"
_ROOM = 14_000  # bytes of the server's memory for a call of the large session: its lines, and what they are packed into
_TESTS = REPOSITORY / "plugins" / "custody-fsspec" / "tests"


@dataclass
class InFlight:
    """Calls a second with 64 in flight, of the bare SDK and of custody, and custody's part of the bare rate."""

    bare: Spread
    rate: Spread
    share: Spread


@dataclass
class Remote:
    """``added``, ``put`` and ``beyond``: microseconds a call of wall time that custody adds, that a conditional PUT of
    the same bytes adds, and of custody's what is beyond that. ``in_flight`` by case. ``closed``: seconds of the first
    start after a kill; ``compacted``: of ``custody compact``; ``opened``: of the start after it. ``missing``: why
    nothing was measured."""

    missing: str = ""
    bytes_per_call: int = 0
    bare: Spread | None = None
    added: Spread | None = None
    put: Spread | None = None
    beyond: Spread | None = None
    in_flight: dict[str, InFlight] = field(default_factory=dict)
    calls: int = 0
    bytes: int = 0
    stored: int = 0
    closed: Resumed | None = None
    compacted: Run | None = None
    opened: Resumed | None = None
    verify: Run | None = None


def measure(bench: Bench, repeat: int, scale: float, calls: int) -> Remote:
    """Both, ``calls`` calls in the large session."""
    gateway = _module("rgw")
    if absent := gateway.missing():
        return Remote(f"{', '.join(absent)} not installed")
    with gateway.gateway(max(gateway.SPACE, calls * _ROOM)) as server:
        bench.more = {
            "AWS_ENDPOINT_URL": server.endpoint, "AWS_ACCESS_KEY_ID": gateway.ACCESS,
            "AWS_SECRET_ACCESS_KEY": gateway.SECRET, "AWS_REGION": "us-east-1", "S3_ROOT": f"s3://{BUCKET}/study",
        }  # fmt: skip
        _module("servers").make_bucket(server.endpoint, BUCKET, gateway.ACCESS, gateway.SECRET)
        found = Remote()
        try:
            _calls(bench, found, repeat, scale)
            if calls:
                _large(bench, found, calls)
        finally:
            bench.more = {}
    return found


def _calls(bench: Bench, found: Remote, repeat: int, scale: float) -> None:
    bare, recording, floor = (bench.subject(name) for name in ("bare", "custody, S3", "bare, S3"))
    try:
        found.bytes_per_call = _bytes_per_call(recording, bench)
        rows = rounds.take_turns(
            (bare, recording, floor), max(2, int(30 * scale)), repeat, {floor.name: found.bytes_per_call}, kind="sync"
        )
        found.bare = rounds.measured(rows, bare.name, rounds.wall)
        found.added = rounds.added(rows, recording.name, bare.name, rounds.wall)
        found.put = rounds.added(rows, floor.name, bare.name, rounds.wall)
        found.beyond = rounds.added(rows, recording.name, floor.name, rounds.wall)
        for name, slow in (("64 in flight", False), ("64 in flight, vendor takes 300 ms", True)):
            count = max(64, int(256 * scale))
            taken = rounds.take_turns(
                (bare, recording), count, max(2, repeat // 3), {}, kind="async", in_flight=64, slow=slow
            )
            found.in_flight[name] = InFlight(*_rates(taken, bare.name, recording.name))
    finally:
        for subject in (bare, recording, floor):
            subject.stop()


def _rates(rows: dict[str, list[rounds.Round]], bare: str, one: str) -> tuple[Spread, Spread, Spread]:
    pairs = [(1 / rounds.wall(a), 1 / rounds.wall(b)) for a, b in zip(rows[bare], rows[one], strict=True)]
    return (
        rounds.spread([a for a, _ in pairs]),
        rounds.spread([b for _, b in pairs]),
        rounds.spread([b / a for a, b in pairs]),
    )


def _bytes_per_call(recording: Subject, bench: Bench) -> int:
    """What custody puts for one call, from two of them."""
    work: dict[str, Any] = {"kind": "sync"}
    recording.do("calls", count=1, first=rounds.first_number(1), **work)
    before = _stored(bench, "llm_archive/")
    recording.do("calls", count=2, first=rounds.first_number(2), **work)
    return max(1, (_stored(bench, "llm_archive/") - before) // 2)


def _stored(bench: Bench, part: str) -> int:
    """Bytes of all objects whose names have ``part``."""
    from obstore.store import S3Store

    environment = bench.more
    store = S3Store(
        BUCKET, endpoint=environment["AWS_ENDPOINT_URL"], access_key_id=environment["AWS_ACCESS_KEY_ID"],
        secret_access_key=environment["AWS_SECRET_ACCESS_KEY"], region="us-east-1", client_options={"allow_http": True},
    )  # fmt: skip
    return sum(entry["size"] for page in store.list() for entry in page if part in entry["path"])


def _large(bench: Bench, found: Remote, calls: int) -> None:
    print(f"  {calls} calls on S3", flush=True)
    root = f"s3://{BUCKET}/large"
    made = bench.run("synthetic", root, str(calls), fails=True)
    if not made.stdout.strip():
        print(f"  it could not be written: {made.stderr[-300:]}", flush=True)
        return
    told = json.loads(made.stdout.splitlines()[-1])
    found.calls, found.bytes = calls, told["bytes"]
    custody = str(Path(sys.executable).with_name("custody"))
    found.closed = resume(bench, root)  # after a kill
    found.compacted = timed(bench, custody, "compact", told["session"], "--root", root)
    found.stored = _stored(bench, "/llm_archive/")
    found.opened = resume(bench, root)
    found.verify = timed(bench, custody, "verify", told["session"], "--root", root)


def _module(name: str) -> ModuleType:
    """Of the plugin's tests, which are no package."""
    spec = importlib.util.spec_from_file_location(f"custody_fsspec_tests_{name}", os.fspath(_TESTS / f"{name}.py"))
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made
