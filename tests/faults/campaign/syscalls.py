"""strace on the program under attack: which system calls it makes, and one of them killed or failed.

strace attaches to the child while that waits, so the start of Python is not counted. It counts for each
thread and name, so ``when=N`` is the N-th call of that name in the first thread that comes so far.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from campaign.attack import Attached

DURABLE = (
    "openat,write,pwrite64,writev,fdatasync,fsync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,"
    "mkdir,ftruncate,fallocate"
)
KILLED = DURABLE + ",sendto,flock,fcntl"
"""What is killed at: all that touches files, and what was said to the vendor between."""

_LINE = re.compile(r"(?P<thread>\d+)\s+(?P<name>\w+)\((?P<rest>.*)")
_PATH = re.compile(r'<(?P<fd>/[^>]*)>|"(?P<quoted>/[^"]*)"')


class Syscall(NamedTuple):
    """One call of the trace. ``nth``: its place among the calls of the same name in its thread, from 1."""

    thread: int
    nth: int
    name: str
    path: str
    injected: bool
    delayed: bool = False


@functools.cache
def missing() -> str:
    """Why system calls cannot be tampered with here; empty where they can."""
    if sys.platform != "linux":
        return "strace is for Linux"
    strace = shutil.which("strace")
    if strace is None:
        return "strace is not installed (apt-get install strace)"
    tried = subprocess.run([strace, "-e", "inject=getpid:signal=KILL:when=9999", "true"], capture_output=True)
    return "" if tried.returncode == 0 else f"strace cannot trace here: {tried.stderr.decode().strip()[-200:]}"


class Strace:
    """``attach`` is for ``attack.Run``. ``inject`` as strace takes it, e.g. ``write:signal=KILL:when=3``."""

    def __init__(self, inject: str | None = None, trace: str = KILLED, signals: str = "none") -> None:
        self._inject, self._trace, self._signals = inject, trace, signals
        self._out = tempfile.NamedTemporaryFile(prefix="strace-", suffix=".txt")  # noqa: SIM115
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def output(self) -> str:
        """The file that strace writes to, line by line."""
        return self._out.name

    def attach(self, pid: int) -> None:
        command = ["strace", "-f", "-y", "-s", "64", "-o", self._out.name, "-e", f"trace={self._trace}",
                   "-e", f"signal={self._signals}"]  # fmt: skip
        if self._inject:
            command += ["-e", f"inject={self._inject}"]
        self._process = subprocess.Popen([*command, "-p", str(pid)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        status = Path(f"/proc/{pid}/status")
        deadline = time.monotonic() + 20
        while "TracerPid:\t0\n" in status.read_text():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = self._process.stderr.read().decode() if self._process.stderr else ""
                raise RuntimeError(f"strace did not attach: {said}")
            time.sleep(0.001)

    def calls(self) -> list[Syscall]:
        """What was traced, after the end of the child."""
        text = Path(self._out.name).read_text("utf-8", "replace")
        found, counts = [], Counter[tuple[int, str]]()
        for line in text.splitlines():
            match = _LINE.match(line)
            if match is None or "resumed>" in line.split("(")[0]:
                continue
            thread, name = int(match["thread"]), match["name"]
            counts[thread, name] += 1
            path = next((m["fd"] or m["quoted"] for m in _PATH.finditer(match["rest"])), "")
            if name == "openat":
                path = next((m["quoted"] for m in _PATH.finditer(match["rest"]) if m["quoted"]), path)
            found.append(Syscall(thread, counts[thread, name], name, path, "(INJECTED)" in line, "(DELAYED)" in line))
        return found

    def close(self) -> None:
        if self._process is not None:
            self._process.terminate() if self._process.poll() is None else None
            self._process.wait(timeout=20)
            if self._process.stderr is not None:
                self._process.stderr.close()
        self._out.close()


@contextmanager
def strace(inject: str | None = None, trace: str = KILLED, signals: str = "none") -> Iterator[tuple[Strace, Attached]]:
    """A strace to be attached."""
    one = Strace(inject, trace, signals)
    try:
        yield one, one.attach
    finally:
        one.close()
