"""What every wire seam shares."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from custody.seam import wire

_RAW = st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=12)), max_size=6)


@given(_RAW)
def test_headers_are_read_as_one_by_one(raw: list[tuple[bytes, bytes]]) -> None:
    """Also those that no server may send: empty ones, and ones with a newline in them."""
    assert wire.text_of(iter(raw)) == tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in raw)


def test_a_newline_moves_no_value_to_another_name() -> None:
    assert wire.text_of([(b"a", b"1\n2"), (b"b", b"3")]) == (("a", "1\n2"), ("b", "3"))
    assert wire.text_of([(b"", b"")]) == (("", ""),)
    assert wire.text_of([]) == ()
