"""Where this machine's locks and claims are: kernel locks, which a killed process lets go of."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from pathlib import Path

from custody.storage.local import LocalStorage

_known: dict[str, LocalStorage] = {}
_lock = threading.Lock()


def machine_locks(url: str) -> LocalStorage:
    """Locks among the processes of one machine and user, by the URL of what they guard. Nothing is on the server.

    One object a process: what it holds keeps this process's threads apart, which kernel locks do not.
    """
    with _lock:
        if url not in _known:
            folder = hashlib.sha256(url.encode("utf-8", "surrogateescape")).hexdigest()[:32]
            base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
            _known[url] = LocalStorage(base / f"custody-{os.getuid()}" / folder)
        return _known[url]
