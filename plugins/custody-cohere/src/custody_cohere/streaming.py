"""The logical call of a stream: it begins with the request and returns with the response's head.

The SDK's ``HttpClient.stream`` is a context manager, which is no method to wrap as a call; entering it is one.
So the patch enters it through the functions below, and these are the call seams.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import Any

from custody.plugin import Patch


def enter(client: Any, stream: Any) -> Any:
    """Send the request of ``stream``; ``client`` is the SDK's, for the seam."""
    return stream.__enter__()


async def enter_async(client: Any, stream: Any) -> Any:
    """The same for coroutines."""
    return await stream.__aenter__()


def _stream(original: Any) -> Any:
    @functools.wraps(original)
    @contextmanager
    def stream(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        inner = original(self, *args, **kwargs)
        response = enter(self, inner)
        with ExitStack() as stack:
            stack.push(inner)
            yield response

    return stream


def _stream_async(original: Any) -> Any:
    @functools.wraps(original)
    @asynccontextmanager
    async def stream(self: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        inner = original(self, *args, **kwargs)
        response = await enter_async(self, inner)
        async with AsyncExitStack() as stack:
            stack.push_async_exit(inner)
            yield response

    return stream


PATCHES = (
    Patch("cohere.core.http_client", "HttpClient.stream", _stream),
    Patch("cohere.core.http_client", "AsyncHttpClient.stream", _stream_async),
)
