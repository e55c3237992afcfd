"""Wire seam for botocore, and with it boto3: one attempt at a time, below its retries.

The seam is ``URLLib3Session.send`` in ``botocore.httpsession``, which every client of the default stack
calls. The body is teed where botocore gets it, in ``AWSResponse``: botocore itself then reads it, whole or
as an event stream, with its own errors. A request that passes a call seam is signed after the archive was
asked (``RequestSigner.get_auth_instance``), so that a replay needs no credentials; every attempt is signed
anew, as ever. Clients of other HTTP stacks (``awscrt``, aiobotocore) are out of sight.

On replay botocore counts no retries: the archive has the attempts, the response's metadata says 0. A replayed
failure goes through botocore's own retry handler, which does not sleep then: the error reads as it did.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from custody.credentials import PLACEHOLDER
from custody.exchange import Ack, Headers, Replay, RequestHead, ResponseHead, Turn, WireHandler, is_event_stream
from custody.seam.botocore_streams import Tee, archived
from custody.seam.patching import Patches
from custody.seam.wire import CLAIM_PAUSE, ending_of, inside, resolving, settle
from custody.vendor import current

log = logging.getLogger("custody")

_REPLAYED = "custody_replayed"


class _Sent:
    """One request that is being sent.

    Attributes:
        whole: botocore reads the body before it returns the response.
        ack: what has to be waited for outside of botocore's handlers.
    """

    def __init__(self, turn: Turn, whole: bool) -> None:
        self.turn, self.whole = turn, whole
        self.begun = False
        self.ack: Ack | None = None

    def attach(self, raw: Any) -> Any:
        """The response has begun: its raw stream, with the tee around it."""
        head = ResponseHead(raw.status, raw.reason or "", _version(raw), tuple(raw.headers.items()))
        self.turn.head(head, streamed=is_event_stream(head))
        self.begun = True
        return Tee(raw, self.turn, self._keep if self.whole else None)

    def _keep(self, ack: Ack) -> None:
        self.ack = ack


_sending: ContextVar[_Sent | None] = ContextVar("custody_botocore_sending", default=None)


def install(patches: Patches, handler: WireHandler) -> None:
    """Patch botocore's modules, each when it is imported."""
    patches.when_imported("botocore.httpsession", functools.partial(_patch_session, patches, handler))
    patches.when_imported("botocore.awsrequest", functools.partial(_patch_response, patches))
    patches.when_imported("botocore.signers", functools.partial(_patch_signer, patches, handler))
    patches.when_imported("botocore.endpoint", functools.partial(_patch_endpoint, patches))


def _patch_session(patches: Patches, handler: WireHandler, module: ModuleType) -> None:
    version = getattr(sys.modules.get("botocore"), "__version__", "")
    transport = f"botocore {version}".strip()
    patches.replace(module.URLLib3Session, "send", functools.partial(_send, handler, module, transport))


def _send(handler: WireHandler, module: ModuleType, transport: str, original: Any) -> Any:
    @functools.wraps(original)
    def send(self: Any, request: Any) -> Any:
        if not handler.active or inside.get():
            _sign(request)
            return original(self, request)
        head = RequestHead(request.method, request.url, _headers(request.headers))
        claim = handler.claim(head, self)
        body = _body(request) if claim is not None else None
        turn = handler.begin(head, claim, body, transport, self) if claim is not None and body is not None else None
        if turn is None:
            _sign(request)
            return original(self, request)
        try:
            while not turn.ready():
                time.sleep(CLAIM_PAUSE)
            if turn.replay is None:
                turn.sending(_sign(request))
        except BaseException:
            turn.abandon()
            raise
        if turn.replay is not None:
            return _replayed(module, request, turn.replay)
        return _live(original, self, request, turn)

    return send


def _live(original: Any, session: Any, request: Any, turn: Turn) -> Any:
    sent = _Sent(turn, whole=not request.stream_output)
    tokens = inside.set(True), _sending.set(sent)
    try:
        response = original(session, request)
    except BaseException as error:
        settle(turn, ending_of(error, "broken" if sent.begun else "no_response"), error)
        raise
    finally:
        inside.reset(tokens[0])
        _sending.reset(tokens[1])
    if sent.ack is not None:
        sent.ack.wait()
    return response


def _replayed(module: Any, request: Any, replay: Replay) -> Any:
    if replay.head is None:  # no response then either
        raise _mark(_transport_error(module, request, replay))
    urllib3: Any = sys.modules["urllib3"]
    headers = urllib3.HTTPHeaderDict()
    # The body is stored without an encoding that was undone before custody saw it.
    dropped = {"content-encoding", "content-length"} if replay.decoded else set()
    for name, value in replay.head.headers:
        if name.lower() not in dropped:
            headers.add(name, value)
    raw = archived(urllib3.HTTPResponse)(replay, headers)
    response = _mark(module.botocore.awsrequest.AWSResponse(request.url, replay.head.status, headers, raw))
    if not request.stream_output:
        _ = response.content
    return response


def _transport_error(module: Any, request: Any, replay: Replay) -> Any:
    exceptions: Any = sys.modules["botocore.exceptions"]
    named: Any = getattr(exceptions, replay.error or "", None)
    known = isinstance(named, type) and issubclass(named, (exceptions.HTTPClientError, exceptions.ConnectionError))
    kind = named if known else module.ConnectionClosedError
    reason = f"replayed: call {replay.call_id} got no response"
    return kind(endpoint_url=request.url, proxy_url="", error=reason, request=request)


def _mark(replayed: Any) -> Any:
    """A response or an exception, made known to the retry handler."""
    setattr(replayed, _REPLAYED, True)
    return replayed


# -- the response's bytes -----------------------------------------------------------------------------


def _patch_response(patches: Patches, module: ModuleType) -> None:
    def wrap(original: Any) -> Any:
        @functools.wraps(original)
        def init(self: Any, url: Any, status_code: Any, headers: Any, raw: Any) -> None:
            sent = _sending.get()
            if sent is not None and not sent.begun:
                raw = sent.attach(raw)
            original(self, url, status_code, headers, raw)

        return init

    patches.replace(module.AWSResponse, "__init__", wrap)


# -- signing on a miss only -----------------------------------------------------------------------------


_SIGNED_HEADERS = ("v4", "v4a", "bearer")  # the rest sign addresses, which may never be sent, or S3's bodies


class _Later:
    """In place of a signer: puts a placeholder into the request, and keeps what is to be signed."""

    def __init__(self, sign: Callable[[Any], None], deferred: Callable[[Callable[[], Any]], str]) -> None:
        self._sign, self._deferred = sign, deferred

    def add_auth(self, request: Any) -> None:
        kept = copy.copy(request)
        kept.headers = type(request.headers).from_pairs(request.headers.items())
        kept_sign = functools.partial(self._signed, kept)
        del request.headers["Authorization"]
        request.headers["Authorization"] = self._deferred(kept_sign)

    def _signed(self, kept: Any) -> Headers:
        """The headers that signing makes, with today's credentials."""
        before = set(_headers(kept.headers))
        self._sign(kept)
        return tuple(pair for pair in _headers(kept.headers) if pair not in before)


def _patch_signer(patches: Patches, handler: WireHandler, module: ModuleType) -> None:
    def wrap(original: Any) -> Any:
        @functools.wraps(original)
        def get_auth_instance(
            self: Any, signing_name: Any, region_name: Any, signature_version: Any = None, *args: Any, **kwargs: Any
        ) -> Any:
            call = current.get()
            version = signature_version or getattr(self, "_signature_version", None)
            if call is None or inside.get() or not handler.active or version not in _SIGNED_HEADERS:
                return original(self, signing_name, region_name, signature_version, *args, **kwargs)

            def sign(request: Any) -> None:
                original(self, signing_name, region_name, signature_version, *args, **kwargs).add_auth(request)

            return _Later(sign, call.deferred)

        return get_auth_instance

    patches.replace(module.RequestSigner, "get_auth_instance", wrap)


def _sign(request: Any) -> Headers | None:
    """Replace the placeholder by what signing makes; None where nothing was put off.

    What the program's own credentials raise is raised past botocore, as it would be before its transport.
    """
    call = current.get()
    given = request.headers.get("Authorization")
    found = PLACEHOLDER.search(_text(given)) if call is not None and given else None
    if call is None or found is None:
        return None
    with resolving():
        made = call.resolver(found[0])()
    # What was added after signing (retry headers, a handler of the program's) stays.
    del request.headers["Authorization"]
    for name, value in made:
        request.headers[name] = value.encode()
    return _headers(request.headers)


# -- retries --------------------------------------------------------------------------------------------


def _patch_endpoint(patches: Patches, module: Any) -> None:
    def wrap(original: Any) -> Any:
        @functools.wraps(original)
        def needs_retry(
            self: Any, attempts: Any, operation_model: Any, request_dict: Any, *args: Any, **kwargs: Any
        ) -> Any:
            given = {**dict(zip(("response", "caught_exception"), args, strict=False)), **kwargs}
            response, error = given.get("response"), given.get("caught_exception")
            if not (getattr(response and response[0], _REPLAYED, False) or getattr(error, _REPLAYED, False)):
                return original(self, attempts, operation_model, request_dict, *args, **kwargs)
            # As the original, without its sleep: what the handler says makes up the error's message.
            service = operation_model.service_model.service_id.hyphenize()
            said = self._event_emitter.emit(
                f"needs-retry.{service}.{operation_model.name}",
                response=response,
                endpoint=self,
                operation=operation_model,
                attempts=attempts,
                caught_exception=error,
                request_dict=request_dict,
            )
            return module.first_non_none_response(said) not in (None, False)

        return needs_retry

    with contextlib.suppress(KeyError):
        patches.replace(module.Endpoint, "_needs_retry", wrap)


# -- plain data -------------------------------------------------------------------------------------------


def _headers(headers: Any) -> Headers:
    return tuple((name, _text(value)) for name, value in headers.items())


def _text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _body(request: Any) -> bytes | None:
    """The request's body; of a file what is to be sent of it, and the file stays where it was.

    None for a file that cannot be read twice: it is sent, and not recorded.
    """
    body = request.body
    if body is None or isinstance(body, (bytes, bytearray)):
        return bytes(body or b"")
    if isinstance(body, str):
        return body.encode()
    try:
        at = body.tell()
        data = body.read()
        body.seek(at)
    except (AttributeError, OSError, ValueError):
        log.warning("custody: the body of a request to %s cannot be read twice; it is not recorded", request.url)
        return None
    return data if isinstance(data, bytes) else str(data).encode()


def _version(raw: Any) -> str:
    return {10: "HTTP/1.0", 11: "HTTP/1.1"}.get(raw.version, f"HTTP/{raw.version}")
