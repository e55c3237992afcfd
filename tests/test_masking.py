"""A pattern that takes more than the secret leaves JSON what it is, and the secret is masked all the same."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.journal import lines
from custody.masking import MASK, masked
from custody.redact import Redactor

GREEDY = [
    b"zebra.*", rb"zebra\S*", b"zebra[^ ]+", b'zebra[^"]*', b"zebra.{3}", b'.{0,9}zebra', b'"zebra.*', b"zebra1",
    b'"name": ?"zebra[0-9]*"', rb'"name\\*": ?\\*"zebra[0-9]*', b"[0-9]*7[0-9]*zebra|zebra",
]  # fmt: skip
BODY = '{"messages": [{"role": "user", "content": "say \\"zebra12\\" \\u00e4"}], "n": 1}'

EVERYWHERE = [pattern for pattern in GREEDY if b"name" not in pattern and b"1" not in pattern]


def compiled(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern, re.DOTALL)


@pytest.mark.parametrize("pattern", GREEDY)
def test_json_stays_json(pattern: bytes) -> None:
    value = {"name": "zebra12", "other": ["a zebra12 b", {"zebra12": 1}], "body": {"text": BODY}, "n": 5, "end": "x"}
    for data in (json.dumps(value).encode(), json.dumps(value, indent=1).encode() + b"\n"):
        made = masked(compiled(pattern), data)
        again = json.loads(made)
        assert (again["n"], len(again["other"]), again["end"]) == (5, 2, "x")
        assert MASK in made.decode()
        assert "zebra12" not in again["name"]
        assert made.endswith(b"\n") == data.endswith(b"\n")
        json.loads(again["body"]["text"])


@pytest.mark.parametrize("pattern", GREEDY)
def test_a_line_that_is_not_sealed_yet_stays_one(pattern: bytes) -> None:
    fields = {"exchange": "a-1.1", "body": {"text": BODY}, "replicate": 3, "name": "zebra9"}
    line = lines.seal(masked(compiled(pattern), lines.unsealed("request", 4, fields)))[:-1]
    head = lines.head(line)
    assert head is not None and (head.kind, head.seq, head.exchange) == ("request", 4, "a-1.1")
    read = lines.parse(line)
    assert read["replicate"] == 3
    assert json.loads(read["body"]["text"])["n"] == 1


def test_a_number_that_is_masked_becomes_a_text() -> None:
    assert json.loads(masked(compiled(b"48151623"), b'{"run":48151623,"n":1}')) == {"run": MASK, "n": 1}


def test_a_secret_that_is_told_by_its_name_is_masked() -> None:
    value = b'{"pin":{"a":["12",3]},"k":{"b":"c"},"pin2":null,"d":1}'
    read = json.loads(masked(compiled(rb'"pin2?": ?[{n].*?}'), value))
    assert read == {"pin": {"a": [MASK, MASK]}, "k": {"b": "c"}, "pin2": None, "d": 1}
    data = b'{"pin":"1234","n":{"pin":"5"},"k":1}'
    assert json.loads(masked(compiled(b'"pin":"[0-9]+"'), data)) == {"pin": MASK, "n": {"pin": MASK}, "k": 1}


def test_what_is_no_json_is_masked_as_it_is() -> None:
    assert masked(compiled(b"zebra.*"), b"data: a zebra and all") == b"data: a [REDACTED]"
    assert masked(compiled(b"zebra.*"), b"{not json zebra}") == b"{not json [REDACTED]"
    assert masked(compiled(b"zebra"), b"nothing") == b"nothing"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=8) | st.just("a zebra7 b"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.just("zebra7"), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=4), st.sampled_from(GREEDY), st.booleans())
def test_any_json_stays_json(value: Any, pattern: bytes, escape: bool) -> None:
    data = json.dumps(value, ensure_ascii=escape).encode("utf-8", "backslashreplace")
    made = json.loads(masked(compiled(pattern), data))
    assert isinstance(made, dict)
    line = data[:-1] + b"," * bool(value) + b'"z":"zebra8 zebra9"}'
    read = json.loads(Redactor([("zebra", pattern.decode())]).scrub(line))
    if pattern in EVERYWHERE:
        assert "zebra" not in read["z"]
