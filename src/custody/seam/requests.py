"""Wire seam for requests: ``Session.send``, above adapters, redirects and hooks, one attempt at a time.

The original is always called with ``stream=True``; the raw bytes, still content-encoded, are handed to the
journal before the caller sees them (``requests_response``), and the body is read here if the caller wanted
it whole.

On replay no response hook fires, no cookie is kept, and redirects are those that were followed when recording.
"""

from __future__ import annotations

import functools
import sys
import time
from types import ModuleType
from typing import Any

from custody.exchange import Ack, Headers, Replay, RequestHead, ResponseHead, Turn, WireHandler
from custody.seam import requests_response
from custody.seam.patching import Patches
from custody.seam.wire import CLAIM_PAUSE, ending_of, fill, inside, settle


def install(patches: Patches, handler: WireHandler) -> None:
    """Patch ``Session.send`` when the library is imported."""
    patches.when_imported("requests.sessions", functools.partial(_patch, patches, handler))


def _patch(patches: Patches, handler: WireHandler, module: ModuleType) -> None:
    patches.replace(module.Session, "send", functools.partial(_send, handler, module))


def _send(handler: WireHandler, module: ModuleType, original: Any) -> Any:
    @functools.wraps(original)
    def send(self: Any, request: Any, **kwargs: Any) -> Any:
        if not handler.active or inside.get() or not hasattr(request, "body"):
            return original(self, request, **kwargs)
        head = RequestHead(request.method or "GET", request.url or "", _pairs(request.headers))
        claim = handler.claim(head, self)
        body = _body(request) if claim is not None else b""
        turn = handler.begin(head, claim, body, requests_response.transport(), self) if claim is not None else None
        if turn is None:
            _fill(request, fill(head.headers))
            return original(self, request, **kwargs)
        try:
            while not turn.ready():
                time.sleep(CLAIM_PAUSE)
            if turn.replay is None:
                filled = fill(head.headers)
                _fill(request, filled)
                turn.sending(filled)
        except BaseException:
            turn.abandon()
            raise
        stream = bool(kwargs.get("stream", self.stream))
        if turn.replay is not None:
            response = _replayed(module, request, turn.replay)
        else:
            token = inside.set(True)
            try:
                response = original(self, request, **{**kwargs, "stream": True})
            except BaseException as error:
                settle(turn, ending_of(error, "no_response"), error)
                raise
            finally:
                inside.reset(token)
            ack = _attach(turn, response, streamed=stream)
            if ack is not None:
                ack.wait()
        if not stream:
            response.content  # noqa: B018  (reads it)
        return response

    return send


def _attach(turn: Turn, response: Any, *, streamed: bool) -> Ack | None:
    """Put the tee around the response's bytes. A response that is read already is recorded at once."""
    raw = response.raw
    version = {10: "HTTP/1.0", 11: "HTTP/1.1", 20: "HTTP/2"}.get(getattr(raw, "version", 0) or 0, "HTTP/1.1")
    headers = getattr(raw, "headers", None) or response.headers
    head = ResponseHead(response.status_code, response.reason or "", version, _pairs(headers))
    if response._content is False and requests_response.tee(raw, turn):
        turn.head(head, streamed=streamed)
        return turn.end("complete") if requests_response.is_over(raw) else None
    # A hook read it, a redirect was not followed, or an adapter of the user's made it: its raw bytes are gone.
    turn.head(head, streamed=False, decoded=True)
    content = response.content or b""
    ack = turn.chunk(content) if content else None
    return ack or turn.end("complete")


def _replayed(module: ModuleType, request: Any, replay: Replay) -> Any:
    if replay.head is None:  # no response then either
        exceptions: Any = sys.modules["requests.exceptions"]
        kind = getattr(exceptions, replay.error or "", None)
        known = isinstance(kind, type) and issubclass(kind, exceptions.RequestException)
        raised: Any = kind if known else exceptions.ConnectionError
        raise raised(f"replayed: call {replay.call_id} got no response", request=request)
    return requests_response.replayed(module, request, replay, replay.head)


def _fill(request: Any, filled: Headers | None) -> None:
    for name, value in filled or ():
        request.headers[name] = value


def _pairs(headers: Any) -> Headers:
    return tuple([(_text(name), _text(value)) for name, value in headers.items()])


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _body(request: Any) -> bytes:
    """The request's body; a file is left where it was, a generator is replaced by what it gave."""
    body = request.body
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    if hasattr(body, "read"):
        at = body.tell() if hasattr(body, "tell") else None
        data = body.read()
        if at is not None and hasattr(body, "seek"):
            body.seek(at)
        else:
            request.body = data
        return data.encode() if isinstance(data, str) else bytes(data)
    parts = [part.encode() if isinstance(part, str) else bytes(part) for part in body]
    request.body = iter(parts)
    return b"".join(parts)
