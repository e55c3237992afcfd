"""An exchange as plugins read it."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.exchange import Chunk, Claim, Exchange, RequestHead, ResponseHead, is_event_stream, parse_json
from custody.sse import Event


def exchange(body: bytes, status: int = 200, sent: bytes = b"", **headers: str) -> Exchange:
    made = Exchange(
        "w-1.1", RequestHead("POST", "https://h/v1", ()), sent, Claim("p", "V", "chat"), "httpx", datetime.now(UTC)
    )
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    made.head, made.ending = ResponseHead(status, "", "HTTP/1.1", pairs), "complete"
    made.chunks = [Chunk(float(at), body[at : at + 3]) for at in range(0, len(body), 3)]
    return made


def test_a_request_head() -> None:
    head = RequestHead("GET", "https://u:p@h:8/a/b?x=1&x=&y=%20#f", (("X-A", "1"), ("x-a", "2")))
    assert head.header("x-A") == "1"
    assert head.header("x-b") is None
    assert head.query == [("x", "1"), ("x", ""), ("y", " ")]
    assert (head.parts.hostname, head.parts.port, head.parts.path) == ("h", 8, "/a/b")


def test_a_body_is_read_through_its_encoding() -> None:
    made = exchange(gzip.compress(b'{"a":1}'), content_encoding="gzip", sent=b'{"q":"\xc3\xa4"}')
    assert made.response_json == {"a": 1}
    assert made.request_json == {"q": "ä"}
    assert made.body != made.content
    undone = exchange(b'{"a":1}', content_encoding="gzip")
    undone.decoded = True
    assert undone.response_json == {"a": 1}
    assert exchange(b"x", content_encoding="compress").content is None


@pytest.mark.parametrize(
    ("status", "ending", "good"),
    [
        (200, "complete", True),
        (299, "complete", True),
        (300, "complete", False),
        (200, "broken", False),
        (500, "complete", False),
    ],
)
def test_success(status: int, ending: str, good: bool) -> None:
    made = exchange(b"", status)
    made.ending = ending  # type: ignore[assignment]
    assert made.succeeded is good


def test_without_a_response() -> None:
    made = exchange(b"")
    made.head = None
    assert (made.content, made.events, made.response_json, made.succeeded) == (b"", [], None, False)


def test_events_with_an_unterminated_last_one() -> None:
    made = exchange(b'data: {"n":1}\n\ndata: [1]\n\ndata: {"n":2}', content_type="Text/Event-Stream; charset=utf-8")
    assert made.events == [Event("", '{"n":1}'), Event("", "[1]"), Event("", '{"n":2}')]
    assert list(made.event_json()) == [{"n": 1}, {"n": 2}]
    assert exchange(b"data: x\n\n", content_type="application/json").events == []


TEXTS = st.recursive(
    st.none() | st.floats() | st.integers() | st.text(max_size=9),
    lambda of: st.lists(of) | st.dictionaries(st.text(max_size=5), of),
).map(json.dumps)


@given(
    st.tuples(TEXTS | st.sampled_from(['{"', '{"a":', '{"a":1', '{"a":NaN}', '{"a":1}x', '{"\\ud800":"\ud800"}', "[1"]),
              st.sampled_from(["", " \n", "\0", ",", "\ufeff"])).map("".join),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32-be", "latin-1"]),
)  # fmt: skip
def test_a_body_is_parsed_as_json_parses_it(text: str, encoding: str) -> None:
    data = text.encode(encoding, "backslashreplace" if encoding == "latin-1" else "surrogatepass")
    try:
        expected = json.loads(data)
    except ValueError:
        expected = None
    assert repr(parse_json(data)) == repr(expected)


def test_what_is_worked_out_of_an_exchange_is_worked_out_once() -> None:
    made = exchange(b'{"a":1}', sent=b'{"q":1}')
    for name in ("content", "request_json", "response_json", "events"):
        assert getattr(made, name) is getattr(made, name)
        assert name in vars(made)
    vars(made)["request_json"] = {"known": "already"}
    assert made.request_json == {"known": "already"}
    assert Exchange.__dict__["content"].__doc__


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 200_000, b"1" * 5000, b"\0"])
def test_what_is_no_json_is_none(data: bytes) -> None:
    assert parse_json(data) is None


def test_json() -> None:
    assert parse_json(json.dumps({"a": "\ud800"}).encode()) == {"a": "\ud800"}
    assert parse_json(b"\xef\xbb\xbf{}") == {}


def test_event_streams() -> None:
    assert is_event_stream(ResponseHead(200, "", "", (("Content-Type", "text/event-stream"),)))
    assert not is_event_stream(ResponseHead(200, "", "", ()))


def test_what_is_worked_out_once_is_documented_on_its_class() -> None:
    assert "content-encoding" in (Exchange.content.__doc__ or "")  # type: ignore[union-attr]
