"""``system_state/environment_snapshot.json``: on what a session ran. No user's name, no absolute path, no secret."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from custody.redact import Redactor

_MOST = 256 * 1024
"""Bytes of a difference from the last commit that are kept; a longer one is kept by its digest."""


def snapshot(folder: Path, redactor: Redactor) -> bytes:
    """The environment as JSON. ``folder``: where the program runs; its repository is asked, if there is one."""
    value = {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "os": platform.system(),
        "os_release": platform.release(),
        "hardware": {"machine": platform.machine(), "cpus": os.cpu_count(), "memory_gib": _memory()},
        "packages": dict(_packages()),
        "git": _git(folder),
    }
    text = json.dumps(value, ensure_ascii=False, indent=1)
    return redactor.scrub(_anonymous(text, folder).encode("utf-8", "backslashreplace")) + b"\n"


def differences(before: bytes, after: bytes) -> list[str]:
    """What differs, one word a value, packages first; the difference of a repository by its commit only."""
    old, new = (_leaves(json.loads(data)) for data in (before, after))
    return [
        f"{name} {old.get(name, 'none')} -> {new.get(name, 'none')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def _leaves(value: dict[str, Any]) -> dict[str, Any]:
    packages = value.get("packages") or {}
    git = value.get("git") or {}
    rest = {k: v for k, v in value.items() if k not in ("packages", "git", "hardware")}
    about_git = {"git commit": git.get("commit"), "git dirty": git.get("dirty")}
    return {**packages, **rest, **(value.get("hardware") or {}), **about_git}


_INSTALLED = re.compile(r"(?P<name>.+?)-(?P<version>\d[^-]*)(?:-py[\d.]+)?\.(?:dist|egg)-info")


@lru_cache(maxsize=1)
def _packages() -> tuple[tuple[str, str], ...]:
    """From the names of their folders (PEP 427, 503), which is much faster than to read each one's metadata."""
    found: dict[str, str] = {}
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            installed = _INSTALLED.fullmatch(name)
            if installed is not None:
                found.setdefault(re.sub(r"[-_.]+", "-", installed["name"]).lower(), installed["version"])
    return tuple(sorted(found.items()))


def _memory() -> int | None:
    """In whole GiB, rounded to a power of two: a class, not a machine."""
    try:
        gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError, AttributeError):
        return None
    return 1 << max(0, round(gib) - 1).bit_length() if gib >= 1 else 1


def _git(folder: Path) -> dict[str, Any] | None:
    said = _ask_git(folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
    commit = re.search(rb"^# branch\.oid (\w+)$", said or b"", re.MULTILINE)
    if said is None or commit is None:  # no repository, or one without a commit
        return None
    changed = any(line and not line.startswith(b"#") for line in said.split(b"\n"))
    diff = (_ask_git(folder, "diff", "HEAD", "--no-color", "--no-ext-diff") or b"") if changed else b""
    kept: dict[str, Any] = {"commit": commit[1].decode(), "dirty": changed}
    if len(diff) > _MOST:
        return {**kept, "diff": None, "diff_sha256": hashlib.sha256(diff).hexdigest(), "diff_bytes": len(diff)}
    return {**kept, "diff": diff.decode("utf-8", "replace") if diff else None}


def _ask_git(folder: Path, *words: str) -> bytes | None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "CUSTODY_", "PYTHONPATH"))}
    try:
        ran = subprocess.run(  # noqa: S603
            ["git", "-C", str(folder), *words],  # noqa: S607
            capture_output=True, timeout=10, check=False, env={**environment, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return ran.stdout if ran.returncode == 0 else None


def _anonymous(text: str, folder: Path) -> str:
    """Without the places and the name that only this machine has."""
    places = {str(folder.resolve()): ".", str(Path.home()): "~", sys.prefix: "<python>", sys.base_prefix: "<python>"}
    for place, word in sorted(places.items(), key=lambda pair: -len(pair[0])):
        if len(place) > 1:
            text = text.replace(json.dumps(place, ensure_ascii=False)[1:-1], word)
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        return text
    return re.sub(rf"(?<=[/\\]){re.escape(user)}(?=[/\\])", "<user>", text)
