"""Where custody's part of a call goes: ``python -m benchmarks.profile [--size CHARACTERS] [--calls N]``.

Wall time inside custody's own functions, the sync left out (``os.fdatasync`` does nothing here, and the session is
on a memory disk where there is one), beside the bare SDK's CPU. Two runs: the steps of a call, which add up, and
some of what is inside them. Timers cost a microsecond each.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import calls
from benchmarks.processes import Server

STEPS = (
    ("sessions.process", "Process.open_call", "the call seam opens a call"),
    ("sessions.process", "Process.claim", "whose traffic is it"),
    ("sessions.process", "Process.begin", "identity, look up"),
    ("pipeline.turn", "LiveTurn.ready", "claim the identity, look again, what may stop it"),
    ("pipeline.turn", "LiveTurn.sending", "journal the intent"),
    ("pipeline.turn", "LiveTurn.head", "the answer's head"),
    ("pipeline.turn", "LiveTurn.chunk", "the answer: journal, forensics, price, call line"),
    ("pipeline.call", "CallAck.wait", "the commit without the disk, hooks afterwards"),
    ("pipeline.call", "LogicalCall.returned", "the call seam closes it"),
)
INSIDE = (
    ("identity.key", "request_key", "the key", "pipeline.flow"),
    ("pipeline.flow", "canonical_request", "the canonical request"),
    ("hooks.manager", "PluginManager.extract_forensics", "forensics, all plugins"),
    ("hooks.manager", "PluginManager.claim_exchange", "claims, all plugins"),
    ("pipeline.outcome", "call_fields", "the call line's fields"),
    ("journal.writer", "Journal.append", "append lines to the journal"),
    ("redact", "Redactor.scrub", "look for secrets"),
    ("journal.lines", "unsealed", "write a line as JSON"),
    ("integrity.chronolog", "Chronolog.event", "an event of the chronolog"),
    ("pipeline.flow", "Flow._refresh", "has another process written"),
    ("pipeline.flow", "Flow._claim", "the kernel lock"),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile")
    parser.add_argument("--size", type=int, default=60)
    parser.add_argument("--calls", type=int, default=300)
    options = parser.parse_args()
    vendor = Server("vendor")
    os.environ.update(OPENAI_BASE_URL=f"{vendor.url}/v1", OPENAI_API_KEY="sk-simulator-of-the-benchmark")
    os.fdatasync = lambda fd: None
    try:
        for title, places in (("steps", STEPS), ("inside them", INSIDE)):
            bare, rows = _measured(places, options.size, options.calls)
            print(f"| {title} | times a call | microseconds a call |\n|---|---|---|")
            for what, times, spent in rows:
                print(f"| {what} | {times:.1f} | {spent:.0f} |")
            if places is STEPS:
                print(f"| together | | {sum(row[2] for row in rows):.0f} |")
            print(f"| (the bare SDK's CPU) | | {bare:.0f} |\n")
    finally:
        vendor.stop()


def _measured(
    places: tuple[tuple[str, ...], ...], size: int, count: int
) -> tuple[float, list[tuple[str, float, float]]]:
    import openai

    import custody

    client = openai.OpenAI(max_retries=0)
    calls.run(calls.Work("sync", 50, 0, size), client, None)
    bare = statistics.median(calls.run(calls.Work("sync", count, 1000, size), client, None).cpu) * 1e6
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        os.environ["CUSTODY_SPILL_DIR"] = folder
        with custody.session(project="bench", experiment="profile", root=folder):
            calls.run(calls.Work("sync", 50, 2000, size), client, None)
            found: dict[str, list[float]] = {}
            undo = [_time(found, *place[:3], *place[3:]) for place in places]
            calls.run(calls.Work("sync", count, 3000, size), client, None)
            for put_back in undo:
                put_back()
    rows = [(what, len(spent) / count, statistics.median(spent) * 1e6 * len(spent) / count)
            for what, spent in found.items() if spent]  # fmt: skip
    return bare, sorted(rows, key=lambda row: -row[2])


def _time(found: dict[str, list[float]], module: str, name: str, what: str, where: str = "") -> Callable[[], None]:
    """Time a function of custody; gives what takes that back. ``where``: the module that calls it by its name."""
    owner: Any = __import__(f"custody.{where or module}", fromlist=["x"])
    *path, name = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    original, spent = getattr(owner, name), found.setdefault(what, [])

    @functools.wraps(original)
    def timed(*args: Any, **kwargs: Any) -> Any:
        begun = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            spent.append(time.perf_counter() - begun)

    setattr(owner, name, timed)
    return lambda: setattr(owner, name, original)


if __name__ == "__main__":
    main()
