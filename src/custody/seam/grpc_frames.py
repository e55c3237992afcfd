"""How a gRPC exchange looks in the archive: a URL, headers, and a body that ends where it says it ends.

The body of a response is what gRPC-Web puts on the wire (gRPC's PROTOCOL-WEB.md): every message with one
byte of flags and its length in four, and last a frame with the highest flag that holds the trailers as
lines of HTTP/1 headers. So status, message and trailing metadata survive where the messages do. The body of
a request is the message alone.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from custody import redact
from custody.exchange import Headers, RequestHead, ResponseHead

REQUEST_TYPE = "application/grpc"
RESPONSE_TYPE = "application/grpc-web+proto"

HTTP_STATUS = {
    "OK": 200, "CANCELLED": 499, "UNKNOWN": 500, "INVALID_ARGUMENT": 400, "DEADLINE_EXCEEDED": 504, "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409, "PERMISSION_DENIED": 403, "RESOURCE_EXHAUSTED": 429, "FAILED_PRECONDITION": 400,
    "ABORTED": 409, "OUT_OF_RANGE": 400, "UNIMPLEMENTED": 501, "INTERNAL": 500, "UNAVAILABLE": 503, "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}  # fmt: skip
"""google/rpc/code.proto: the HTTP status that Google's own REST front gives for each."""

_TRAILERS = 0x80
_SCHEME = re.compile(r"^[a-z0-9-]+:///")
_LOCAL = re.compile(
    "failed to connect|socket closed|connection re|recvmsg|broken pipe|goaway|dns |name resolution"
    "|endpoint closing|keepalive|ping timeout|no route|transport closed|channel closed",
    re.IGNORECASE,
)

Metadata = tuple[tuple[str, str | bytes], ...]


class Status(NamedTuple):
    """How a call ended. ``code`` by name ("RESOURCE_EXHAUSTED")."""

    code: str
    number: int
    details: str
    trailing: Metadata = ()

    @property
    def answered(self) -> bool:
        """Whether the server said so: these three the library also says of itself, then without metadata."""
        if self.trailing or self.code not in ("DEADLINE_EXCEEDED", "CANCELLED", "UNAVAILABLE"):
            return True
        return self.code == "UNAVAILABLE" and _LOCAL.search(self.details) is None


def request_head(target: str, method: str, metadata: Iterable[Any] | None) -> RequestHead:
    """``target`` as the channel has it ("dns:///host:443"), ``method`` as "/package.Service/Method"."""
    address = re.sub(r"^(dns|ipv4|ipv6):(?!/)", "", _SCHEME.sub("", target)).removesuffix(":443")
    headers = (("content-type", REQUEST_TYPE), *headers_of(metadata))
    return RequestHead("POST", f"grpc://{address}{method}", headers)


def response_head(status: str, initial: Iterable[Any] | None) -> ResponseHead:
    """The head of a response; ``status`` is OK as long as messages come."""
    headers = (("content-type", RESPONSE_TYPE), *headers_of(initial))
    return ResponseHead(HTTP_STATUS.get(status, 500), status, "HTTP/2", headers)


def headers_of(metadata: Iterable[Any] | None) -> Headers:
    """Metadata as headers; binary values (under names that end in "-bin") in base64, as on the wire."""
    return tuple(
        (str(name), base64.b64encode(value).decode() if isinstance(value, bytes) else str(value))
        for name, value in metadata or ()
    )


def metadata_of(headers: Iterable[tuple[str, str]]) -> Metadata:
    """The reverse of ``headers_of``."""
    return tuple((name, _binary(value) if name.endswith("-bin") else value) for name, value in headers)


def _binary(value: str) -> bytes:
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4))
    except binascii.Error:
        return b""


def frame(message: bytes, flags: int = 0) -> bytes:
    """One message as it stands in a body."""
    return bytes([flags]) + len(message).to_bytes(4, "big") + message


def trailers(status: Status) -> bytes:
    """The last frame of a body. Of the trailing metadata what may be stored of response headers, too."""
    lines = [("grpc-status", str(status.number))]
    if status.details:
        lines.append(("grpc-message", quote(status.details, safe=" !\"#$&'()*+,/:;<=>?@[\\]^`{|}~")))
    lines += [(k, v) for k, v in headers_of(status.trailing) if _storable(k)]
    return frame("".join(f"{name}:{value}\r\n" for name, value in lines).encode("utf-8", "replace"), _TRAILERS)


def _storable(name: str) -> bool:
    own = name.startswith(("grpc-", "google.rpc.", "x-goog-")) and "token" not in name and "auth" not in name
    return own or bool(redact.response_headers(((name, ""),)))


class Body(NamedTuple):
    """A body taken apart. ``trailers`` is None where it broke off before them."""

    messages: list[bytes]
    trailers: dict[str, str] | None
    trailing: Metadata

    @property
    def number(self) -> int | None:
        """The status code, if there is one."""
        said = (self.trailers or {}).get("grpc-status", "")
        return int(said) if said.isdigit() else None

    @property
    def details(self) -> str:
        return unquote_to_bytes((self.trailers or {}).get("grpc-message", "")).decode("utf-8", "replace")


def parse(body: bytes) -> Body:
    """The messages and trailers of a body, as far as they are whole."""
    messages: list[bytes] = []
    while len(body) >= 5:
        flags, size = body[0], int.from_bytes(body[1:5], "big")
        data, body = body[5 : 5 + size], body[5 + size :]
        if len(data) < size:
            break
        if flags & _TRAILERS:
            pairs = [line.partition(":") for line in data.decode("utf-8", "replace").split("\r\n") if line]
            found = tuple((name, value) for name, _, value in pairs)
            rest = tuple(pair for pair in found if pair[0] not in ("grpc-status", "grpc-message"))
            return Body(messages, dict(found), metadata_of(rest))
        messages.append(data)
    return Body(messages, None, ())


def serialised(request: Any, serializer: Any) -> bytes:
    """The request's bytes, always the same for the same message: maps have no order of their own.

    Raises what the serializer raises.
    """
    plain: bytes = request if serializer is None else serializer(request)
    message = getattr(request, "_pb", request)  # proto-plus wraps a protobuf message
    if not hasattr(message, "SerializeToString"):
        return plain
    stable: bytes = message.SerializeToString(deterministic=True)
    same = stable == plain or (len(stable) == len(plain) and sorted(stable) == sorted(plain))
    return stable if same else plain  # else the serializer does something of its own
