"""Which holders of leases are processes of this machine: one that was killed is known to be dead at once.

A lease is for machines that know nothing of each other. On one machine the kernel knows: each holder keeps a lock on a
file of its name, and a file that nobody has locked is that of a dead one. A program that is started again where it was
killed need not wait for its own lease.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path

_mine: dict[str, int] = {}  # open for as long as this process lives; a forked child keeps its parent's alive


def _folder() -> Path:
    return Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir(), f"custody-{os.getuid()}", "holders")


def announce(holder: str) -> None:
    """This process is ``holder`` from now on. Where that cannot be said, others wait for the lease."""
    with contextlib.suppress(OSError):
        _folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(_folder() / holder, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)  # whoever looks holds it for a moment
        _mine[holder] = fd


def leave(holder: str) -> None:
    """It has said itself that it ended."""
    fd = _mine.pop(holder, None)
    if fd is not None:
        with contextlib.suppress(OSError):
            os.unlink(_folder() / holder)
        os.close(fd)


def dead(holder: str) -> bool:
    """Whether it was a process of this machine, and is none any more."""
    try:
        fd = os.open(_folder() / holder, os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # never here, or it has ended
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
