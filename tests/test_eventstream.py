"""AWS event streams, compared with botocore's own reader, and lines of JSON."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.eventstream import EventStreamParser, LineParser
from custody.exchange import ResponseHead, event_parser
from custody.sse import Event


def frame(payload: bytes, **headers: str) -> bytes:
    packed = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value.encode())) + value.encode()
        for name, value in ((f":{name.replace('_', '-')}", value) for name, value in headers.items())
    )
    prelude = struct.pack(">II", 16 + len(packed) + len(payload), len(packed))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + packed + payload
    return message + struct.pack(">I", zlib.crc32(message))


STREAM = frame(b'{"role":"assistant"}', message_type="event", event_type="messageStart") + frame(
    "{\"text\":\"dé\"}".encode(), content_type="application/json", event_type="contentBlockDelta"
) + frame(b'{"message":"slow down"}', message_type="exception", exception_type="throttlingException")  # fmt: skip
EVENTS = [
    Event("messageStart", '{"role":"assistant"}'),
    Event("contentBlockDelta", '{"text":"dé"}'),
    Event("throttlingException", '{"message":"slow down"}'),
]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_frames_come_out_whole_however_they_arrive(sizes: list[int]) -> None:
    parser, found, at = EventStreamParser(), [], 0
    for size in [*sizes, len(STREAM)]:
        found += parser.feed(STREAM[at : at + size])
        at += size
    assert found == EVENTS
    assert parser.rest() is None


def test_botocore_reads_the_same() -> None:
    eventstream = pytest.importorskip("botocore.eventstream")
    buffer = eventstream.EventStreamBuffer()
    buffer.add_data(STREAM)
    theirs = [(dict(message.headers), message.payload) for message in buffer]
    assert [(h.get(":event-type") or h.get(":exception-type"), p.decode()) for h, p in theirs] == EVENTS


@pytest.mark.parametrize("at", [0, 9, 20, len(STREAM) // 2, len(STREAM) - 2])
def test_after_damage_nothing_is_believed(at: int) -> None:
    damaged = STREAM[:at] + bytes([STREAM[at] ^ 1]) + STREAM[at + 1 :]
    found = list(EventStreamParser().feed(damaged))
    assert found == EVENTS[: len(found)]
    assert len(found) < 3


@given(st.binary(max_size=300))
def test_nothing_raises(data: bytes) -> None:
    parser = EventStreamParser()
    list(parser.feed(data))
    list(parser.feed(STREAM[:12] + data))


def test_headers_of_every_type_are_passed_over() -> None:
    values = [b"\x00", b"\x01", b"\x02\x05", b"\x03\x00\x05", b"\x04" + bytes(4), b"\x05" + bytes(8)]
    values += [b"\x06\x00\x02ab", b"\x08" + bytes(8), b"\x09" + bytes(16)]
    packed = b"".join(b"\x01h" + value for value in values) + b"\x0b:event-type\x07\x00\x01x"
    prelude = struct.pack(">II", 16 + len(packed), len(packed))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + packed
    assert list(EventStreamParser().feed(message + struct.pack(">I", zlib.crc32(message)))) == [Event("x", "")]


def test_lines() -> None:
    parser = LineParser()
    assert list(parser.feed(b'{"a":1}\n\n{"b"')) == [Event("", '{"a":1}')]
    assert list(parser.feed(b":2}\r\n{")) == [Event("", '{"b":2}\r')]
    assert parser.rest() == Event("", "{")


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("text/event-stream; charset=utf-8", "EventParser"),
        ("application/vnd.amazon.eventstream", "EventStreamParser"),
        ("application/x-ndjson", "LineParser"),
        ("application/json", "NoneType"),
        ("", "NoneType"),
    ],
)
def test_the_parser_of_a_response(content_type: str, kind: str) -> None:
    head = ResponseHead(200, "OK", "HTTP/1.1", (("Content-Type", content_type),))
    assert type(event_parser(head)).__name__ == kind
