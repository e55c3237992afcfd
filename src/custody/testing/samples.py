"""Sample exchanges for ``VendorContract``: what must be read from them, and what can befall them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from custody.exchange import Chunk, Ending, Exchange, Headers, RequestHead, ResponseHead, is_event_stream, parse_json
from custody.hooks.discovery import Found
from custody.hooks.manager import PluginManager
from custody.record import Usage

JSON = (("content-type", "application/json"),)


@dataclass(frozen=True)
class Sample:
    """An exchange and what must be read from it.

    Attributes:
        fields: by field name, the value or None; a field that is left out is not compared.
        usage: compared by its classes; None where the exchange states none.
    """

    exchange: Exchange
    fields: Mapping[str, str | int | float | None] = field(default_factory=dict)
    usage: Usage | None = None


def sample_exchange(
    plugin: object,
    url: str,
    *,
    method: str = "POST",
    request: Any = None,
    request_headers: Headers = JSON,
    status: int = 200,
    headers: Headers = JSON,
    body: bytes = b"",
    ending: Ending = "complete",
) -> Exchange:
    """A finished exchange as ``plugin`` claims it. ``request`` is sent as JSON; a stream's ``body`` is its events.

    Raises LookupError where the plugin does not claim it.
    """
    head = RequestHead(method, url, request_headers)
    claim = manager_of(plugin).claim_exchange(head)
    if claim is None:
        raise LookupError(f"the plugin does not claim {method} {url}")
    now = datetime.now(UTC)
    return Exchange(
        id="sample.1",
        request=head,
        request_body=b"" if request is None else json.dumps(request).encode(),
        claim=claim,
        transport="sample",
        sent=now,
        head=ResponseHead(status, "", "HTTP/1.1", headers),
        chunks=[Chunk(1.0, body)],
        ending=ending,
        ended=now,
    )


def manager_of(plugin: object) -> PluginManager:
    """A manager with this plugin alone, which lets its errors through."""
    manager = PluginManager([Found("under-test", "loaded", plugin)])
    manager.raise_errors = True
    return manager


def occurs(value: str, place: str, exchange: Exchange) -> bool:
    """Whether a value stands where its evidence says it was found."""
    pairs: Headers = ()
    if place == "request_header":
        pairs = exchange.request.headers
    elif place == "response_header" and exchange.head is not None:
        pairs = exchange.head.headers
    texts = {
        "request_body": (exchange.request_body,),
        "response_body": (exchange.content or b"",),
        "request_header": [v.encode() for _, v in pairs],
        "response_header": [v.encode() for _, v in pairs],
    }.get(place)
    if texts is None:  # a URL or a derivation may be told in other words
        return True
    forms = [[part, json.dumps(part)[1:-1]] for part in value.split(",")]  # a list of reasons is joined
    return all(any(form.encode() in text for form in either for text in texts) for either in forms)


_WRONG: tuple[Any, ...] = (None, [], {}, "", "wrong", -1, 0, 1.5, True, [None], {"wrong": None})


def mutilations(exchange: Exchange) -> Iterator[tuple[str, Exchange]]:
    """What a network, a proxy or a vendor makes of an exchange, one damage at a time."""
    head, content = exchange.head, exchange.content or b""
    assert head is not None

    def answer(
        body: bytes, headers: Headers = head.headers, status: int = head.status, ending: Ending = "complete"
    ) -> Exchange:
        changed = replace(head, headers=headers, status=status)
        return replace(exchange, head=changed, chunks=[Chunk(1.0, body)], decoded=True, ending=ending)

    html = (("content-type", "text/html"),)
    yield "no response", replace(exchange, head=None, chunks=[], ending="no_response")
    yield "a gateway's error page", answer(b"<html><h1>502 Bad Gateway</h1></html>", html, 502)
    yield "a page in place of the answer", answer(b"<html>Welcome to this network</html>", html)
    yield (
        "an unknown encoding",
        replace(answer(b"\x00\x01", (*head.headers, ("content-encoding", "new"))), decoded=False),
    )
    for body in (b"", b"{}", b"[]", b"null", b"0", b'"text"', b"\xff\xfe\x00", b"data: \n\n", b'data: "text"\n\n'):
        yield f"the body {body!r}", answer(body)
    for part in range(1, 8):
        yield f"{part}/8 of the body", answer(content[: len(content) * part // 8], ending="broken")
    for number, (name, _) in enumerate(head.headers):
        rest = head.headers[:number] + head.headers[number + 1 :]
        yield f"without the header {name}", answer(content, rest)
        for value in ("", "nan", "-1", "wrong"):
            yield f"the header {name}: {value}", answer(content, (*rest, (name, value)))
    for body in (b"", b"not JSON", b"[]", b"null", b'"text"', b"\xff"):
        yield f"the request body {body!r}", replace(exchange, request_body=body)
    for what, value in _wrong_parts(exchange.request_json):
        yield f"the request with {what}", replace(exchange, request_body=json.dumps(value).encode())
    if not is_event_stream(head):
        for what, value in _wrong_parts(exchange.response_json):
            yield f"the answer with {what}", answer(json.dumps(value).encode())
        return
    blocks = [f"event: {e.name}\ndata: {e.data}\n\n" if e.name else f"data: {e.data}\n\n" for e in exchange.events]
    for number, event in enumerate(exchange.events):
        yield f"the stream without event {number}", answer("".join(blocks[:number] + blocks[number + 1 :]).encode())
        named = f"event: {event.name}\n" if event.name else ""
        for what, value in _wrong_parts(parse_json(event.data.encode())):
            damaged = [*blocks[:number], f"{named}data: {json.dumps(value)}\n\n", *blocks[number + 1 :]]
            yield f"event {number} with {what}", answer("".join(damaged).encode())


def _wrong_parts(value: Any, path: str = "$") -> Iterator[tuple[str, Any]]:
    """``value`` with one member at a time left out or of a wrong type, at every depth."""
    if not isinstance(value, (dict, list)):
        return
    for key in value if isinstance(value, dict) else range(len(value)):
        here, rest = f"{path}.{key}", copy.copy(value)
        del rest[key]
        yield f"no {here}", rest
        for wrong in _WRONG:
            changed = copy.copy(value)
            changed[key] = wrong
            yield f"{here} = {wrong!r}", changed
        for what, inner in _wrong_parts(value[key], here):
            changed = copy.copy(value)
            changed[key] = inner
            yield what, changed
