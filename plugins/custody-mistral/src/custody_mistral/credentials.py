"""A callable ``api_key`` is asked when a request is really sent, so that a replay needs none.

The SDK asks it while it builds the request, before ``do_request``: too early to know whether the archive
answers. So the request is built with a mark, and the hook that the SDK runs before each attempt, inside
``do_request``, gets the placeholder in its place.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from custody.plugin import Patch, defer

_MARK = "custody-asked-when-sent"
_EXTENSION = "custody_credential"


def patches(package: str) -> tuple[Patch, ...]:
    """The patches of one of the SDK's packages."""
    return (
        Patch(f"{package}.basesdk", "BaseSDK._build_request", _build),
        Patch(f"{package}.basesdk", "BaseSDK._build_request_async", _build),
        Patch(f"{package}._hooks.sdkhooks", "SDKHooks.before_request", _before),
    )


def _build(original: Any) -> Any:
    @functools.wraps(original)
    def build(self: Any, *args: Any, **kwargs: Any) -> Any:
        provider = kwargs.get("security")
        if not callable(provider):
            return original(self, *args, **kwargs)
        models = sys.modules[f"{original.__module__.rpartition('.')[0]}.models"]
        request = original(self, *args, **{**kwargs, "security": models.Security(api_key=_MARK)})
        request.extensions = {**request.extensions, _EXTENSION: _once(lambda: _key(provider()))}
        return request

    return build


def _before(original: Any) -> Any:
    @functools.wraps(original)
    def before_request(self: Any, hook_ctx: Any, request: Any) -> Any:
        ask = request.extensions.get(_EXTENSION)
        sent = original(self, hook_ctx, request)  # a hook may have made another request of it
        header = sent.headers.get("authorization", "")
        if ask is not None and _MARK in header:
            sent.headers["authorization"] = header.replace(_MARK, defer(ask))
        return sent

    return before_request


def _once(ask: Callable[[], Any]) -> Callable[[], Any]:
    """The SDK asks once a call, however many attempts it takes."""
    return functools.cache(ask)


def _key(security: Any) -> str:
    return str(getattr(security, "api_key", None) or "")
