"""What every driver is, and what most of them need."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import inspect
import re
from collections.abc import Awaitable, Callable
from importlib import metadata
from typing import Any, ClassVar

from wireplay.recordings import Recorded


class CannotAsk(Exception):
    """The SDK has no way to make this request; says why."""


class Driver:
    """Drives one SDK. Clients live for one phase of the run; ``close`` ends them.

    Attributes:
        sdk: the distribution.
        plugin: the entry point of the plugin of custody that knows it.
        needs: distributions that the SDK needs for this and does not require.
        hosts: a pattern of the hosts that it is driven against.
        leaves_early: it stops reading a stream before the stream's last event.
        way: how the last request was made: "method" for the SDK's public method, "request" for its
            generic request path, which the methods use themselves.
    """

    sdk: ClassVar[str]
    plugin: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    hosts: ClassVar[str]
    leaves_early: ClassVar[bool] = False

    def __init__(self, runner: asyncio.Runner) -> None:
        self.way = "method"
        self._runner = runner
        self._clients: dict[Any, Any] = {}

    @classmethod
    def version(cls) -> str:
        """Of the installed SDK."""
        return metadata.version(cls.sdk)

    @classmethod
    def missing(cls) -> str | None:
        """What this environment lacks to drive it; None where it lacks nothing."""
        for name in (cls.sdk, *cls.needs):
            try:
                metadata.version(name)
            except metadata.PackageNotFoundError:
                return f"{name} is not installed"
        known = {point.name for point in metadata.entry_points(group="custody")}
        return None if cls.plugin in known else f"{cls.sdk} is installed without its plugin for custody"

    @classmethod
    def takes(cls, recorded: Recorded) -> bool:
        """Whether this SDK speaks to that vendor."""
        return re.fullmatch(cls.hosts, recorded.host) is not None

    def drive(self, recorded: Recorded) -> Any:
        """Ask as recorded; the SDK's result, read to its end. Raises what the SDK raises, and CannotAsk."""
        raise NotImplementedError

    def result(self, picture: Any) -> Any:
        """The picture of a result without what the SDK itself makes anew in every run: times, ids."""
        return picture

    def client(self, key: Any, make: Callable[[], Any]) -> Any:
        """One client for each ``key`` in a phase."""
        if key not in self._clients:
            self._clients[key] = make()
        return self._clients[key]

    def wait(self, awaitable: Awaitable[Any]) -> Any:
        """Run a coroutine on the phase's one event loop."""

        async def waited() -> Any:
            return await awaitable

        return self._runner.run(waited(), context=contextvars.copy_context())  # a runner has a context of its own

    def close(self) -> None:
        for client in self._clients.values():
            close = getattr(client, "close", None) or getattr(client, "aclose", None)
            if close is not None:
                result = close()
                if inspect.isawaitable(result):
                    self.wait(result)
        self._clients.clear()


def is_asynchronous(recorded: Recorded) -> bool:
    """Whether the recording was made with an asynchronous client: as its headers say, else as its name says."""
    stated = recorded.request_headers.get("x-stainless-async")
    return stated.startswith("async") if stated else "async" in recorded.cassette


def module(name: str) -> Any:
    """An SDK's module, when it is driven: it must not be imported before the environment leads to the player."""
    return importlib.import_module(name)


def known_arguments(method: Callable[..., Any], body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of a body that a method has parameters for, and the rest."""
    names = set(inspect.signature(method).parameters)
    return {k: v for k, v in body.items() if k in names}, {k: v for k, v in body.items() if k not in names}


def at(owner: Any, dotted: str) -> Any:
    """An attribute of an attribute."""
    for name in dotted.split("."):
        owner = getattr(owner, name)
    return owner
