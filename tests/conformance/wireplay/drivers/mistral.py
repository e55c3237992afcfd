"""Mistral's SDK."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

from wireplay.drivers.base import CannotAsk, Driver, is_asynchronous
from wireplay.recordings import Recorded


class Mistral(Driver):
    sdk = "mistralai"
    plugin = "mistral"
    hosts = r"api\.mistral\.ai"

    def drive(self, recorded: Recorded) -> Any:
        from mistralai.client import Mistral as Client

        client = self.client(Client, lambda: contextlib.ExitStack().enter_context(Client(api_key="played")))
        body = dict(recorded.request_json)
        suffix = "_async" if is_asynchronous(recorded) else ""
        if recorded.path == "/v1/embeddings":
            result = getattr(client.embeddings, f"create{suffix}")(inputs=body.pop("input"), **body)
        elif recorded.path == "/v1/chat/completions":
            name = "stream" if body.pop("stream", False) else "complete"
            result = getattr(client.chat, f"{name}{suffix}")(**body)
        else:
            raise CannotAsk(f"no method for {recorded.path}")
        return self.wait(_drained(result)) if suffix else _read(result)

    def close(self) -> None:
        """Its clients are context managers without a close; they go with the process."""
        self._clients.clear()


def _read(result: Any) -> Any:
    return list(result) if isinstance(result, Iterator) or hasattr(result, "__next__") else result


async def _drained(awaitable: Any) -> Any:
    result = await awaitable
    is_stream = isinstance(result, AsyncIterator) or hasattr(result, "__anext__")
    return [item async for item in result] if is_stream else result
