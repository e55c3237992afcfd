"""(d) Opening, looking up and verifying sessions of very many calls, with the memory that it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.processes import REPOSITORY, Bench


@dataclass
class Run:
    """Seconds of wall and CPU time, and MB at the most."""

    wall: float
    cpu: float
    peak_mb: float
    ok: bool = True


@dataclass
class Resumed:
    """Seconds from the start of the process."""

    imported: float
    opened: float
    replayed: float
    peak_mb: float


@dataclass
class Size:
    """A session. ``bytes``: of its lines, as they were written."""

    calls: int
    bytes: int
    segments: int
    written: float
    first_resume: Resumed | None = None
    with_index: Resumed | None = None
    without_index: Resumed | None = None
    verify: Run | None = None
    deep: Run | None = None
    sha256sum: Run | None = None


@dataclass
class Scale:
    sizes: list[Size] = field(default_factory=list)


def measure(bench: Bench, sizes: list[int]) -> Scale:
    """One session of each size."""
    return Scale([_size(bench, calls) for calls in sizes])


def _size(bench: Bench, calls: int) -> Size:
    print(f"  {calls} calls", flush=True)
    folder = bench.place / f"scale-{calls}"
    folder.mkdir()
    begun = time.monotonic()
    made = bench.run("synthetic", str(folder), str(calls), fails=True)
    told = json.loads(made.stdout.splitlines()[-1])
    found = Size(calls, told["bytes"], told["segments"], time.monotonic() - begun)
    path = Path(told["path"])
    found.first_resume = resume(bench, folder)  # takes over what the killed process left, and may index it
    found.with_index = resume(bench, folder)
    _without_index(path)
    found.without_index = resume(bench, folder)
    custody = str(Path(sys.executable).with_name("custody"))
    found.verify = timed(bench, custody, "verify", str(path))
    found.deep = timed(bench, custody, "verify", "--deep", str(path))
    same = folder / "as many bytes"
    with same.open("wb") as file:
        file.truncate(found.bytes)
    found.sha256sum = timed(bench, "sha256sum", str(same))
    return found


def resume(bench: Bench, folder: Path | str) -> Resumed | None:
    """Continue a session up to its first replayed call; None, and a word, where it fails."""
    done = bench.run("resume", str(folder), str(time.time()), fails=True)
    lines = done.stdout.splitlines()
    if not lines:
        print(f"  resume failed: {done.stderr[-300:]}", flush=True)
        return None
    return Resumed(**json.loads(lines[-1]))


def _without_index(session: Path) -> None:
    """Take away what is beside the segments: it must be rebuildable."""
    for path in (session / "llm_archive").iterdir():
        if path.is_file() and not path.name.endswith((".jsonl", ".jsonl.zst")):
            path.unlink()


def timed(bench: Bench, *command: str) -> Run | None:
    """A command, from its start to its end; None where it does not know an option."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=bench.environment(), cwd=REPOSITORY
    )
    assert process.stdout is not None
    said = process.stdout.read()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if b"No such option" in said:
        return None
    cpu = usage.ru_utime + usage.ru_stime
    return Run(time.perf_counter() - begun, cpu, usage.ru_maxrss / 1024, process.returncode == 0)
