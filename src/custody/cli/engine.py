"""The options by which a command hands its work to a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from custody.cli.console import say
from custody.engines import Engine
from custody.errors import UsageError

_NAMES = ("dask",)


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--engine`` and ``--workers``."""
    for option in (
        click.option("--workers", type=click.IntRange(1), help="Processes of the engine.  [default: number of cores]"),
        click.option("--engine", metavar="dask[:ADDRESS]", help="One task a segment, on Dask: on a cluster of its own "
                     "on this machine, or at a scheduler's address (needs custody[dask])."),
    ):  # fmt: skip
        command = option(command)
    return command


@contextmanager
def chosen(engine: str | None, workers: int | None) -> Iterator[Engine | None]:
    """The engine that was asked for; None where none was. Raises UsageError."""
    if engine is None:
        if workers is not None:
            raise UsageError("--workers are those of an engine: give --engine dask, too")
        yield None
        return
    name, _, address = engine.partition(":")
    if name not in _NAMES:
        raise UsageError(f"{name!r} is no engine; there is: {', '.join(_NAMES)}")
    if address and workers is not None:
        raise UsageError(f"the cluster at {address} has its own workers: leave --workers out")
    from custody.engines.dask import Dask

    with Dask(address or None, workers or os.cpu_count() or 1) as running:
        yield running


def warn_of_damage(places: int) -> None:
    """Say that a report is without what could not be read."""
    if places:
        say(f"custody: {places} damaged places were passed over: see custody verify")
