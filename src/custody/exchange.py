"""An exchange: one request on the wire and its response, stream or error. Plain data, no I/O.

Wire seams make these, vendor plugins read them. Bytes are as they travelled (still content-encoded);
``Exchange.content`` and what builds on it are decoded views.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, NamedTuple, Protocol, Self, TypeVar, overload
from urllib.parse import SplitResult, parse_qsl, urlsplit

import orjson

from custody import encoding
from custody.eventstream import EventStreamParser, LineParser
from custody.headers import Remembered, lowered
from custody.sse import Event, EventParser

Headers = tuple[tuple[str, str], ...]

Ending = Literal["complete", "closed_early", "broken", "cancelled", "no_response"]
"""How the response ended: by its protocol; closed by the program before that; broken off by the
vendor or the network; cancelled by the program while waiting; never begun."""

Terminal = Literal["complete", "complete_at_eof", "error"]
"""What one stream event says: the answer is complete; it is complete if the connection now ends
cleanly; the vendor reports a failure inside the stream."""

StreamEnd = Callable[[Event], Terminal | None]


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What is known of a request before its body is read: enough to decide whose it is.

    Attributes:
        sdk: name of the vendor plugin whose call seam the request passed, if it passed one.
        through: the same, where that SDK speaks to many vendors (``CallSeam.mixed``); ``sdk`` is None then.
    """

    method: str
    url: str
    headers: Headers
    sdk: str | None = None
    through: str | None = None

    @property
    def parts(self) -> SplitResult:
        return urlsplit(self.url)

    @property
    def query(self) -> list[tuple[str, str]]:
        query = self.parts.query
        return parse_qsl(query, keep_blank_values=True) if query else []

    def header(self, name: str) -> str | None:
        return _header(self.headers, name)


@dataclass(frozen=True, slots=True)
class Claim:
    """A vendor plugin's word that an exchange is LLM traffic that it can read.

    Attributes:
        plugin: the plugin's name; it is handed back to the plugin with the exchange.
        vendor: who answers, as people say it ("OpenAI", "Groq"), or the host where nobody can say.
        operation: what was asked for, in OpenTelemetry's words where they exist ("chat", "embeddings").
        stream_end: what an event of this operation's stream says of its end.
        key_ignore: lower-case header names that do not change the answer, besides the usual ones.
        needs: names that the request's JSON must have, where the path alone does not tell: a request without
            them is let through untouched.
        fleeting: the answer is good for a moment only (an address to upload to): a resume asks again.
    """

    plugin: str
    vendor: str
    operation: str
    stream_end: StreamEnd | None = None
    key_ignore: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    fleeting: bool = False


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """Status line and headers. ``http_version`` as the transport names it ("HTTP/1.1")."""

    status: int
    reason: str
    http_version: str
    headers: Headers
    _by_name: dict[str, str] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        # Readers ask for a dozen headers of each answer. Of two of one name the first counts.
        object.__setattr__(self, "_by_name", {lowered[name]: value for name, value in reversed(self.headers)})

    def header(self, name: str) -> str | None:
        return self._by_name.get(lowered[name])


class Chunk(NamedTuple):
    """Raw bytes as one read of the wire gave them, with milliseconds since the request was sent."""

    at_ms: float
    data: bytes


T = TypeVar("T")


class _once(Generic[T]):  # noqa: N801  (it is written like a property)
    """``functools.cached_property`` without the lock, one for all exchanges, that Python 3.11 takes each time."""

    def __init__(self, of: Callable[[Any], T]) -> None:
        self._of, self._name, self.__doc__ = of, of.__name__, of.__doc__

    @overload
    def __get__(self, exchange: None, owner: object = None) -> Self: ...
    @overload
    def __get__(self, exchange: Exchange, owner: object = None) -> T: ...
    def __get__(self, exchange: Exchange | None, owner: object = None) -> T | Self:
        if exchange is None:
            return self
        value = exchange.__dict__[self._name] = self._of(exchange)
        return value


@dataclass
class Exchange:
    """A finished exchange, as hooks see it.

    Attributes:
        sent, ended: UTC.
        error: class name of the exception that ended it, if one did.
        decoded: the bytes had lost their content-encoding before custody could see them.
    """

    id: str
    request: RequestHead
    request_body: bytes
    claim: Claim
    transport: str
    sent: datetime
    head: ResponseHead | None = None
    chunks: list[Chunk] = field(default_factory=list)
    streamed: bool = False
    ending: Ending = "no_response"
    ended: datetime | None = None
    first_byte_ms: float | None = None
    total_ms: float | None = None
    error: str | None = None
    decoded: bool = False

    @property
    def succeeded(self) -> bool:
        """A 2xx answer that arrived whole."""
        return self.head is not None and 200 <= self.head.status < 300 and self.ending == "complete"

    @property
    def body(self) -> bytes:
        return b"".join([chunk.data for chunk in self.chunks])

    @property
    def encoded(self) -> bool:
        """Whether the body's bytes have a content-encoding."""
        return self.head is not None and not self.decoded and self.head.header("content-encoding") is not None

    @_once
    def content(self) -> bytes | None:
        """The body without its content-encoding; None where the encoding is not understood."""
        if self.head is None:
            return b""
        coding = "" if self.decoded else self.head.header("content-encoding") or ""
        return encoding.decode(coding, self.body)

    @_once
    def request_json(self) -> Any:
        """The request body as JSON, or None."""
        return parse_json(self.request_body)

    @_once
    def response_json(self) -> Any:
        """The response body as JSON, or None (a stream is not one JSON value)."""
        return _read_json(self.content or b"")

    @_once
    def events(self) -> list[Event]:
        """The stream's events, an unterminated last one included."""
        parser = event_parser(self.head) if self.head is not None else None
        if parser is None:
            return []
        found = list(parser.feed(self.content or b""))
        last = parser.rest()
        return [*found, last] if last else found

    def event_json(self) -> Iterator[dict[str, Any]]:
        """The events whose data is a JSON object, in order."""
        for event in self.events:
            value = _read_json(event.data.encode())
            if isinstance(value, dict):
                yield value


@dataclass(frozen=True, slots=True)
class Replay:
    """An archived response, to be handed to the SDK as if the vendor had sent it.

    Attributes:
        call_id: the call that paid for it.
        head: None where the attempt got no response: the seam raises its library's error again.
        exhausted: message for a program that reads past the end of a stream it once closed early;
            None where the response is complete.
        error: class name of the exception that was raised where there is no response.
        origin: where it is no answer that custody captured, what it is instead ("reconstructed").
        note: what is to be noted in the archive of its being given, the first time.
    """

    call_id: str
    head: ResponseHead | None
    chunks: tuple[bytes, ...]
    decoded: bool = False
    exhausted: str | None = None
    error: str | None = None
    origin: str | None = None
    note: Mapping[str, Any] | None = None


class Ack(Protocol):
    """The word that a record is on stable storage. Both forms return at once when it already is."""

    def wait(self) -> None:
        """Block until durable. Raises AnswerNotArchived where nothing could keep the record."""

    async def awaited(self) -> None:
        """The same for coroutines; the event loop is never blocked on the disk."""

    def unattended(self) -> None:
        """Nobody will wait: the record becomes durable soon."""


class Asking(Protocol):
    """Questions to the vendor about a call in doubt, as a wire seam puts them.

    Attributes:
        found: set where one was answered with the call's answer.
    """

    @property
    def found(self) -> object | None: ...

    def begin(self) -> str | None:
        """The first URL to ask with GET; None: nothing is to be asked (any more)."""

    def answered(self, status: int, headers: Headers, body: bytes) -> str | None: ...

    def failed(self, error: BaseException) -> None: ...


class Turn(Protocol):
    """One exchange on its way, as a wire seam sees it."""

    def ready(self) -> bool:
        """False while another process is sending the same identity: ask again after a pause."""

    @property
    def asks_a_server(self) -> bool:
        """Whether ``ready`` may wait for a server, so that no event loop should."""

    @property
    def replay(self) -> Replay | None: ...

    @property
    def reconciling(self) -> Asking | None:
        """Set where the vendor may be asked for the answer, before the request is sent again."""

    def take_in(self, filled: Headers | None = None) -> Ack | None:
        """In place of ``sending``, where the vendor gave the answer: ``replay`` is that answer afterwards."""

    def abandon(self) -> None:
        """The exchange did not come about: nobody shall wait for it. Does nothing once it has ended."""

    def sending(self, filled: Headers | None = None) -> None:
        """Called right before the request goes out; journals the intent.

        ``filled`` are the headers with the credentials that had been deferred, if any had.
        """

    def head(self, head: ResponseHead, *, streamed: bool, decoded: bool = False) -> None: ...

    def chunk(self, data: bytes) -> Ack | None:
        """Journal raw bytes. An Ack means: these are the last ones, wait before handing them on."""

    def end(self, ending: Ending, error: BaseException | None = None) -> Ack | None:
        """The response is over. Only the first word counts; later ones return None."""


class WireHandler(Protocol):
    """What a wire seam is handed: it knows nothing else of the floors above it."""

    @property
    def active(self) -> bool:
        """False while no session is open: then a seam steps aside at once."""

    def claim(self, request: RequestHead, client: object) -> Claim | None: ...

    def begin(self, request: RequestHead, claim: Claim, body: bytes, transport: str, client: object) -> Turn | None: ...


def is_event_stream(head: ResponseHead) -> bool:
    """Whether the response comes as events, of any of the known kinds."""
    return _parser(head) is not None


def is_grpc(head: ResponseHead) -> bool:
    """Whether the response is a row of gRPC's messages."""
    return (head.header("content-type") or "").lower().startswith("application/grpc")


def event_parser(head: ResponseHead) -> EventParser | EventStreamParser | LineParser | None:
    """What reads the events of such a response; None where it is no stream of events."""
    kind = _parser(head)
    return kind() if kind else None


def _parser(head: ResponseHead) -> _Parser | None:
    return _parser_of[head.header("content-type") or ""]


_Parser = type[EventParser] | type[EventStreamParser] | type[LineParser]

_PARSERS: dict[str, _Parser] = {
    "text/event-stream": EventParser,
    "application/vnd.amazon.eventstream": EventStreamParser,
    "application/x-ndjson": LineParser,
    "application/stream+json": LineParser,
    "application/jsonl": LineParser,
}
_parser_of: Remembered[str, _Parser | None] = Remembered(
    lambda kind: _PARSERS.get(kind.partition(";")[0].strip().lower())
)


def parse_json(data: bytes) -> Any:
    """``data`` as JSON, or None where it is not: vendors' bodies are read, never trusted."""
    try:
        if data[:2] == b'{"':  # as SDKs write it: UTF-8, which ``json.loads`` takes long to find out
            text = data.decode("utf-8", "surrogatepass")
            value, end = _raw_decode(text)
            return value if end == len(text) else json.loads(text)
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


_raw_decode = json.JSONDecoder().raw_decode


def _read_json(data: bytes) -> Any:
    """The same for answers, which are only read: three times as fast, and an integer beyond 64 bits is a float."""
    try:
        return orjson.loads(data)
    except ValueError:  # what it refuses (NaN, another Unicode) the other one may know
        return parse_json(data)


def _header(headers: Headers, name: str) -> str | None:
    name = name.lower()
    for key, value in headers:
        if lowered[key] == name:
            return value
    return None
