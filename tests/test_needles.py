"""The fast look finds what ``in`` finds, and a scrub with it masks what one without it masks."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from custody import needles, redact
from custody.redact import MASK, Redactor

SMALL = st.lists(st.sampled_from([b"a", b"e", b"-", b"Q", b"Z", b"K", b"~", b"1", b" "]), max_size=8).map(b"".join)
TEXT = st.lists(SMALL | st.binary(max_size=12), max_size=60).map(b"".join)


@given(st.lists(SMALL.filter(bool), max_size=6), TEXT)
def test_a_probe_says_what_in_says(wanted: list[bytes], data: bytes) -> None:
    assert needles.probe(wanted)(data) is any(needle in data for needle in wanted)


@given(st.lists(SMALL.filter(bool), max_size=6), st.lists(SMALL.filter(bool), max_size=6), TEXT)
def test_those_that_change_are_found_too(wanted: list[bytes], changing: list[bytes], data: bytes) -> None:
    assert needles.probe(wanted, changing)(data) is any(needle in data for needle in (*wanted, *changing))


@given(st.binary(min_size=8, max_size=20), st.integers(0, 40), st.integers(0, 3000))
def test_a_needle_is_found_wherever_it_is_and_however_common_its_bytes_are(
    needle: bytes, before: int, after: int
) -> None:
    found = needles.probe([needle, b"Another-Needle"])
    noise = bytes([byte for byte in needle for _ in range(3)])
    assert found(noise * before + needle + b" " * after)
    assert found(b"." * after + needle)


KEYS = [
    b"sk-proj-abcdefghijklmnop1234567890", b"AIzaSyA1234567890abcdefghijklmnopqrst", b"ya29.a0Abcdefghijklmnop12345",
    b"AKIAABCDEFGHIJKLMNOP", b"ASIAABCDEFGHIJKLMNOP", b"gsk_" + b"a1" * 20, b"hf_" + b"b2" * 20, b"ghp_" + b"c3" * 18,
    b"xai-" + b"d4" * 25, b"Bearer abcdefghijklmnop.qrst",
    b"-----BEGIN RSA PRIVATE KEY-----" + b"MII/" * 30 + b"-----END RSA PRIVATE KEY-----",
]  # fmt: skip
PARTS = st.sampled_from([
    *KEYS, b"risk-adjusted-returns-of-all-portfolios", b"task-force", b"hf_hub", b"\\n", b"\\u00e4",
    b'"', b" ", b"-", b"_",
    b"My-Secret-Value-2024", b"Q7zzKK~secret", b"PRIVATE KEY", b"Bearer token", b"x" * 40,
])  # fmt: skip


def plainly(redactor: Redactor, data: bytes, *, answer: bool) -> bytes:
    """``scrub`` without the fast look."""
    for literal in redactor._literals:
        data = data.replace(literal, MASK.encode())
    patterns = redactor._asked_for if answer else redactor._patterns
    for literal, pattern in patterns:
        if literal in data:
            data = pattern.sub(MASK.encode(), data)
    return data


@given(st.lists(PARTS | st.binary(max_size=30), max_size=30).map(b"".join), st.booleans())
def test_the_fast_look_lets_nothing_through(data: bytes, answer: bool) -> None:
    redactor = Redactor([("PART-", "PART-[0-9]{4}")])
    redactor.learn(["My-Secret-Value-2024", "Q7zzKK~secret", "abcdef-9876-ghijk"])
    assert redactor.scrub(data, answer=answer) == plainly(redactor, data, answer=answer)


def test_every_kind_of_key_is_seen_at_once() -> None:
    for key in KEYS:
        for before in (b"", b" ", b'"', b"\\n"):
            assert key not in Redactor().scrub(before + key + b'"')
    assert len(KEYS) == len(redact._PATTERNS)


def test_words_that_only_look_like_the_beginning_of_a_key_are_left_alone() -> None:
    text = b"risk-adjusted desk-research gsk_ hf_hub AKIA ya29. Bearer of news " * 50
    assert Redactor().scrub(text) == text
    assert re.search(rb"sk-", text)


PLAIN = st.text("aQz09_-.~", min_size=8, max_size=20)
COOKIES = st.lists(PLAIN | st.text("a=%;\" \\\u00e4Q0", min_size=8, max_size=20),
                   min_size=1, max_size=4)  # fmt: skip


@given(st.lists(COOKIES, min_size=1, max_size=4), st.data())
def test_cookies_that_change_with_every_answer_are_masked_in_all_their_forms(
    each: list[list[str]], data: st.DataObject
) -> None:
    redactor = Redactor()
    redactor.learn(["My-Secret-Value-2024"])
    for cookies in each:
        redactor.learn_request((("cookie", "; ".join(f"name={value}" for value in cookies)),), "https://x/")
    parts = data.draw(st.lists(st.sampled_from(redactor._literals) | st.binary(max_size=8), max_size=8))
    for answer in (False, True):
        line = b"".join(parts)
        assert redactor.scrub(line, answer=answer) == plainly(redactor, line, answer=answer)
