"""The manager: one typed method per hook, two manners of calling (see ``custody.hookspecs``).

pluggy keeps the registry and the order. Calling is done here, because pluggy stops at the first
implementation that raises, and one broken plugin must not cost the others their turn.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pluggy

from custody.codecs import Codec
from custody.doubt import Doubt, Questions
from custody.errors import CustodyError, PluginError
from custody.exchange import Claim, Exchange, Replay, RequestHead
from custody.hooks import patterns
from custody.hooks.discovery import HOOKS, Found, discover, in_one_line
from custody.hooks.opening import Opening
from custody.hooks.results import CHECKS, WrongResult
from custody.hookspecs import PROJECT, SPECS, Record
from custody.identity import Identity
from custody.record import Forensics, Price
from custody.storage import Storage
from custody.vendor import Vendor

if TYPE_CHECKING:
    import click

log = logging.getLogger("custody")

Function = Callable[[Any], Any]
Refusals = tuple[type[Exception], ...]

_DECLARING = ("vendor", "state_codecs")
"""Hooks that say once what a plugin is. One that fails there is listed as broken."""

_collected: ContextVar[list[HookFailure] | None] = ContextVar("custody_hook_failures", default=None)


@dataclass(frozen=True, slots=True)
class HookFailure:
    """A hook implementation that raised, or gave what it may not (``WrongResult``). ``error`` is the class name."""

    plugin: str
    hook: str
    error: str


class _Collecting:
    def __init__(self, failures: list[HookFailure]) -> None:
        self._failures = failures

    def __enter__(self) -> None:
        self._token = _collected.set(self._failures)

    def __exit__(self, *raised: object) -> None:
        _collected.reset(self._token)


class _Registry(pluggy.PluginManager):
    """pluggy asks every attribute of a plugin whether it is a hook; here none is that begins with an underscore. One
    that is public and misspelt has to be found."""

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        return super().parse_hookimpl_opts(plugin, name) if not name.startswith("_") else None

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
        return super().parse_hookspec_opts(module_or_class, name) if name in HOOKS else None


class PluginManager:
    """All plugins of this process.

    Attributes:
        found: every plugin that discovery met, loaded or not.
        raise_errors: let failures of notified hooks through; on under pytest.
        on_failure: told of every failure, besides the log.
    """

    def __init__(self, found: list[Found]) -> None:
        self.found = found
        self.raise_errors = "PYTEST_CURRENT_TEST" in os.environ and "pytest" in sys.modules
        self.on_failure: Callable[[HookFailure], None] = lambda failure: None
        self._pm = _Registry(PROJECT)
        self._logged: set[tuple[str, str]] = set()
        self._implementations: dict[tuple[str, str | None], list[tuple[str, Function]]] = {}
        self._opening = Opening(self._rank, lambda plugin, error: self._failed(plugin, "open_storage", error))
        self._trace = bool(os.environ.get("CUSTODY_TRACE_PLUGINS"))
        for spec in SPECS:
            self._pm.add_hookspecs(spec)
        for plugin in found:
            if plugin.state == "loaded":
                self._register(plugin)

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> PluginManager:
        """Discover and register. Raises RequiredPluginMissing."""
        manager = cls(discover(os.environ if environ is None else environ))
        for plugin in manager.found:
            if plugin.state in ("broken", "duplicate", "missing"):
                log.warning("custody: plugin %s is not used: %s", plugin.name, plugin.problem)
        return manager

    def acts(self, plugin: str) -> bool:
        """Whether its hooks are called: all of them, or those that do not fail."""
        return self._pm.has_plugin(plugin)

    def collecting(self, failures: list[HookFailure]) -> _Collecting:
        """A block whose failures, in this context, are also appended to a list."""
        return _Collecting(failures)

    # -- one method a hook, in the order of a call --------------------------------------------------

    def vendors(self) -> list[tuple[str, Vendor]]:
        return self._notify("vendor")

    def claim_exchange(self, request: RequestHead) -> Claim | None:
        # A library that speaks to many vendors takes what no vendor's own plugin knows.
        return self._ask_quietly("claim_exchange", request, last=request.through)  # type: ignore[no-any-return]

    def session_opened(self, session: Record) -> None:
        self._notify("session_opened", session)

    def before_send(
        self, identity: Identity, request: RequestHead, labels: Mapping[str, Any], body: bytes
    ) -> Replay | None:
        try:
            return self._ask(  # type: ignore[no-any-return]
                "before_send", (identity, request, labels, body), refusals=(CustodyError,)
            )
        except CustodyError:
            raise
        except Exception:
            if self.raise_errors:
                raise
            return None

    def reconcile_call(self, doubt: Doubt) -> Questions | None:
        return self._ask_quietly("reconcile_call", doubt)  # type: ignore[no-any-return]

    def check_budget(self, identity: Identity, request: RequestHead, exchange: Exchange) -> None:
        self._notify("check_budget", (identity, request, exchange), refusals=(CustodyError,))

    def extract_forensics(self, exchange: Exchange) -> list[Forensics]:
        return [forensics for _, forensics in self._notify("extract_forensics", exchange)]

    def price_call(self, forensics: Forensics, operation: str, exchange: Exchange) -> Price | None:
        given = (forensics, operation, exchange)
        return self._ask_quietly("price_call", given)  # type: ignore[no-any-return]

    def exchange_durable(self, exchange: Exchange, record: Record) -> None:
        self._notify("exchange_durable", (exchange, record))

    def session_closed(self, session: Record) -> None:
        self._notify("session_closed", session)

    def stage_started(self, session: Record, stage: str) -> None:
        self._notify("stage_started", (session, stage))

    def stage_completed(self, session: Record, stage: str) -> None:
        self._notify("stage_completed", (session, stage))

    def state_codecs(self) -> list[Codec]:
        return [codec for _, codecs in self._notify("state_codecs") for codec in codecs]

    def state_save(self, session: Record, name: str, state: bytes) -> bool:
        return bool(self._ask_quietly("state_save", (session, name, state)))

    def state_load(self, session: Record, name: str) -> bytes | None:
        return self._ask_quietly("state_load", (session, name))  # type: ignore[no-any-return]

    def resumed(self, session: Record, report: Record) -> None:
        self._notify("resumed", (session, report))

    def open_storage(self, url: str, *, create: bool) -> Storage:
        """Raises PluginError where no plugin can, or several do; else the plugin's own CustodyError or OSError."""
        order = self._implementations.get(("open_storage", None))
        return self._opening.open(order if order is not None else self._ordered("open_storage"), url, create)

    def redaction_patterns(self) -> list[tuple[str, str]]:
        """Raises PluginError where a plugin cannot say what it wants masked: the secret would be written."""
        found: list[tuple[str, str]] = []
        for plugin, function in self._ordered("redaction_patterns"):
            try:
                given = function(())
                found += patterns.checked(given) if given is not None else []
            except (Exception, SystemExit) as error:
                ours = isinstance(error, (WrongResult, CustodyError))
                why = in_one_line(error) if ours else f"it failed with {_named(error)}"
                raise PluginError(
                    f"plugin {plugin} asks for redaction that cannot be done: {why}. Nothing is begun, "
                    f"because its secrets would be written; CUSTODY_DISABLED_PLUGINS={plugin} leaves it out"
                ) from None
        return found

    def register_commands(self, cli: click.Group) -> None:
        self._notify("register_commands", cli)

    # -- the two manners ------------------------------------------------------------------------------

    # ``refusals``: before money is spent a CustodyError is a word to the user; afterwards it is a failure
    # like any other, because it would reach the SDK as one of its transport's and be tried again.

    def _ask(self, hook: str, given: Any, *, refusals: Refusals = (), last: str | None = None) -> Any:
        order, first_error, check = self._implementations.get((hook, last)), None, CHECKS.get(hook)
        for plugin, function in order if order is not None else self._ordered(hook, last):
            try:
                result = function(given)
                if result is not None and check is not None:
                    result = check(result)
            except (Exception, SystemExit) as error:
                if isinstance(error, refusals):
                    raise
                self._failed(plugin, hook, error)
                first_error = first_error or _surfacing(plugin, hook, error)
            else:
                if result is not None:
                    return result
        if first_error is not None:
            raise first_error
        return None

    def _ask_quietly(self, hook: str, given: Any, last: str | None = None) -> Any:
        """Ask in the middle of the user's call, where nobody's error may surface."""
        try:
            return self._ask(hook, given, last=last)
        except Exception:
            if self.raise_errors:
                raise
            return None

    def _notify(self, hook: str, given: Any = (), *, refusals: Refusals = ()) -> list[tuple[str, Any]]:
        order, results, check = self._implementations.get((hook, None)), [], CHECKS.get(hook)
        for plugin, function in order if order is not None else self._ordered(hook):
            try:
                result = function(given)
                if result is not None and check is not None:
                    result = check(result)
            except (Exception, SystemExit) as error:
                if isinstance(error, refusals):
                    raise
                self._failed(plugin, hook, error)
                if self.raise_errors:
                    raise
            else:
                if result is not None:
                    results.append((plugin, result))
        return results

    def guarded(self, plugin: str, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function that a plugin declared; its failure is that plugin's, and gives None."""
        try:
            return function(*arguments)
        except (Exception, SystemExit) as error:
            self._failed(plugin, what, error)
            if self.raise_errors:
                raise
            return None

    def failed(self, plugin: str, what: str, error: BaseException) -> None:
        """Something that a plugin declared has failed, as a hook does."""
        self._failed(plugin, what, error)
        if self.raise_errors:
            raise error

    def _ordered(self, hook: str, last: str | None = None) -> list[tuple[str, Function]]:
        """Who implements a hook, and how; the plugin ``last`` at the end. Found out once."""
        caller = getattr(self._pm.hook, hook)
        found = [i for i in reversed(caller.get_hookimpls()) if not (i.hookwrapper or i.wrapper)]
        found.sort(key=lambda i: i.plugin_name == last)
        order = [(i.plugin_name, _given(i.function, i.argnames, caller.spec.argnames)) for i in found]
        if self._trace:
            order = [(plugin, self._shown(plugin, hook, function)) for plugin, function in order]
        self._implementations[hook, last] = order
        return order

    def _rank(self, plugin: str) -> int:
        """Whether its storages are asked for before (0), with (1) or after (2) those of others."""
        impls = self._pm.hook.open_storage.get_hookimpls()
        return next(0 if i.tryfirst else 2 if i.trylast else 1 for i in impls if i.plugin_name == plugin)

    def _shown(self, plugin: str, hook: str, function: Function) -> Function:
        def shown(given: Any) -> Any:
            result = function(given)
            print(f"custody: {plugin}.{hook} -> {_short(result)}", file=sys.stderr)
            return result

        return shown

    def _failed(self, plugin: str, hook: str, error: BaseException) -> None:
        if hook in _DECLARING:
            self._count_as_broken(plugin, hook, error)
        failure = HookFailure(plugin, hook, type(error).__name__)
        self.on_failure(failure)
        if (collected := _collected.get()) is not None:
            collected.append(failure)
        if (plugin, hook) not in self._logged:
            self._logged.add((plugin, hook))
            log.warning(
                "custody: plugin %s failed in %s with %s; calls go on without it. "
                "It is logged once and recorded each time",
                plugin,
                hook,
                _named(error),
                exc_info=error if log.isEnabledFor(logging.DEBUG) else None,
            )

    def _count_as_broken(self, plugin: str, hook: str, error: BaseException) -> None:
        for found in self.found:
            if found.name == plugin:
                found.state, found.problem = "broken", f"{hook} failed with {_named(error)}; its other hooks are used"

    def _register(self, plugin: Found) -> None:
        try:
            self._pm.register(plugin.plugin, name=plugin.name)
            self._pm.check_pending()
        except Exception as error:
            if self._pm.has_plugin(plugin.name):
                self._pm.unregister(name=plugin.name)
            plugin.state, plugin.problem = "broken", f"{plugin.name} cannot be registered: {in_one_line(error)}"


def _given(function: Callable[..., Any], names: Sequence[str], of: Sequence[str]) -> Function:
    """``function``, which takes the arguments ``names``, as one that is given all of a hook's (``of``): a tuple, or the
    argument itself where there is only one."""
    if not names:
        return lambda given: function()
    if len(of) == 1:
        return function
    if len(names) == 1:
        place = of.index(names[0])
        return lambda given: function(given[place])
    pick = itemgetter(*map(of.index, names))
    return lambda given: function(*pick(given))


def _named(error: BaseException) -> str:
    """An error's class; its words only where they are ours, as others may quote what is secret."""
    name = type(error).__name__
    return f"{name} ({error})" if isinstance(error, WrongResult) else name


def _surfacing(plugin: str, hook: str, error: BaseException) -> Exception:
    """What is raised where nobody answers: a plugin does not end the program."""
    if isinstance(error, WrongResult):
        return WrongResult(f"plugin {plugin} failed in {hook}: {error}")
    return error if isinstance(error, Exception) else RuntimeError(f"plugin {plugin} raised SystemExit in {hook}")


def _short(value: object) -> str:
    text = type(value).__name__ if value is not None else "None"
    return text if not isinstance(value, (bool, Claim)) else repr(value)[:120]
