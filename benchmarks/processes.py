"""Starts the vendor, the sink and the subjects, each a process of its own, and ends them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

REPOSITORY = Path(__file__).parents[1]
PEERS_PYTHON = Path(f"{sys.prefix}-bench", "bin", "python")
LITELLM_PYTHON = Path(f"{sys.prefix}-bench-litellm", "bin", "python")
_QUIET = {
    "OPENAI_API_KEY": "sk-simulator",
    "PYTHONPATH": str(REPOSITORY),
    "NO_PROXY": "127.0.0.1",
    # None of these speaks to anybody: there is no network at run time.
    "OTEL_SDK_DISABLED": "false",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "TRACELOOP_TELEMETRY": "false",
    "WANDB_SILENT": "true",
    "HF_HUB_OFFLINE": "1",
}


class Failed(Exception):
    """A subject cannot be run; the text says why."""


class Server:
    """The vendor or the sink. ``url`` is where it listens."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.{module}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return json.load(answer)

    def stop(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=20)
        self._process.stdout.close()


class Subject:
    """A running ``benchmarks.subject``. Raises Failed where it does not come up or ends."""

    def __init__(self, name: str, folder: Path, environment: dict[str, str], python: str = sys.executable) -> None:
        self.name, self.folder = name, folder
        folder.mkdir(parents=True)
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - as long as the process
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.subject", name, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=folder,
            env=environment,
            text=True,
        )
        self._answer()

    def do(self, what: str, **arguments: Any) -> dict[str, Any]:
        """One command, and its answer."""
        self.send(what, **arguments)
        return self._answer()

    def send(self, what: str, **arguments: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self._process.stdin.flush()

    def wait(self) -> None:
        """Until it has been killed."""
        self._process.wait(timeout=300)
        self._let_go()

    def stop(self) -> None:
        """End it as its recorder's manual says."""
        if self._process.poll() is None:
            self.do("close")
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(timeout=60)
        self._let_go()

    def _let_go(self) -> None:
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                stream.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait(timeout=60)
            self._errors.seek(0)
            said = [text for text in self._errors.read().splitlines() if text.strip()]
            raise Failed(f"{self.name}: {said[-1][:200] if said else f'ended with {self._process.returncode}'}")
        return json.loads(line)  # type: ignore[no-any-return]


@dataclass
class Bench:
    """The servers of one run and a folder on the disk that is measured; removed at the end.

    ``more``: variables for whatever is started.
    """

    folder: Path

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._temporary = tempfile.TemporaryDirectory(dir=self.folder, prefix="run-")
        self.place = Path(self._temporary.name)
        self.vendor = Server("vendor")
        self.slow = Server("vendor", "--latency", "0.3")
        self.sink = Server("sink")
        self.more: dict[str, str] = {}
        self._count = 0
        self._subjects: list[Subject] = []
        return self

    def subject(self, name: str, *, peer: bool = False, folder: Path | None = None) -> Subject:
        """Start a subject in a folder of its own. ``peer``: in the peers' environment."""
        python = Path(sys.executable) if not peer else LITELLM_PYTHON if name.startswith("litellm") else PEERS_PYTHON
        if not python.exists():
            raise Failed(f"{name}: its environment is not made (make bench makes it)")
        self._count += 1
        where = folder or self.place / f"{self._count:02d}-{re.sub('[^a-z0-9]+', '-', name.lower())}"
        started = Subject(name, where, self.environment(), str(python))
        self._subjects.append(started)
        return started

    def run(self, module: str, *arguments: str, fails: bool = False) -> subprocess.CompletedProcess[str]:
        """Run ``benchmarks.<module>`` to its end. ``fails``: whatever its exit code."""
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{module}", *arguments],
            env=self.environment(), cwd=self.place, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode and not fails:
            raise Failed(f"benchmarks.{module}: {done.stderr.strip()[-400:]}")
        return done

    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return {
            **kept,
            **_QUIET,
            "OPENAI_BASE_URL": self.vendor.url + "/v1",
            "SLOW_BASE_URL": self.slow.url + "/v1",
            "SINK_URL": self.sink.url,
            "CUSTODY_SPILL_DIR": str(self.place / "spill"),
            **self.more,
        }

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in (self.vendor, self.slow, self.sink):
            server.stop()
        self._temporary.cleanup()
