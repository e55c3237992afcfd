"""Cohere's SDK, of both versions of the API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from wireplay.drivers.base import CannotAsk, Driver, is_asynchronous, known_arguments
from wireplay.recordings import Recorded


class Cohere(Driver):
    sdk = "cohere"
    plugin = "cohere"
    hosts = r"api\.cohere\.com"

    def drive(self, recorded: Recorded) -> Any:
        import cohere

        asynchronous = is_asynchronous(recorded)
        _, version, name = recorded.path.split("/")
        kinds = {"v1": (cohere.Client, cohere.AsyncClient), "v2": (cohere.ClientV2, cohere.AsyncClientV2)}
        kind = kinds[version][asynchronous]
        client = self.client(kind, lambda: kind(api_key="played"))
        body = dict(recorded.request_json)
        method = getattr(client, f"{name}_stream" if body.pop("stream", False) else name, None)
        if method is None:
            raise CannotAsk(f"no method for {recorded.path}")
        known, rest = (body, {}) if name == "chat" else known_arguments(method, body)
        if rest:
            known["request_options"] = {"additional_body_parameters": rest}
        result = method(**known)
        return self.wait(_drained(result)) if asynchronous else _read(result)

    def close(self) -> None:
        """Its clients have no close; they go with the process."""
        self._clients.clear()


def _read(result: Any) -> Any:
    return list(result) if isinstance(result, Iterator) else result


async def _drained(result: Any) -> Any:
    if isinstance(result, AsyncIterator):
        return [item async for item in result]
    value = await result
    return [item async for item in value] if isinstance(value, AsyncIterator) else value
