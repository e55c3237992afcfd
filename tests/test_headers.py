"""What is remembered of names is what would be worked out, and there is an end to it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from custody import redact
from custody.exchange import RequestHead, ResponseHead
from custody.headers import (
    REQUEST_HEADER_PREFIXES,
    REQUEST_HEADERS,
    RESPONSE_HEADER_PREFIXES,
    RESPONSE_HEADERS,
    Remembered,
)
from custody.seam.wire import text_of

KNOWN = sorted(REQUEST_HEADERS | RESPONSE_HEADERS | {"authorization", "cookie", "X-Stainless-Lang", "X-RateLimit-A"})
NAMES = st.sampled_from(KNOWN).flatmap(lambda name: st.sampled_from([name, name.title(), name.upper(), "x-" + name]))
HEADERS = st.lists(st.tuples(NAMES | st.text(max_size=5), st.text(max_size=9)), max_size=20).map(tuple)


@given(st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9)), max_size=9))
def test_headers_as_text(raw: list[tuple[bytes, bytes]]) -> None:
    for _ in range(2):  # the second time names are remembered
        assert text_of(raw) == tuple((n.decode("latin-1"), v.decode("latin-1")) for n, v in raw)


@given(HEADERS, NAMES | st.text(max_size=5))
def test_of_two_headers_the_first_counts_whatever_its_case(headers: tuple[tuple[str, str], ...], name: str) -> None:
    first = next((value for key, value in headers if key.lower() == name.lower()), None)
    assert RequestHead("GET", "https://h/", headers).header(name) == first
    assert ResponseHead(200, "", "", headers).header(name) == first


@given(HEADERS)
def test_what_is_stored_of_headers(headers: tuple[tuple[str, str], ...]) -> None:
    def allowed(name: str, names: frozenset[str], prefixes: tuple[str, ...]) -> bool:
        return name.lower() in names or name.lower().startswith(prefixes)

    assert redact.request_headers(headers) == [
        [name, value] for name, value in headers if allowed(name, REQUEST_HEADERS, REQUEST_HEADER_PREFIXES)
    ]
    assert redact.response_headers(headers) == [
        [name, redact.url(value) if name.lower() in ("location", "x-goog-upload-url") else value]
        for name, value in headers
        if allowed(name, RESPONSE_HEADERS, RESPONSE_HEADER_PREFIXES)
    ]


def test_a_signed_address_is_masked_under_any_case() -> None:
    for name in ("Location", "X-Goog-Upload-URL"):
        assert redact.response_headers(((name, "https://u:p@h/?sig=secret"),)) == [
            [name, "https://h/?sig=%5BREDACTED%5D"]
        ]


def test_there_is_an_end_to_what_is_remembered() -> None:
    asked: list[str] = []

    def number(name: str) -> int:
        asked.append(name)
        return int(name)

    remembered = Remembered(number)
    for _ in range(2):
        assert [remembered[str(n)] for n in range(3000)] == list(range(3000))
        assert len(remembered) <= 1024
    assert remembered["2999"] == 2999
    assert len(asked) == 6000
