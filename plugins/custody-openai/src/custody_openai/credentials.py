"""Credentials that the SDK asks the program for: an Azure AD token provider, a callable ``api_key``.

They are asked for when a request is really sent and not before, so that a replay needs none. The SDK puts
a placeholder into the header; the wire seam puts the credential in its place.

Read in openai 2.0, 2.54 and 3.54: ``_get_azure_ad_token`` returns the token of one request in all of them.
``_refresh_api_key`` returns it since 3.0; before, it only left it in ``self.api_key``, which threads share:
there the placeholder goes into the header of the one request.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from custody.plugin import Patch, current_call, defer

_placeholder: ContextVar[str | None] = ContextVar("custody_openai_placeholder", default=None)


def _ad_token(original: Any) -> Any:
    @functools.wraps(original)
    def _get_azure_ad_token(self: Any) -> Any:
        if self._azure_ad_token is not None or self._azure_ad_token_provider is None:
            return original(self)
        return defer(lambda: original(self))

    return _get_azure_ad_token


def _async_ad_token(original: Any) -> Any:
    @functools.wraps(original)
    async def _get_azure_ad_token(self: Any) -> Any:
        if self._azure_ad_token is not None or self._azure_ad_token_provider is None:
            return await original(self)
        token = defer(lambda: original(self))
        return await token if inspect.isawaitable(token) else token

    return _get_azure_ad_token


def _refresh(original: Any) -> Any:
    @functools.wraps(original)
    def _refresh_api_key(self: Any) -> Any:
        if self._api_key_provider is None or current_call() is None:
            return original(self)
        name = defer(lambda: _fresh(self, original(self)))
        _placeholder.set(name)
        return name

    return _refresh_api_key


def _async_refresh(original: Any) -> Any:
    @functools.wraps(original)
    async def _refresh_api_key(self: Any) -> Any:
        if self._api_key_provider is None or current_call() is None:
            return await original(self)

        async def resolve() -> str:
            return _fresh(self, await original(self))

        name = defer(resolve)
        _placeholder.set(name)
        return name

    return _refresh_api_key


def _fresh(client: Any, returned: Any) -> str:
    key = client.api_key if returned is None else returned
    if not key:
        client._validate_headers({}, {})  # raises what the SDK raises for a missing key
    return str(key or "")


def _prepare(original: Any) -> Any:
    @functools.wraps(original)
    def _prepare_options(self: Any, options: Any) -> Any:
        mark = _placeholder.set(None)
        try:
            return _authorised(self, original(self, options), _placeholder.get())
        finally:
            _placeholder.reset(mark)

    return _prepare_options


def _async_prepare(original: Any) -> Any:
    @functools.wraps(original)
    async def _prepare_options(self: Any, options: Any) -> Any:
        mark = _placeholder.set(None)
        try:
            return _authorised(self, await original(self, options), _placeholder.get())
        finally:
            _placeholder.reset(mark)

    return _prepare_options


def _authorised(client: Any, options: Any, name: str | None) -> Any:
    """Put the placeholder into the request's own headers, where the SDK has not and nobody overrules it."""
    if name is None:
        return options
    headers = options.headers if isinstance(options.headers, Mapping) else {}
    given = [*headers, *getattr(client, "_custom_headers", ())]
    if not any(header.lower() == "authorization" for header in given):
        options.headers = {"Authorization": f"Bearer {name}", **headers}
    return options


PATCHES = (
    Patch("openai.lib.azure", "AzureOpenAI._get_azure_ad_token", _ad_token),
    Patch("openai.lib.azure", "AsyncAzureOpenAI._get_azure_ad_token", _async_ad_token),
    Patch("openai._client", "OpenAI._refresh_api_key", _refresh),
    Patch("openai._client", "AsyncOpenAI._refresh_api_key", _async_refresh),
    Patch("openai._client", "OpenAI._prepare_options", _prepare),
    Patch("openai._client", "AsyncOpenAI._prepare_options", _async_prepare),
)
