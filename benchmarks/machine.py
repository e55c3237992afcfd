"""The machine that was measured, and the versions; no name of it and no path."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.processes import LITELLM_PYTHON, PEERS_PYTHON, REPOSITORY

_OWN = ("custody", "openai", "httpx2", "httpx", "pydantic")
_PEERS = (
    "openai", "opentelemetry-instrumentation-openai", "openinference-instrumentation-openai", "langfuse", "logfire",
    "mlflow", "weave",
)  # fmt: skip


def described() -> Iterator[str]:
    yield f"{os.cpu_count()} cores, {_cpu()}, {platform.system()} {platform.release()}, {_file_system()}"
    yield f"{platform.python_implementation()} {platform.python_version()}; {', '.join(_versions(_OWN))}"
    for python, names in ((PEERS_PYTHON, _PEERS), (LITELLM_PYTHON, ("litellm", "openai"))):
        if python.exists():
            asked = "import importlib.metadata as m, sys; print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
            told = subprocess.run([python, "-c", asked, *names], capture_output=True, text=True, check=False)
            yield f"other recorders: {told.stdout.strip() or 'versions unknown'}"
    yield f"load when it ended: {os.getloadavg()[0]:.1f}"


def _versions(names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            continue


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU unknown")


def _file_system() -> str:
    """The kind of file system below the project."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "file system unknown"
    here = REPOSITORY.as_posix()
    over = [m for m in mounts if here == m[1] or here.startswith(m[1].rstrip("/") + "/")]
    return max(over, key=lambda m: len(m[1]))[2] if over else "file system unknown"
