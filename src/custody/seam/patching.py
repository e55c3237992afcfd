"""Patches modules when they are first imported, and takes every patch back.

Nothing is imported for the sake of patching. A patch replaces an attribute of a class or module, so
objects that were made before it are covered too.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import wrapt

log = logging.getLogger("custody")

Wrap = Callable[[Any], Any]
"""Given the original function, returns its replacement."""

_MARK = "__custody_original__"


class Patches:
    """The patches of one installation."""

    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any]] = []
        self._active = True
        self._lock = threading.Lock()

    def when_imported(self, module: str, patch: Callable[[ModuleType], None]) -> None:
        """Call ``patch`` with the module now if it is imported, else right after it is."""

        def run(imported: ModuleType) -> None:
            if self._active:
                patch(imported)

        def later(imported: ModuleType) -> None:
            try:
                run(imported)
            except Exception as error:  # inside the program's own import, which must not fail for our sake
                log.warning("custody: %s is not patched (%s); its calls are archived without it", module, error)

        present = sys.modules.get(module)
        if present is None:
            wrapt.register_post_import_hook(later, module)
        elif not _after_import(present, lambda: later(present)):
            run(present)

    def replace(self, owner: Any, name: str, wrap: Wrap) -> bool:
        """Replace ``owner.name``; False where custody has replaced it already (two names of one class)."""
        with self._lock:
            original = vars(owner)[name]
            if hasattr(original, _MARK):
                self._undo.append((owner, name, original))  # a module that took the patched name has to give it back
                return False
            replacement = wrap(original)
            setattr(replacement, _MARK, original)
            setattr(owner, name, replacement)
            self._undo.append((owner, name, replacement))
            return True

    def undo(self) -> None:
        """Put every original back; modules imported later stay as they are.

        Where somebody has patched on top of us, ours stays beneath theirs and does nothing.
        """
        with self._lock:
            self._active = False
            while self._undo:
                owner, name, replacement = self._undo.pop()
                if vars(owner).get(name) is replacement:
                    setattr(owner, name, getattr(replacement, _MARK))


class _Importing(ModuleSpec):
    """A spec that tells when its module has been executed: importlib sets ``_initializing`` then."""

    @property
    def _initializing(self) -> bool:
        return bool(self.__dict__["_custody_initializing"])

    @_initializing.setter
    def _initializing(self, value: bool) -> None:
        self.__dict__["_custody_initializing"] = value
        if not value:
            for call in self.__dict__.pop("_custody_calls", ()):
                call()


def _after_import(module: ModuleType, call: Callable[[], None]) -> bool:
    """Call when a module that is being imported is complete; False where it is complete already.

    This happens to an SDK that imports its HTTP client first: the client starts ``custody run``'s capture,
    and the SDK's own module is in ``sys.modules``, but half made.
    """
    spec = getattr(module, "__spec__", None)
    if not getattr(spec, "_initializing", False):
        return False
    if type(spec) is ModuleSpec:
        spec.__dict__["_custody_initializing"] = spec.__dict__.pop("_initializing")
        spec.__class__ = _Importing
    if not isinstance(spec, _Importing):
        return False
    spec.__dict__.setdefault("_custody_calls", []).append(call)
    return True


def resolve(module: ModuleType, attribute: str) -> tuple[Any, str]:
    """Owner and name of a dotted attribute. Raises AttributeError where the SDK has none such."""
    owner: Any = module
    *path, name = attribute.split(".")
    for part in path:
        owner = getattr(owner, part)
    if name not in vars(owner):
        raise AttributeError(f"{module.__name__} has no {attribute}")
    return owner, name
