"""``custody plugins``: what is installed, and in which state."""

from __future__ import annotations

from typing import Any

import click

from custody.cli.console import print_json, print_table
from custody.hooks.manager import PluginManager
from custody.sessions.process import sdk_status


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plugins(as_json: bool) -> None:
    """Plugins: name, version, hooks, the SDK they know and whether it will be patched."""
    rows = describe(PluginManager.load())
    if as_json:
        print_json(rows)
        return
    print_table(
        ("plugin", "version", "state", "SDK", "hooks"),
        [(r["name"], r["version"], _state(r), _sdk(r), ", ".join(r["hooks"])) for r in rows],
    )


def describe(manager: PluginManager) -> list[dict[str, Any]]:
    """All plugins as plain data."""
    vendors = dict(manager.vendors())
    rows = []
    for plugin in manager.found:
        vendor = vendors.get(plugin.name)
        status = sdk_status(manager, plugin.name, vendor) if vendor else None
        rows.append(
            {
                "name": plugin.name,
                "version": plugin.version,
                "distribution": plugin.distribution,
                "state": plugin.state,
                "problem": plugin.problem,
                "hooks": plugin.hooks,
                "sdk": status.sdk if status else None,
                "sdk_found": (status.found or None) if status else None,
                "sdk_known": status.known if status else None,
                "sdk_state": {"waiting": "will be patched"}.get(status.state, status.state) if status else None,
                "sdk_reason": status.reason if status else "",
            }
        )
    return rows


def _state(row: dict[str, Any]) -> str:
    return f"{row['state']}: {row['problem']}" if row["problem"] else str(row["state"])


def _sdk(row: dict[str, Any]) -> str:
    if row["sdk"] is None:
        return ""
    if row["sdk_state"] == "skipped":
        return str(row["sdk_reason"])
    known = f", knows {row['sdk_known']}" if row["sdk_known"] else ""
    name = " ".join(filter(None, (row["sdk"], row["sdk_found"])))
    return f"{name}: {row['sdk_state']}{known}"
