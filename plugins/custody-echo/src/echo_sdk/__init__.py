"""A tiny SDK with a pretended vendor, so that a plugin for it can be short and complete.

It has what real SDKs have: a client on httpx2, retries inside ``request``, whole answers, streams,
a coroutine form. Its default transport answers within the process: no network, no key.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx2

from echo_sdk.transport import EchoTransport

__version__ = "0.1.0"
__all__ = ["AsyncEchoClient", "Echo", "EchoClient", "EchoError", "EchoTransport"]


class EchoError(Exception):
    """The vendor answered with an error. ``status`` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


@dataclass(frozen=True)
class Echo:
    """An answer. ``serial`` differs from answer to answer."""

    model: str
    text: str
    serial: int


class EchoClient:
    """``EchoClient().say("hello")``."""

    def __init__(
        self,
        base_url: str = "https://api.echo.example",
        api_key: str = "echo-key",
        transport: httpx2.BaseTransport | None = None,
        max_retries: int = 2,
    ) -> None:
        self._client = httpx2.Client(
            base_url=base_url, headers={"x-api-key": api_key}, transport=transport or EchoTransport()
        )
        self._max_retries = max_retries

    def say(self, text: str, model: str = "echo-1") -> Echo:
        """Raises EchoError."""
        body = self.request({"model": model, "text": text}, stream=False).json()
        return Echo(body["model"], body["text"], body["serial"])

    def stream(self, text: str, model: str = "echo-1") -> Iterator[str]:
        """Word by word. Raises EchoError."""
        response = self.request({"model": model, "text": text, "stream": True}, stream=True)
        try:
            yield from _words(response.iter_lines())
        finally:
            response.close()

    def request(self, body: dict[str, Any], *, stream: bool) -> httpx2.Response:
        """One logical call; busy answers (503) are tried again here."""
        for attempt in range(self._max_retries + 1):
            request = self._client.build_request("POST", "/v1/echo", json=body)
            response = self._client.send(request, stream=stream)
            if response.status_code != 503 or attempt == self._max_retries:
                break
            response.close()
            time.sleep(0.01)
        if response.is_error:
            response.read()
            raise EchoError(response.status_code, response.text)
        return response

    def close(self) -> None:
        self._client.close()


class AsyncEchoClient:
    """``await AsyncEchoClient().say("hello")``."""

    def __init__(
        self,
        base_url: str = "https://api.echo.example",
        api_key: str = "echo-key",
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._client = httpx2.AsyncClient(
            base_url=base_url, headers={"x-api-key": api_key}, transport=transport or EchoTransport()
        )

    async def say(self, text: str, model: str = "echo-1") -> Echo:
        """Raises EchoError."""
        body = (await self.request({"model": model, "text": text}, stream=False)).json()
        return Echo(body["model"], body["text"], body["serial"])

    async def stream(self, text: str, model: str = "echo-1") -> AsyncIterator[str]:
        """Word by word. Raises EchoError."""
        response = await self.request({"model": model, "text": text, "stream": True}, stream=True)
        try:
            async for line in response.aiter_lines():
                for word in _words(iter([line])):
                    yield word
        finally:
            await response.aclose()

    async def request(self, body: dict[str, Any], *, stream: bool) -> httpx2.Response:
        """One logical call."""
        request = self._client.build_request("POST", "/v1/echo", json=body)
        response = await self._client.send(request, stream=stream)
        if response.is_error:
            await response.aread()
            raise EchoError(response.status_code, response.text)
        return response

    async def close(self) -> None:
        await self._client.aclose()


def _words(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if line.startswith("data: ") and line != "data: {}":
            yield line.removeprefix("data: ")
