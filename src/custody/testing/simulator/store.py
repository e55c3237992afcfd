"""What a simulated vendor keeps between requests: files, batches, stored responses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass
class Kept:
    """One object: the document that the vendor shows, its content, and how often it was asked for.

    `owner` is the id of the object that it belongs to (a message's thread).
    """

    document: Json
    data: bytes = b""
    owner: str = ""
    polls: int = 0


class Store:
    """Objects by kind and id, in order of making. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._kinds: dict[str, dict[str, Kept]] = {}

    def put(self, kind: str, document: Json, data: bytes = b"", owner: str = "") -> Json:
        """Keep `document` under its `id`; returns it."""
        with self._lock:
            self._kinds.setdefault(kind, {})[document["id"]] = Kept(document, data, owner)
        return document

    def get(self, kind: str, name: str) -> Kept | None:
        """The object with that id."""
        with self._lock:
            return self._kinds.get(kind, {}).get(name)

    def poll(self, kind: str, name: str, advance: Callable[[Kept], None]) -> Kept | None:
        """Count a look at the object, after which `advance` may change it."""
        with self._lock:
            kept = self.get(kind, name)
            if kept is not None:
                kept.polls += 1
                advance(kept)
            return kept

    def drop(self, kind: str, name: str) -> bool:
        """Forget the object; whether there was one."""
        with self._lock:
            return self._kinds.get(kind, {}).pop(name, None) is not None

    def all(self, kind: str, owner: str = "") -> list[Json]:
        """The documents of a kind, of one owner if given, oldest first."""
        with self._lock:
            return [k.document for k in self._kinds.get(kind, {}).values() if not owner or k.owner == owner]
