"""The call seam: one logical call of an SDK, whose retries happen inside.

The wrapper opens a call before the SDK's method and says afterwards how it went. A deliberate refusal
from below (``errors.Abort``) is raised here as what it is, past the SDK's own handlers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple, Protocol

from custody.errors import Abort
from custody.exchange import Ack
from custody.seam.patching import Patches, resolve
from custody.vendor import CallSeam, OpenCall, Patch, current


class Returned(NamedTuple):
    """A value that an SDK's method is to return; it may be None."""

    value: Any


Opener = Callable[[str, CallSeam, tuple[Any, ...], dict[str, Any]], "SeamCall | None"]
"""Given the plugin's name, the seam and the arguments, opens a call; None where no session is active."""


class SeamCall(OpenCall, Protocol):
    """A logical call under way, as its seam sees it."""

    def ready(self) -> Returned | None:
        """What the archive has at the call level, to be returned instead of calling the SDK's method."""

    def returned(self, result: Any) -> Ack | None:
        """The SDK's method returned; a stream may still be read. An Ack is to be waited for."""

    def raised(self, error: BaseException) -> None:
        """The SDK's method raised."""


Failed = Callable[[AttributeError], None]
"""Told of an SDK that has not what its plugin names."""


def install(patches: Patches, plugin: str, seam: CallSeam, opener: Opener, failed: Failed) -> None:
    """Patch one seam when its module is imported."""
    wrap = _wrap_async if seam.kind == "async" else _wrap_sync
    _when_imported(patches, seam, functools.partial(wrap, plugin, seam, opener), failed)


def install_patch(patches: Patches, patch: Patch, failed: Failed) -> None:
    """Wrap a function of an SDK when its module is imported."""
    _when_imported(patches, patch, patch.wrap, failed)


def _when_imported(patches: Patches, named: CallSeam | Patch, wrap: Callable[[Any], Any], failed: Failed) -> None:
    def run(module: ModuleType) -> None:
        try:  # else the program's own import would fail
            owner, name = resolve(module, named.attribute)
        except AttributeError as error:
            failed(error)
        else:
            patches.replace(owner, name, wrap)

    patches.when_imported(named.module, run)


def _open(plugin: str, seam: CallSeam, opener: Opener, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # A call inside a call (one SDK over another) belongs to the outer one.
    return opener(plugin, seam, args, kwargs) if current.get() is None else None


def _wrap_sync(plugin: str, seam: CallSeam, opener: Opener, original: Any) -> Any:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        opened = _open(plugin, seam, opener, args, kwargs)
        if opened is None:
            return original(*args, **kwargs)
        token = current.set(opened)
        try:
            kept = opened.ready()
            if kept is not None:
                return kept.value
            result = original(*args, **kwargs)
        except Abort as abort:
            opened.raised(abort)
            raise abort.error from None
        except BaseException as error:
            opened.raised(error)
            raise
        finally:
            current.reset(token)
        ack = opened.returned(result)
        if ack is not None:
            ack.wait()
        return result

    return call


def _wrap_async(plugin: str, seam: CallSeam, opener: Opener, original: Any) -> Any:
    @functools.wraps(original)
    async def call(*args: Any, **kwargs: Any) -> Any:
        opened = _open(plugin, seam, opener, args, kwargs)
        if opened is None:
            return await original(*args, **kwargs)
        token = current.set(opened)
        try:
            kept = opened.ready()
            if kept is not None:
                return kept.value
            result = await original(*args, **kwargs)
        except Abort as abort:
            opened.raised(abort)
            raise abort.error from None
        except BaseException as error:
            opened.raised(error)
            raise
        finally:
            current.reset(token)
        ack = opened.returned(result)
        if ack is not None:
            await ack.awaited()
        return result

    return call
