"""Credentials of AWS, Google and Azure, which the SDK asks for before it sends: put off until a request is sent.

A replay needs none then. Read in anthropic 0.49, 1.17 and 2.12: ``_prepare_request`` signs a request for AWS
and puts the headers into it; ``_ensure_access_token`` and, in 2.x, ``_get_token`` give Google's token,
``_get_azure_ad_token`` Azure's.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any

from custody.plugin import Patch, current_call, defer

# What AWS's signature version 4 adds; the token is there with temporary credentials only.
_SIGNED = ("Authorization", "X-Amz-Date", "X-Amz-Security-Token")

_AWS = (
    ("anthropic.lib.bedrock._client", "AnthropicBedrock"),
    ("anthropic.lib.bedrock._mantle", "AnthropicBedrockMantle"),
    ("anthropic.lib.aws._client", "AnthropicAWS"),
)


def _signs(client: Any) -> bool:
    """Whether requests are signed; a client with an API key sends that, one that skips authentication nothing."""
    if not getattr(client, "_use_sigv4", True) or getattr(client, "skip_auth", False):
        return False
    return getattr(client, "api_key", None) is None or getattr(client, "_use_sigv4", False)


def _unsigned(request: Any) -> Any:
    """The request as it is now, to be signed later apart from the one that is recorded."""
    kept = copy.copy(request)
    kept.headers = request.headers.copy()
    return kept


@functools.cache
def _headers(kind: Any) -> Any:
    """The class of a request's headers, in which an empty session token is none.

    Whether there is one is known when the request is signed; the wire seam has filled all placeholders by then.
    """

    class SignedHeaders(kind):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            if self.get(_SIGNED[-1]) == "":
                del self[_SIGNED[-1]]

    return SignedHeaders


def _put_off(request: Any, signed: Callable[[str], Any]) -> None:
    kind: Any = type(request.headers)
    request.headers = _headers(kind)(request.headers)
    for name in _SIGNED:
        request.headers[name] = defer(functools.partial(signed, name))


def _sync_signing(original: Any) -> Any:
    @functools.wraps(original)
    def _prepare_request(self: Any, request: Any) -> Any:
        if current_call() is None or not _signs(self):
            return original(self, request)
        kept = _unsigned(request)

        @functools.cache
        def headers() -> Any:
            original(self, kept)
            return kept.headers

        _put_off(request, lambda name: headers().get(name, ""))

    return _prepare_request


def _async_signing(original: Any) -> Any:
    @functools.wraps(original)
    async def _prepare_request(self: Any, request: Any) -> Any:
        if current_call() is None or not _signs(self):
            return await original(self, request)
        kept = _unsigned(request)
        done: list[bool] = []

        async def signed(name: str) -> Any:
            if not done:
                await original(self, kept)
                done.append(True)
            return kept.headers.get(name, "")

        _put_off(request, signed)

    return _prepare_request


def _sync_token(original: Any) -> Any:
    @functools.wraps(original)
    def token(self: Any) -> Any:
        return original(self) if _static(self) else defer(lambda: original(self))

    return token


def _async_token(original: Any) -> Any:
    @functools.wraps(original)
    async def token(self: Any) -> Any:
        value = original(self) if _static(self) else defer(lambda: original(self))
        return await value if inspect.isawaitable(value) else value

    return token


def _static(client: Any) -> bool:
    """The program gave a token itself, or, for Azure, an API key."""
    if getattr(client, "access_token", None) is not None:
        return True
    return hasattr(client, "_azure_ad_token_provider") and client._azure_ad_token_provider is None


PATCHES = (
    *(Patch(module, f"{name}._prepare_request", _sync_signing) for module, name in _AWS),
    *(Patch(module, f"Async{name}._prepare_request", _async_signing) for module, name in _AWS),
    Patch("anthropic.lib.vertex._client", "AnthropicVertex._ensure_access_token", _sync_token),
    Patch("anthropic.lib.vertex._client", "AsyncAnthropicVertex._ensure_access_token", _async_token),
    Patch("anthropic.lib.google_cloud._client", "AnthropicGoogleCloud._get_token", _sync_token),
    Patch("anthropic.lib.google_cloud._client", "AsyncAnthropicGoogleCloud._get_token", _async_token),
    Patch("anthropic.lib.foundry", "AnthropicFoundry._get_azure_ad_token", _sync_token),
    Patch("anthropic.lib.foundry", "AsyncAnthropicFoundry._get_azure_ad_token", _async_token),
)
