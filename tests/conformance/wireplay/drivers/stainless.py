"""SDKs that one generator writes: openai, anthropic, groq, together. Their surfaces are alike."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, ClassVar

from wireplay.drivers.base import CannotAsk, Driver, at, is_asynchronous, known_arguments
from wireplay.recordings import Recorded

# Set by the client itself, or by the connection: not the caller's to give again.
_CLIENTS_OWN = re.compile(
    r"accept|accept-encoding|authorization|connection|content-length|content-type|host|user-agent|x-stainless-.*|"
    r"anthropic-version|traceparent|api-key|x-api-key|openai-organization|openai-project"
)


class Stainless(Driver):
    """Subclasses make the clients and name the methods by path.

    Attributes:
        base: the path of the client's base URL.
        methods: path below the base, as a pattern, and HTTP method -> public method; named groups of the
            pattern are its arguments.
    """

    base: ClassVar[str] = ""
    methods: ClassVar[Mapping[tuple[str, str], str]]

    def make_client(self, recorded: Recorded, *, asynchronous: bool) -> Any:
        raise NotImplementedError

    def drive(self, recorded: Recorded) -> Any:
        asynchronous = is_asynchronous(recorded)
        client = self.make_client(recorded, asynchronous=asynchronous)
        result = self._asked(client, recorded)
        return self.wait(_drained(result)) if asynchronous else _read(result)

    def path(self, recorded: Recorded) -> str:
        return recorded.path.removeprefix(self.base)

    def _asked(self, client: Any, recorded: Recorded) -> Any:
        """The SDK's answer: a value or, of an asynchronous client, an awaitable."""
        path, body = self.path(recorded), recorded.request_json
        headers = {k: v for k, v in recorded.request_headers.items() if not _CLIENTS_OWN.fullmatch(k)}
        self.way = "method"
        for (method, pattern), name in self.methods.items():
            match = re.fullmatch(pattern, path)
            if method == recorded.method and match and hasattr(client, name.partition(".")[0]):
                return self._called(client, name, match.groupdict(), body or {}, headers, recorded)
        self.way = "request"
        options = {"headers": headers, "params": recorded.query}
        if recorded.method != "POST":
            raise CannotAsk(f"no generic {recorded.method}")
        stream = bool(isinstance(body, dict) and body.get("stream"))
        module = sys.modules[type(client).__module__.partition(".")[0]]
        kind = module.AsyncStream if "Async" in type(client).__name__ else module.Stream
        return client.post(path, cast_to=object, body=body, options=options, stream=stream, stream_cls=kind[object])

    def _called(
        self,
        client: Any,
        name: str,
        arguments: dict[str, str],
        body: dict[str, Any],
        headers: dict[str, str],
        recorded: Recorded,
    ) -> Any:
        owner, _, verb = name.rpartition(".")
        resource = at(client, owner)
        method = getattr(resource, verb)
        known, rest = known_arguments(method, {**body, **arguments})
        if recorded.request_headers.get("x-stainless-raw-response") == "true":
            method = getattr(resource.with_raw_response, verb)
        query = {k: v for k, v in recorded.query.items() if k not in ("api-version", "beta")}
        return method(**known, extra_body=rest or None, extra_headers=headers or None, extra_query=query or None)


def _read(result: Any) -> Any:
    if hasattr(result, "parse") and hasattr(result, "http_response"):  # a raw response
        return [result.status_code, _read(result.parse())]
    return list(result) if isinstance(result, Iterator) else result


async def _drained(result: Any) -> Any:
    value = await result
    if hasattr(value, "parse") and hasattr(value, "http_response"):
        status, value = value.status_code, value.parse()
        return [status, [item async for item in value] if isinstance(value, AsyncIterator) else value]
    return [item async for item in value] if isinstance(value, AsyncIterator) else value
