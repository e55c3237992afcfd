"""``custody demo``: a crashed experiment, told against a simulated vendor. No key, no network, no cost."""

from __future__ import annotations

import sys

import click

from custody.cli.demo.story import tell


@click.command()
@click.option("--folder", help="Where to put the demo's files.  [default: a new temporary folder]")
@click.option("--latency", default=0.05, show_default=True, help="Seconds that the simulated vendor takes to answer.")
def demo(folder: str | None, latency: float) -> None:
    """48 analyses, killed after 46, a bug in stage two: what is paid twice? Under a minute."""
    sys.exit(tell(folder, latency))
