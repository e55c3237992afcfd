"""(e) Bytes on disk per byte of traffic: many runs of one study, while it is written and when it is closed."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import Bench


@dataclass
class Space:
    """Bytes. ``raw``: of all request and response bodies. ``live``, ``closed``: of the archive's folder;
    ``compressed``: after ``custody compress``, which small segments wait for; ``rest``: of every other file."""

    documents: int
    runs: int
    raw: int
    live: int
    closed: int
    compressed: int
    rest: int


def measure(bench: Bench, documents: int, runs: int) -> Space:
    """Each document asked ``runs`` times: 12 KB of framework, 20 KB of text, 3 KB of answer."""
    folder = bench.place / "study"
    folder.mkdir()
    told = json.loads(bench.run("study", str(folder), str(documents), str(runs)).stdout.splitlines()[-1])
    archive = next(folder.rglob("llm_archive"))
    closed = _size(archive)
    command = [Path(sys.executable).with_name("custody"), "compress", archive.parent]
    subprocess.run(command, check=True, capture_output=True, env=bench.environment())
    compressed = _size(archive)
    return Space(documents, runs, told["raw"], told["live"], closed, compressed, _size(archive.parent) - compressed)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
