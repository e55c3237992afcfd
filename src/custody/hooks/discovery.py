"""Finds plugins: entry points of the group ``custody``, switched by four environment variables.

==========================  ===========================================================================
CUSTODY_PLUGINS             load only these (comma-separated names); built-ins are loaded all the same
CUSTODY_DISABLED_PLUGINS    leave these out, built-ins included
CUSTODY_REQUIRED_PLUGINS    refuse to start without these
CUSTODY_TRACE_PLUGINS       print every hook call with its result to standard error
==========================  ===========================================================================
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, requires, version
from typing import Any, Literal

from packaging.requirements import Requirement

from custody.errors import RequiredPluginMissing
from custody.hookspecs import PROJECT, SPECS

BUILTINS = ("storage", "archive", "salvage", "forensics", "checkpoint", "cost", "budget")

State = Literal["loaded", "disabled", "broken", "duplicate", "missing"]

HOOKS = frozenset(name for spec in SPECS for name in vars(spec) if not name.startswith("_"))


@dataclass
class Found:
    """A plugin as discovery met it.

    Attributes:
        problem: one line for the user, where ``state`` is not "loaded".
        sdk_range: versions of its SDK that the plugin's metadata names, as PEP 440 specifiers.
    """

    name: str
    state: State
    plugin: Any = None
    version: str = ""
    distribution: str = ""
    problem: str = ""
    sdk: str = ""
    sdk_range: str = ""
    sdk_found: str = ""

    @property
    def hooks(self) -> list[str]:
        """Names of the hooks it implements."""
        if self.plugin is None:
            return []
        marked = (n for n in dir(self.plugin) if hasattr(getattr(self.plugin, n, None), f"{PROJECT}_impl"))
        return sorted(marked)


def discover(environ: Mapping[str, str]) -> list[Found]:
    """All plugins, loaded or not, built-ins first, then by name. Raises RequiredPluginMissing."""
    only, disabled, required = (
        _names(environ.get(f"CUSTODY_{which}PLUGINS")) for which in ("", "DISABLED_", "REQUIRED_")
    )
    found = [_builtin(name, disabled or set()) for name in BUILTINS]
    by_name: dict[str, list[EntryPoint]] = defaultdict(list)
    for point in _entry_points():
        if point not in by_name[point.name]:
            by_name[point.name].append(point)
    for name, points in sorted(by_name.items()):
        found += _choose(name, points, only, disabled or set())
    known = {plugin.name for plugin in found}
    for variable, named in (("CUSTODY_PLUGINS", only), ("CUSTODY_DISABLED_PLUGINS", disabled)):
        for name in sorted((named or set()) - known):
            found.append(Found(name, "missing", problem=f"{variable} names {name}, which is not installed"))
    _check_required(required or set(), found)
    return found


def _choose(name: str, points: list[EntryPoint], only: set[str] | None, disabled: set[str]) -> list[Found]:
    if name in disabled:
        return [Found(name, "disabled", problem="named in CUSTODY_DISABLED_PLUGINS")]
    if only is not None and name not in only:
        return [Found(name, "disabled", problem="not named in CUSTODY_PLUGINS")]
    if name in BUILTINS or len(points) > 1:
        owners = ", ".join(sorted(_owner(point) for point in points))
        taken = "is the name of a built-in" if name in BUILTINS else f"is claimed by {len(points)} distributions"
        problem = f"{name} {taken} ({owners}); none of them is loaded: uninstall all but one"
        return [Found(name, "duplicate", problem=problem, distribution=owners)]
    return [_load(points[0])]


def _load(point: EntryPoint) -> Found:
    distribution = point.dist.name if point.dist else ""
    plugin_version = installed_version(distribution) if distribution else ""
    found = Found(point.name, "loaded", version=plugin_version, distribution=distribution)
    try:
        plugin = point.load()
        found.plugin = plugin() if inspect.isclass(plugin) else plugin
        unknown = [hook for hook in found.hooks if hook not in HOOKS]
        if unknown:
            raise AttributeError(f"it implements {', '.join(unknown)}, which are no hooks of custody")
        if not found.hooks:
            raise AttributeError("it has no hooks (is @hookimpl missing?)")
        for hook in found.hooks:
            if _awaited(getattr(found.plugin, hook)):
                raise TypeError(f"its {hook} is a coroutine (async def), and nobody awaits a hook")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever its module does, the others and the program go on
        found.plugin, found.state = None, "broken"
        found.problem = f"{distribution or point.name} cannot be loaded: {type(error).__name__}: {in_one_line(error)}"
    return found


def in_one_line(error: BaseException) -> str:
    """What an error says, for a line of ours."""
    try:
        return " ".join(str(error).split())
    except Exception:
        return "(it cannot say why)"


def _awaited(hook: Any) -> bool:
    return inspect.iscoroutinefunction(hook) or inspect.isasyncgenfunction(hook)


def sdk_range(distribution: str, sdk: str) -> str:
    """The versions of ``sdk`` that a plugin's metadata names in its extras; empty where it names none."""
    try:
        declared = _extras(distribution, tuple(sys.path))
    except PackageNotFoundError:
        return ""
    mine = [r for r in declared if r.name.lower() == sdk.lower()]
    return str(mine[0].specifier) if mine else ""


def installed_version(distribution: str) -> str:
    """The installed version, or an empty string."""
    try:
        return _version(distribution, tuple(sys.path))
    except PackageNotFoundError:
        return ""


def _entry_points() -> tuple[EntryPoint, ...]:
    """Those of all distributions. A few hundred texts are read for them: once, as long as nothing is installed."""
    folders: list[object] = []
    for folder in sys.path:
        try:
            found = os.stat(folder or ".")
            folders.append((folder, found.st_ino, found.st_mtime_ns))
        except OSError:
            folders.append(folder)
    return _named_by(*folders, *map(id, sys.meta_path))


@functools.lru_cache(maxsize=8)
def _named_by(*what_decides: object) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=PROJECT))


# The metadata of an SDK is a long text. A path is asked once: what is imported from it does not change either.


@functools.lru_cache(maxsize=512)
def _version(distribution: str, path: tuple[str, ...]) -> str:
    return version(distribution)


@functools.lru_cache(maxsize=512)
def _extras(distribution: str, path: tuple[str, ...]) -> tuple[Requirement, ...]:
    declared = [Requirement(text) for text in requires(distribution) or ()]
    return tuple(requirement for requirement in declared if requirement.marker is not None)


def _builtin(name: str, disabled: set[str]) -> Found:
    own = installed_version("custody")
    if name in disabled:
        return Found(name, "disabled", version=own, distribution="custody", problem="named in CUSTODY_DISABLED_PLUGINS")
    return Found(name, "loaded", import_module(f"custody.builtin.{name}").Plugin(), own, "custody")


def _check_required(required: set[str], found: list[Found]) -> None:
    states = {plugin.name: plugin for plugin in found}
    for name in sorted(required):
        plugin = states.get(name)
        if plugin is None:
            raise RequiredPluginMissing(
                f"plugin {name} is required (CUSTODY_REQUIRED_PLUGINS) and not installed: pip install custody-{name}"
            )
        if plugin.state != "loaded":
            raise RequiredPluginMissing(f"plugin {name} is required (CUSTODY_REQUIRED_PLUGINS), but {plugin.problem}")


def _names(value: str | None) -> set[str] | None:
    return None if value is None else {name.strip() for name in value.split(",") if name.strip()}


def _owner(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value
