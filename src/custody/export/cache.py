"""Sessions as Parquet files that are made once: what ``custody sql`` reads.

A file is found again by the digest of what the session's segments and ledger say of themselves, and of how long its
file of repriced costs is, so that one line more makes another file. Nothing relies on it: it may be deleted at any
time, and ``fresh`` makes it anew. It lies outside of the session: ``CUSTODY_CACHE_DIR``, else
``$XDG_CACHE_HOME/custody``, ``~/.cache/custody``, readable by its owner only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from pathlib import Path

from custody import layout
from custody.engines import Engine
from custody.errors import UsageError
from custody.export.columns import VERSION
from custody.export.formats import new_file, writer
from custody.export.stream import Export
from custody.journal import ledger
from custody.journal.segments import Segments
from custody.sessions import manifest as manifests
from custody.storage import Storage

KEPT = 30 * 24 * 3600.0
"""Seconds after which a file that nobody asked for is deleted."""


def folder() -> Path:
    """Where the files are kept."""
    own, cache, home = (os.environ.get(name) for name in ("CUSTODY_CACHE_DIR", "XDG_CACHE_HOME", "HOME"))
    if own:
        return Path(own)
    if cache:
        return Path(cache, "custody")
    return Path(home, ".cache", "custody") if home else Path(tempfile.gettempdir(), f"custody-cache-{os.getuid()}")


def key(storage: Storage) -> str:
    """Under which a session's file is found, as long as nothing was added to it. Raises SessionNotFound."""
    stated = manifests.read(storage)
    closed = {name: (entry.size, entry.sha256) for name, entry in ledger.read(storage).items()}
    parts = [
        VERSION,
        stated.session,
        stated.project,
        stated.experiment,
        Segments(storage).list(),
        sorted(closed.items()),
        [(entry.name, entry.size) for entry in storage.list(layout.REPRICED)],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def parquet(storage: Storage, *, fresh: bool = False, engine: Engine | None = None) -> Path:
    """The session's calls as a Parquet file. Raises SessionNotFound, UsageError, ArchiveDamaged, OSError."""
    place = folder()
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    if place.stat().st_uid != os.getuid():
        raise UsageError(f"{place} belongs to somebody else: set CUSTODY_CACHE_DIR to a folder of your own")
    path = place / f"calls-{key(storage)}.parquet"
    if path.is_file() and not fresh:
        os.utime(path)
        return path
    _swept(place)
    wanted = Export([storage], engine=engine)
    with new_file(path, replace=True) as file:
        os.fchmod(file.fileno(), 0o600)
        made = writer("parquet", wanted.columns, file)
        for group in wanted:
            made.write(group)
        made.close()
    return path


def _swept(place: Path) -> None:
    """Delete what nobody asked for in a long time."""
    for path in place.glob("calls-*.parquet"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > KEPT:
                path.unlink()
