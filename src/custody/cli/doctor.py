"""``custody doctor``: would a run be recorded here, and what of it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

from custody.cli.console import print_json, print_table
from custody.cli.installed import describe
from custody.errors import CustodyError
from custody.hooks.manager import PluginManager
from custody.journal import spill
from custody.sessions import children
from custody.sessions.process import custody_version
from custody.storage import Capabilities
from custody.storage.folders import Folder, at, folder
from custody.storage.local import LocalStorage


@click.command()
@click.option("--root", default=".", show_default=True, help="The folder or URL that holds projects/.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(root: str, as_json: bool) -> None:
    """Check this environment. Exits 0 when a run would be recorded, 1 when something stands in its way."""
    where = folder(root)
    rooted = _writable(where.resolve()) if isinstance(where, Path) else _reachable(where)
    checks = [_versions(), rooted, _spill(), *_waiting(), _child(), *_sdks()]
    if as_json:
        print_json(checks)
    else:
        print_table(("", "check", "found"), [(c["state"], c["check"], c["found"]) for c in checks])
    sys.exit(1 if any(check["state"] == "bad" for check in checks) else 0)


def _check(state: str, check: str, found: str) -> dict[str, Any]:
    return {"state": state, "check": check, "found": found}


def _versions() -> dict[str, Any]:
    return _check(
        "ok", "versions", f"custody {custody_version()}, Python {platform.python_version()}, {platform.system()}"
    )


def _writable(root: Path) -> dict[str, Any]:
    """Write, sync and lock in the folder where sessions would go."""
    try:
        with tempfile.TemporaryDirectory(prefix=".custody-doctor-", dir=root) as folder:
            storage = LocalStorage(Path(folder))
            log = storage.create_log("probe.jsonl")
            times = []
            for _ in range(5):
                start = time.perf_counter()
                log.append(b"x" * 8192)
                log.sync()
                times.append((time.perf_counter() - start) * 1000)
            log.close()
            lock = storage.lock("probe.lock")
            if lock is None or storage.lock("probe.lock") is not None:
                return _check("bad", "root", f"{root}: file locks do not exclude here, so two runs could mix")
            lock.release()
            return _check(
                "ok", "root", f"{root}: writable, locks work, an 8 KB record is durable in {min(times):.2f} ms"
            )
    except (OSError, CustodyError) as error:
        return _check("bad", "root", f"{root}: cannot be written: {error}")


def _reachable(root: Folder) -> dict[str, Any]:
    """Ask the server of a root that is a URL for what sessions need of it."""
    try:
        storage = at(root, create=True)
        can: Capabilities | None = getattr(storage, "capabilities", None)
    except (OSError, CustodyError) as error:
        return _check("bad", "root", f"{root}: cannot be used: {error}")
    if can is None:
        return _check("ok", "root", f"{root}: reached")
    shared = getattr(storage, "not_shared", "")
    several = f"for one writer only: {shared}" if shared or not can.put_if_absent else "for several writers"
    return _check("!!" if shared else "ok", "root", f"{root}: reached; {several}; {_SURVIVES[can.durability]}")


_SURVIVES = {
    "process": "what is stored is lost with this process",
    "machine": "what is stored survives a kill",
    "server": "what is stored survives this machine",
}


def _spill() -> dict[str, Any]:
    for each in spill.folders():
        nearest = next((p for p in (each, *each.parents) if p.exists()), each)
        if os.access(nearest, os.W_OK):
            return _check("ok", "spill", f"{each}: answers go here if the root fails")
    return _check("bad", "spill", "no folder for answers that the root cannot take: set CUSTODY_SPILL_DIR")


def _waiting() -> list[dict[str, Any]]:
    """Records that wait outside of their sessions: nothing takes them in but a start of each."""
    return [
        _check(
            "!!",
            "waiting records",
            f"{name.partition('-')[0]}: {', '.join(map(str, files))}; resume it to take them in",
        )
        for name, files in spill.waiting().items()
    ]


def _child() -> dict[str, Any]:
    """Start a child as ``custody run`` does, and ask it whether capture is armed."""
    code = "import custody.autostart as a, wrapt; print('armed' if a.armed else 'not armed')"
    environment = {**os.environ, "PYTHONPATH": str(children.SITE), "CUSTODY_SESSION": "none"}
    try:
        run = subprocess.run(  # noqa: S603
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return _check("bad", "child processes", f"cannot be started: {error}")
    if run.stdout.strip() == "armed":
        return _check("ok", "child processes", "capture starts in Python children (not under python -I, -E or -S)")
    return _check("bad", "child processes", f"capture does not start in a child: {run.stderr.strip()[-200:]}")


def _sdks() -> list[dict[str, Any]]:
    rows = [row for row in describe(PluginManager.load()) if row["sdk"] or row["state"] != "loaded"]
    checks = []
    for row in rows:
        if row["state"] in ("broken", "duplicate", "missing"):
            checks.append(_check("bad", f"plugin {row['name']}", row["problem"]))
        elif row["state"] == "disabled":
            checks.append(_check("--", f"plugin {row['name']}", row["problem"]))
        elif row["sdk_state"] == "will be patched":
            text = f"{row['sdk']} {row['sdk_found']} would be recorded and replayed, retries grouped into calls"
            checks.append(_check("ok", f"plugin {row['name']}", text))
        else:
            checks.append(_check("--", f"plugin {row['name']}", row["sdk_reason"]))
    if not any(check["state"] == "ok" for check in checks):
        checks.append(_check("bad", "vendors", "no vendor plugin with its SDK: pip install 'custody-openai[sdk]'"))
    return checks
