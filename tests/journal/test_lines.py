"""A journal line: round trips, one flipped bit is seen, and content cannot pass for a line's own fields."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import ArchiveDamaged
from custody.journal import lines

TEXT = st.text(st.characters(codec="utf-8")) | st.sampled_from(
    ["\u2028", "\u2029", "\0", "\x85", "\x18", '"', "\\", "𝄞"]
)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
JSONABLE = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20)
FIELDS = st.dictionaries(TEXT.filter(lambda name: name not in ("kind", "seq", "crc32")), JSONABLE)


def sealed(kind: str = "note", seq: int = 7, **fields: Any) -> bytes:
    return lines.seal(lines.unsealed(kind, seq, fields))


@given(st.sampled_from(lines.KINDS), st.integers(0, 10**15), FIELDS)
def test_any_fields_round_trip_in_one_line(kind: str, seq: int, fields: dict[str, Any]) -> None:
    whole = lines.seal(lines.unsealed(kind, seq, fields))
    assert whole.endswith(b"\n")
    assert whole.count(b"\n") == 1
    value = lines.parse(whole[:-1])
    assert len(value.pop("crc32")) == 8
    assert value == {"kind": kind, "seq": seq, **fields}
    head = lines.head(whole)
    assert head is not None
    assert (head.kind, head.seq) == (kind, seq)


@given(FIELDS, st.data())
def test_a_flipped_bit_is_seen_wherever_it_is(fields: dict[str, Any], data: st.DataObject) -> None:
    line = bytearray(lines.seal(lines.unsealed("chunk", 3, fields))[:-1])
    assert lines.check(bytes(line))
    at = data.draw(st.integers(0, len(line) * 8 - 1))
    line[at // 8] ^= 1 << at % 8
    assert not lines.check(bytes(line))
    with pytest.raises(ArchiveDamaged):
        lines.parse(bytes(line))


def test_every_bit_of_one_line() -> None:
    line = sealed("call", 12, id="w-1", scope={"run": 1})[:-1]
    for at in range(len(line) * 8):
        flipped = bytearray(line)
        flipped[at // 8] ^= 1 << at % 8
        assert not lines.check(bytes(flipped)), at


@given(st.text(st.characters(min_codepoint=0xD7F0, max_codepoint=0xE010), max_size=6))
def test_lone_surrogates_survive(text: str) -> None:
    value = lines.parse(sealed(text=text)[:-1])
    # Two halves that stand side by side are one character in JSON.
    assert value["text"] == json.loads(json.dumps(text))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_has_no_word_for_costs_the_value_and_not_the_line(number: float) -> None:
    value = lines.parse(sealed(usage={"n": number, "all": [1.5, number], "t": (number,)}, kept=1)[:-1])
    assert value["usage"] == {"n": None, "all": [1.5, None], "t": [None]}
    assert value["kept"] == 1


def test_the_exchange_is_the_field_after_seq_and_no_other() -> None:
    assert lines.head(sealed("request", exchange="w-1.1", body={"text": "x"})) == ("request", 7, "w-1.1")
    assert lines.head(sealed("note", scope={"exchange": "w-9.9"})) == ("note", 7, "")
    assert lines.head(sealed("note", note="x", exchange="w-9.9")) == ("note", 7, "")
    assert lines.head(sealed("call", id="w-1", attempts=[{"exchange": "w-1.1"}])) == ("call", 7, "")
    quoted = sealed("response", exchange="w-1.1", body={"text": '","exchange":"w-9.9"'})
    assert lines.head(quoted) == ("response", 7, "w-1.1")


@given(st.binary(max_size=60))
def test_head_of_foreign_bytes_is_none_or_a_head(data: bytes) -> None:
    lines.head(data)
    lines.head(b'{"kind":"call","seq":' + data)


def test_head_refuses_what_only_looks_like_a_line() -> None:
    for text in (b"", b"{}", b'{"kind":"Call","seq":1,', b'{"kind":"call","seq":-1,', b'{"kind":"call","seq":1}'):
        assert lines.head(text) is None
    assert lines.head(b'{"kind":"call","seq":' + b"9" * 5000 + b",") is None, "no number has 5000 digits"


def test_a_huge_body() -> None:
    body = ("täxt\u2028" * 500_000).encode()
    value = lines.parse(sealed("response", exchange="w-1.1", body=lines.pack(body))[:-1])
    assert lines.unpack(value["body"]) == body


@given(st.binary() | st.text(st.characters(codec="utf-8")).map(str.encode))
def test_bytes_are_packed_and_unpacked(data: bytes) -> None:
    packed = lines.pack(data)
    assert lines.unpack(json.loads(json.dumps(packed))) == data
    try:
        data.decode()
    except UnicodeDecodeError:
        assert list(packed) == ["base64"]
    else:
        assert list(packed) == ["text"]


@pytest.mark.parametrize("fields", [{}, {"text": 1}, {"text": None, "base64": None}])
def test_nothing_to_unpack_is_damage(fields: dict[str, Any]) -> None:
    with pytest.raises(ArchiveDamaged):
        lines.unpack(fields)


def test_a_whole_line_that_is_no_object_is_damage() -> None:
    # Only a line's own trailer makes it whole; parse looks all the same.
    with pytest.raises(ArchiveDamaged):
        lines.parse(b"[1]")


def test_the_opening_of_a_segment() -> None:
    value = lines.parse(lines.opening("session_x", "w", 3)[:-1])
    assert value["kind"] == "segment"
    assert value["seq"] == 0
    assert (value["format"], value["session"], value["writer"], value["number"]) == (1, "session_x", "w", 3)
