"""``fault_recovery/pending_work_queue.json``: the plans of a session and what of them was not done yet.

Written when a plan begins and ends and now and then in between, so after a crash it is some seconds old at most;
``report.pending`` counts anew from the checkpoints and the archive.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import Any

from custody import layout
from custody.errors import StorageError
from custody.identity.scope import Label
from custody.redact import Redactor
from custody.research.matrix import Matrix
from custody.stamps import now
from custody.storage import Storage

log = logging.getLogger("custody")

LISTED = 1000
"""So many pending items are listed; ``pending_count`` counts all."""

_EVERY = 10.0  # seconds


class PlanRecord:
    """One plan's part of the file. Thread-safe."""

    def __init__(self, queue: Queue, name: str, around: dict[str, Label], matrix: Matrix) -> None:
        self._queue = queue
        self._fields = {
            "plan": name,
            "scope": around,
            "documents": [document.name for document in matrix.documents],
            "conditions": {factor: list(levels) for factor, levels in matrix.conditions.items()},
            "runs": list(matrix.runs),
            "items": len(matrix),
        }
        self._pending = dict.fromkeys(item.key for item in matrix)
        self._written = 0.0
        self._lock = threading.Lock()

    def done(self, key: str) -> None:
        """An item is complete (``Item.key``)."""
        with self._lock:
            self._pending.pop(key, None)
            due = time.monotonic() - self._written > _EVERY
        if due:
            self.write()

    def write(self) -> None:
        with self._lock:
            self._written = time.monotonic()
            listed = [json.loads(text) for _, text in zip(range(LISTED), self._pending, strict=False)]
            fields = {**self._fields, "pending_count": len(self._pending), "pending": listed}
        self._queue.put(fields)


class Queue:
    """The file. A failing disk is said once, and stops nothing."""

    def __init__(self, storage: Storage, redactor: Redactor, session: str) -> None:
        self._storage, self._redactor, self._session = storage, redactor, session
        self._lock = threading.Lock()
        self._failed = False

    def put(self, plan: dict[str, Any]) -> None:
        """Put a plan in place of what stands there of the same plan in the same scope."""
        try:
            with self._lock:
                others = [other for other in read(self._storage) if not _same(other, plan)]
                fields = {"session": self._session, "time": now(), "plans": [*others, plan]}
                text = json.dumps(fields, ensure_ascii=False, indent=1)
                data = self._redactor.scrub(text.encode("utf-8", "backslashreplace"))
                self._storage.put(layout.PENDING, data + b"\n")
        except (OSError, StorageError) as error:
            if not self._failed:
                log.warning("custody: %s cannot be written (%s); nothing else is hurt by it", layout.PENDING, error)
            self._failed = True


def read(storage: Storage) -> list[dict[str, Any]]:
    """The plans of the file; none where there is none, or it is damaged."""
    try:
        plans = json.loads(storage.read(layout.PENDING))["plans"]
        return [plan for plan in plans if isinstance(plan, dict)]
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return []


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return (one.get("plan"), one.get("scope")) == (other["plan"], other["scope"])
