"""custody keeps the chain of custody of every LLM call that a program makes.

::

    with custody.session(project="MVA", experiment="experiment_2") as s:
        with s.stage("analysis"):
            for run in range(6):
                with s.scope(corpus_file="speech_01.txt", run=run):
                    answer = client.chat.completions.create(...)  # the SDK, unchanged

    custody.open(path)  # a stored session, read-only: .calls(), .find(...), .status()

For plugins: ``hookimpl``, and the types in ``custody.plugin``. Nothing here imports an SDK.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from custody.codecs import Codec as Codec
    from custody.codecs import register_codec as register_codec
    from custody.errors import AnswerNotArchived as AnswerNotArchived
    from custody.errors import ArchiveDamaged as ArchiveDamaged
    from custody.errors import ArchiveUnavailable as ArchiveUnavailable
    from custody.errors import BudgetError as BudgetError
    from custody.errors import BudgetExceeded as BudgetExceeded
    from custody.errors import BudgetUnpriced as BudgetUnpriced
    from custody.errors import CallInDoubt as CallInDoubt
    from custody.errors import CustodyError as CustodyError
    from custody.errors import NamesDisagree as NamesDisagree
    from custody.errors import PluginError as PluginError
    from custody.errors import ReplayError as ReplayError
    from custody.errors import ReplayExhausted as ReplayExhausted
    from custody.errors import ReplayMiss as ReplayMiss
    from custody.errors import RequiredPluginMissing as RequiredPluginMissing
    from custody.errors import ScopeError as ScopeError
    from custody.errors import SessionBusy as SessionBusy
    from custody.errors import SessionEnded as SessionEnded
    from custody.errors import SessionFinished as SessionFinished
    from custody.errors import SessionNotFound as SessionNotFound
    from custody.errors import StorageError as StorageError
    from custody.errors import UsageError as UsageError
    from custody.hookspecs import hookimpl as hookimpl
    from custody.report.stored import StoredSession as StoredSession
    from custody.sessions.session import Session as Session
    from custody.sessions.starting import install as install
    from custody.sessions.starting import session as session
    from custody.sessions.starting import uninstall as uninstall

    open = StoredSession

_HOME = {
    "Codec": ("custody.codecs", "Codec"),
    "Session": ("custody.sessions.session", "Session"),
    "StoredSession": ("custody.report.stored", "StoredSession"),
    "hookimpl": ("custody.hookspecs", "hookimpl"),
    "install": ("custody.sessions.starting", "install"),
    "open": ("custody.report.stored", "StoredSession"),
    "register_codec": ("custody.codecs", "register_codec"),
    "session": ("custody.sessions.starting", "session"),
    "uninstall": ("custody.sessions.starting", "uninstall"),
}

_ERRORS = (
    "AnswerNotArchived",
    "ArchiveDamaged",
    "ArchiveUnavailable",
    "BudgetError",
    "BudgetExceeded",
    "BudgetUnpriced",
    "CallInDoubt",
    "CustodyError",
    "NamesDisagree",
    "PluginError",
    "ReplayError",
    "ReplayExhausted",
    "ReplayMiss",
    "RequiredPluginMissing",
    "ScopeError",
    "SessionBusy",
    "SessionEnded",
    "SessionFinished",
    "SessionNotFound",
    "StorageError",
    "UsageError",
)

__all__ = sorted([*_HOME, *_ERRORS])


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    # Late, because every child process of a command imports this package, and most need none of it.
    from importlib import import_module

    if name in _ERRORS:
        return getattr(import_module("custody.errors"), name)
    if name not in _HOME:
        raise AttributeError(f"module 'custody' has no attribute {name!r}")
    module, attribute = _HOME[name]
    return getattr(import_module(module), attribute)
