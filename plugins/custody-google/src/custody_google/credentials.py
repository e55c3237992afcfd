"""Vertex AI's access tokens: asked for when a request is really sent, so that a replay needs no credentials.

The SDK asks for a token before it builds a request, and takes the quota project from the credentials that it
loaded meanwhile. Both become placeholders, and the wire seam fills them in on a miss.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

from custody.plugin import current_call, defer

_QUOTA = "x-goog-user-project"


def later(original: Any) -> Any:
    """``BaseApiClient._access_token``."""

    @functools.wraps(original)
    def token(self: Any) -> Any:
        return defer(lambda: original(self))

    return token


def async_later(original: Any) -> Any:
    """``BaseApiClient._async_access_token``."""

    @functools.wraps(original)
    async def token(self: Any) -> Any:
        value = defer(lambda: original(self))
        return await value if inspect.isawaitable(value) else value

    return token


def quota_later(original: Any) -> Any:
    """``BaseApiClient._request_once``."""

    @functools.wraps(original)
    def request_once(self: Any, http_request: Any, *args: Any, **kwargs: Any) -> Any:
        if not _unloaded(self):
            return original(self, http_request, *args, **kwargs)

        def resolve() -> Any:
            inspect.unwrap(type(self)._access_token)(self)
            return _quota(self, stated)

        stated = http_request.headers.get(_QUOTA)
        http_request.headers[_QUOTA] = put_off = defer(resolve)
        try:
            return original(self, http_request, *args, **kwargs)
        finally:
            _restore(http_request.headers, put_off, stated)

    return request_once


def async_quota_later(original: Any) -> Any:
    """``BaseApiClient._async_request_once``."""

    @functools.wraps(original)
    async def request_once(self: Any, http_request: Any, *args: Any, **kwargs: Any) -> Any:
        if not _unloaded(self):
            return await original(self, http_request, *args, **kwargs)

        async def resolve() -> Any:
            await inspect.unwrap(type(self)._async_access_token)(self)
            return _quota(self, stated)

        stated = http_request.headers.get(_QUOTA)
        http_request.headers[_QUOTA] = put_off = defer(resolve)
        try:
            return await original(self, http_request, *args, **kwargs)
        finally:
            _restore(http_request.headers, put_off, stated)

    return request_once


def _quota(client: Any, stated: str | None) -> str | None:
    """The credentials' project, else what the program stated; None leaves the header out."""
    return (client._credentials.quota_project_id if client._credentials else None) or stated


def _restore(headers: dict[str, str], put_off: str, stated: str | None) -> None:
    # In the first versions these are the client's own headers, sent with every request.
    if headers.get(_QUOTA) == put_off:
        del headers[_QUOTA]
        if stated is not None:
            headers[_QUOTA] = stated


def _unloaded(client: Any) -> bool:
    """Whether the client will load the machine's default credentials for its first request."""
    if current_call() is None or not client.vertexai or client.api_key or client._credentials:
        return False
    return bool(client.project or client.location)
