"""Wire seam for aiohttp: ``ClientSession._request``, through which every method of a session goes.

The response is aiohttp's own, and so is its reader's interface: ``response.content`` becomes a
``StreamReader`` that takes from the original one what has arrived, hands it to the journal and only then
to the program. Nothing is read that the program does not ask for, and what has arrived together is handed
on together, as without custody.

aiohttp's parser undoes the content-encoding before any reader sees the bytes: such a response is recorded
as ``decoded``. Redirects, digest middlewares and retries on a stale connection happen inside the original
and are one exchange. Web sockets pass through. On replay no trace callback fires.

``raise_for_status=True`` is applied here, after the head is recorded: the original would drop the response.
"""

from __future__ import annotations

import contextlib
import functools
from types import ModuleType
from typing import Any

from custody.exchange import Ack, Headers, RequestHead, ResponseHead, Turn, WireHandler, is_event_stream
from custody.seam.aiohttp_response import multidict, readers, replayed
from custody.seam.patching import Patches
from custody.seam.wire import afill, ending_of, inside, ready, settle, text_of


def install(patches: Patches, handler: WireHandler) -> None:
    """Patch aiohttp when it is imported."""
    patches.when_imported("aiohttp", functools.partial(_patch, patches, handler))


def _patch(patches: Patches, handler: WireHandler, module: ModuleType) -> None:
    patches.replace(module.ClientSession, "_request", functools.partial(_request, handler, module))


def _request(handler: WireHandler, module: ModuleType, original: Any) -> Any:
    transport = f"aiohttp {getattr(module, '__version__', '')}".strip()

    @functools.wraps(original)
    async def _request(self: Any, method: str, str_or_url: Any, **kwargs: Any) -> Any:
        if not handler.active or inside.get() or self.closed:
            return await original(self, method, str_or_url, **kwargs)
        asked = _Asked.of(self, method, str_or_url, kwargs)
        if asked is None:
            return await original(self, method, str_or_url, **kwargs)
        claim = handler.claim(asked.head, self)
        turn = None
        if claim is not None:
            body = await asked.read(module)
            turn = handler.begin(asked.head, claim, body, transport, self)
        if turn is None:
            asked.fill(await afill(asked.given))
            return await original(self, method, str_or_url, **asked.kwargs)
        try:
            await ready(turn)
            if turn.replay is None:
                turn.sending(asked.fill(await afill(asked.given)))
        except BaseException:
            turn.abandon()
            raise
        if turn.replay is not None:
            response = replayed(module, self, asked.url, asked.head, turn.replay, decodes=asked.decodes)
        else:
            token = inside.set(True)
            try:
                response = await original(self, method, str_or_url, **{**asked.kwargs, "raise_for_status": False})
            except BaseException as error:
                settle(turn, ending_of(error, "no_response"), error)
                raise
            finally:
                inside.reset(token)
            ack = _attach(module, turn, response, decodes=asked.decodes)
            if ack is not None:
                await ack.awaited()
        await _raise_for_status(self, kwargs.get("raise_for_status"), response)
        return response

    return _request


async def _raise_for_status(session: Any, asked: Any, response: Any) -> None:
    wanted = session.raise_for_status if asked is None else asked
    try:
        if callable(wanted):
            await wanted(response)
        elif wanted:
            if not response.ok:
                with contextlib.suppress(Exception):
                    await response.read()  # an error's body is part of the record, and comes with the head
            response.raise_for_status()
    except BaseException:
        response.close()
        raise


class _Asked:
    """What a session was asked for, as far as it is known before it is sent.

    Attributes:
        kwargs: what the original is called with.
        given: the headers of the session and the request, without those that aiohttp adds.
        decodes: content-encodings are undone before anybody reads.
    """

    def __init__(self, session: Any, url: Any, head: RequestHead, given: Headers, kwargs: dict[str, Any]) -> None:
        self.url, self.head, self.given, self.kwargs = url, head, given, kwargs
        stated = kwargs.get("auto_decompress")
        self.decodes = bool(session.auto_decompress if stated is None else stated)
        self._serialize = session.json_serialize

    @classmethod
    def of(cls, session: Any, method: str, str_or_url: Any, kwargs: dict[str, Any]) -> _Asked | None:
        """None for what is no HTTP exchange, and for arguments that the original will refuse."""
        try:
            headers = session._prepare_headers(kwargs.get("headers"))
            url = _with_query(session._build_url(str_or_url), kwargs.get("params"))
        except (TypeError, ValueError):
            return None
        if "websocket" in headers.get("upgrade", "").lower():
            return None
        given = tuple([(str(name), str(value)) for name, value in headers.items()])
        shown = given
        skipped = {str(name).lower() for name in kwargs.get("skip_auto_headers") or ()}
        if "accept" not in headers and "accept" not in skipped:
            shown = (*shown, ("Accept", "*/*"))
        kind = _content_type(kwargs)
        if kind is not None and "content-type" not in headers and "content-type" not in skipped:
            shown = (*shown, ("Content-Type", kind))
        auth = kwargs.get("auth") or session.auth
        if auth is not None and "authorization" not in headers:
            shown = (*shown, ("Authorization", auth.encode()))
        return cls(session, url, RequestHead(method.upper(), str(url), shown), given, dict(kwargs))

    async def read(self, module: ModuleType) -> bytes:
        """The request's body. What can be read only once is replaced by what was read."""
        data, document = self.kwargs.get("data"), self.kwargs.get("json")
        if document is not None:
            text = self._serialize(document)
            return text if isinstance(text, bytes) else str(text).encode()
        if data is None:
            return b""
        if isinstance(data, str):
            return data.encode()
        if isinstance(data, (bytes, bytearray, memoryview)):
            return bytes(data)
        payload = _payload(module, data)
        collected = _Collected()
        await payload.write(collected)
        kept = b"".join(collected.parts)
        headers = self.given
        if not any(name.lower() == "content-type" for name, _ in headers):
            headers = (*headers, ("Content-Type", payload.content_type))
            self.head = RequestHead(self.head.method, self.head.url, (*self.head.headers, headers[-1]))
        self.kwargs["data"] = kept
        self.fill(headers)
        return kept

    def fill(self, headers: Headers | None) -> Headers | None:
        """Send these headers in place of the given ones."""
        if headers is not None:
            self.given, self.kwargs["headers"] = headers, multidict().CIMultiDict(headers)
        return headers


def _with_query(url: Any, params: Any) -> Any:
    if not params:
        return url
    if hasattr(url, "extend_query"):
        return url.extend_query(params)
    query = multidict().MultiDict(url.query)
    query.extend(url.with_query(params).query)
    return url.with_query(query)


def _content_type(kwargs: dict[str, Any]) -> str | None:
    """What aiohttp will say of data that it does not have to ask for it."""
    data = kwargs.get("data")
    if kwargs.get("json") is not None:
        return "application/json"
    if isinstance(data, str):
        return "text/plain; charset=utf-8"
    return "application/octet-stream" if isinstance(data, (bytes, bytearray, memoryview)) and data else None


def _payload(module: ModuleType, data: Any) -> Any:
    """The payload that aiohttp makes of any kind of data."""
    if isinstance(data, module.FormData):
        return data()
    try:
        return module.payload.PAYLOAD_REGISTRY.get(data, disposition=None)
    except module.payload.LookupError:
        return module.FormData(data)()


class _Collected:
    """Takes a payload as aiohttp's own writer does."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    async def write(self, chunk: Any, **_: Any) -> None:
        self.parts.append(bytes(chunk))

    async def write_eof(self, chunk: Any = b"") -> None:
        self.parts.append(bytes(chunk))

    async def drain(self) -> None:
        """Nothing waits."""


def _attach(module: ModuleType, turn: Turn, response: Any, *, decodes: bool) -> Ack | None:
    """Put the tee before the response's bytes. A response that has none is recorded at once."""
    version = response.version
    headers = text_of(response.raw_headers)
    http = f"HTTP/{version.major}.{version.minor}" if version is not None else ""
    head = ResponseHead(response.status, response.reason or "", http, headers)
    decoded = decodes and bool(head.header("content-encoding"))
    turn.head(head, streamed=is_event_stream(head), decoded=decoded)
    if response.content.at_eof():
        return turn.end("complete")
    response.content = readers(module).tee(response.content, turn, head)
    return None
