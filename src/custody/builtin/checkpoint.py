"""Keeps stages' checkpoints in ``system_state/``, each file replaced atomically."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from custody import layout
from custody.hookspecs import hookimpl


class Plugin:
    @hookimpl(trylast=True)
    def state_save(self, session: Mapping[str, Any], name: str, state: bytes) -> bool:
        session["storage"].put(f"{layout.STATE}/{name}", state)
        return True

    @hookimpl(trylast=True)
    def state_load(self, session: Mapping[str, Any], name: str) -> bytes | None:
        try:
            data: bytes = session["storage"].read(f"{layout.STATE}/{name}")
        except FileNotFoundError:
            return None
        return data
