"""Placeholders for credentials that are asked for only when a request is really sent."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Any

PREFIX = "custody-deferred-"
PLACEHOLDER = re.compile(PREFIX + r"[0-9a-f]{32}")


class Deferred:
    """The credentials that one call has put off."""

    def __init__(self) -> None:
        self._resolvers: dict[str, Callable[[], Any]] = {}

    def __bool__(self) -> bool:
        return bool(self._resolvers)

    def add(self, resolve: Callable[[], Any]) -> str:
        """A placeholder that stands for what ``resolve`` will return."""
        name = f"custody-deferred-{secrets.token_hex(16)}"
        self._resolvers[name] = resolve
        return name

    def resolver(self, name: str) -> Callable[[], Any]:
        """What a placeholder stands for; a placeholder of another call stands for itself."""
        return self._resolvers.get(name, lambda: name)
