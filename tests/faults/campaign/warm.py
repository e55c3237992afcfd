"""Imported once by the server that the programs under attack are forked from: what they would all import, and
what the SDKs prepare at their first call."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

from campaign import work
from custody.sessions import starting
from custody.testing.simulator import Simulator


def _once() -> None:
    """A whole session, which leaves nothing behind but imported modules."""
    before = dict(os.environ)
    try:
        with tempfile.TemporaryDirectory() as folder, Simulator() as sim:
            os.environ.update(sim.env(), CUSTODY_SPILL_DIR=folder)
            job = work.Job(Path(folder, "root"), 5, {}, Path(folder, "log"))
            read, write = os.pipe()
            assert work.run(job, write) == 0
            os.close(read)
            os.close(write)
    finally:
        os.environ.clear()
        os.environ.update(before)
    starting.uninstall()
    work.forget_clients()
    assert threading.active_count() == 1, "a process with threads must not be forked"


_once()
