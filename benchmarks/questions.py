"""(f) Exporting calls, a question over them in SQL, and verifying on Dask with one worker and with several."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.processes import Bench
from benchmarks.scale import Run, timed

QUESTION = (
    "select response_model, stage, count(*) as calls, sum(input_tokens), sum(output_tokens), sum(cost), "
    "count(*) filter (cost is null) as unpriced from calls group by all order by all"
)


@dataclass
class Questions:
    """``rows`` in the file of ``bytes``, written in ``written`` seconds with ``peak_mb`` of memory; ``asked``:
    ``custody sql`` from the start of its process. ``verified``: by workers, the seconds that the tasks of
    ``calls`` calls took on a cluster that was up; ``same``: all reports were the one of one process."""

    rows: int
    bytes: int
    written: float
    peak_mb: float
    asked: Run | None
    calls: int
    verified: dict[int, float] = field(default_factory=dict)
    same: bool = True


def measure(bench: Bench, rows: int, calls: int) -> Questions:
    """A table of ``rows`` calls, and a session of ``calls`` calls."""
    file = bench.place / "calls.parquet"
    told = json.loads(bench.run("rows", str(file), str(rows)).stdout)
    custody = str(Path(sys.executable).with_name("custody"))
    asked = timed(bench, custody, "sql", QUESTION, str(file))
    found = Questions(rows, told["bytes"], told["seconds"], told["peak_mb"], asked, calls)
    folder = bench.place / "verified"
    folder.mkdir()
    made = bench.run("synthetic", str(folder), str(calls), fails=True)
    _verify(Path(json.loads(made.stdout.splitlines()[-1])["path"]), found)
    return found


def _verify(path: Path, found: Questions) -> None:
    """With no worker, and with one, two, ... up to the number of cores."""
    from custody.engines.dask import Dask
    from custody.report.verify import verify
    from custody.storage.local import LocalStorage

    storage = LocalStorage(path, create=False)
    begun = time.perf_counter()
    one: Any = verify(storage, deep=True)
    found.verified[0] = time.perf_counter() - begun
    for workers in range(1, (os.cpu_count() or 1) + 1):
        with Dask(None, workers) as engine:
            verify(storage, engine=engine)  # the workers have imported what they need
            begun = time.perf_counter()
            same = verify(storage, deep=True, engine=engine)
            found.verified[workers] = time.perf_counter() - begun
        found.same = found.same and vars(same) == vars(one)
