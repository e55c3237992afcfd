"""Server-sent events: the same events however the bytes are cut."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.sse import Event, EventParser

VALUE = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20)


def parse(chunks: list[bytes]) -> tuple[list[Event], Event | None]:
    parser = EventParser()
    found = [event for chunk in chunks for event in parser.feed(chunk)]
    return found, parser.rest()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "delta", "message_stop"]), st.lists(VALUE, min_size=1, max_size=3)), max_size=6
    ),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.integers(0, 10**6), max_size=12),
)
def test_events_survive_any_cut(events: list[tuple[str, list[str]]], end: str, places: list[int]) -> None:
    text = "".join(
        (f"event: {name}{end}" if name else "") + "".join(f"data: {value}{end}" for value in values) + end
        for name, values in events
    )
    found, rest = parse(cut(text.encode(), places))
    assert found == [Event(name, "\n".join(values)) for name, values in events]
    assert rest is None


@given(st.binary(max_size=80), st.lists(st.integers(0, 80), max_size=8))
def test_any_bytes_give_the_same_events_however_cut(data: bytes, places: list[int]) -> None:
    data = data.replace(b"\x00", b"\ndata: x\r\n").replace(b"\x01", b"\r\r")
    assert parse(cut(data, places)) == parse([data])


@pytest.mark.parametrize("ends", ["\n\r\n", "\r\n\n", "\r\r\n", "\n\r", "\r\n\r"])
def test_mixed_line_ends(ends: str) -> None:
    data = f"data: a{ends}data: b\n\n".encode()
    for place in range(len(data)):
        assert parse([data[:place], data[place:]])[0] == [Event("", "a"), Event("", "b")], place


def test_fields() -> None:
    text = b": comment\nid: 7\nretry: 10\nevent: x\ndata:no space\ndata:  two spaces\ndata\n\nevent: only\n\n\n\n"
    assert parse([text]) == ([Event("x", "no space\n two spaces\n")], None)


def test_separators_of_text_end_no_line() -> None:
    assert parse(["data: a\u2028b\x85c\x0bd\n\n".encode()])[0] == [Event("", "a\u2028b\x85c\x0bd")]


def test_a_byte_order_mark_is_one_only_at_the_start() -> None:
    assert parse([b"\xef\xbb", b"\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n"])[0] == [Event("", "a")]


def test_an_unterminated_last_event_is_kept_apart() -> None:
    found, rest = parse([b"data: a\n\ndata: [DONE]"])
    assert found == [Event("", "a")]
    assert rest == Event("", "[DONE]")


def test_bytes_that_are_no_utf8() -> None:
    assert parse([b"data: \xff\xc3", b"\xa4\n\n"])[0] == [Event("", "\ufffdä")]


def test_a_feed_that_nobody_reads_is_not_lost() -> None:
    parser = EventParser()
    parser.feed(b"data: a\n")
    assert list(parser.feed(b"\n")) == [Event("", "a")]


@pytest.mark.parametrize("step", [1024, 20_000_000])
def test_a_long_stream_takes_time_in_proportion(step: int) -> None:
    data = b"data: " + b"x" * 2_000_000 + b"\n\n" + b"data: {}\n\n" * 200_000
    began = time.monotonic()
    found, _ = parse([data[at : at + step] for at in range(0, len(data), step)])
    assert len(found) == 200_001
    assert time.monotonic() - began < 20, "copying the rest for every event takes minutes here"
