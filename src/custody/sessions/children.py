"""How child processes join a session: the variables that they inherit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from custody.storage.folders import Folder

ENV_SESSION = "CUSTODY_SESSION"
ENV_STRICT = "CUSTODY_STRICT"
ENV_RESUMED = "CUSTODY_RESUMED"
ENV_STANDS_FOR = "CUSTODY_STANDS_FOR_ROOT"
"""The root that a copy of its session stands for: scripts may name that one."""

ENV_NO_NETWORK = "CUSTODY_NO_NETWORK"
"""1: no connection leaves this machine's Python processes below the command."""

ENV_REUSE = "CUSTODY_REUSE"
"""The folder of an earlier session whose archive may answer, too."""
ENV_ON_IN_DOUBT = "CUSTODY_ON_IN_DOUBT"
ENV_ACCEPT = "CUSTODY_ACCEPT"
"""Objections that the command accepts, with commas: scripts name their own corpus below it."""

SITE = Path(__file__).parents[1] / "autostart" / "path"
"""The folder whose ``sitecustomize`` starts capture in a Python process."""


def environment(
    inherited: Mapping[str, str],
    session: Folder,
    *,
    strict: bool,
    resumed: bool = False,
    on_in_doubt: str | None = None,
) -> dict[str, str]:
    """The variables to be set over the inherited ones. ``on_in_doubt`` is None where the program may say it."""
    others = [p for p in inherited.get("PYTHONPATH", "").split(os.pathsep) if p and p != str(SITE)]
    return {
        ENV_SESSION: str(session),
        ENV_STRICT: "1" if strict else "0",
        ENV_RESUMED: "1" if resumed else "0",
        **({ENV_ON_IN_DOUBT: on_in_doubt} if on_in_doubt else {}),
        "PYTHONPATH": os.pathsep.join([str(SITE), *others]),
    }


_before: dict[str, str | None] = {}


def set_here(changes: Mapping[str, str]) -> None:
    """Set variables of this process, until ``restore``."""
    for name in changes:
        _before.setdefault(name, os.environ.get(name))
    os.environ.update(changes)


def restore() -> None:
    while _before:
        name, value = _before.popitem()
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
