"""What was damaged is made anew from what was not, or left as it is: never is anything made up."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custody.journal import parity

ROWS = b"rows of " * 3


def made(size: int, seed: int = 1) -> tuple[bytes, bytes]:
    """Bytes, and a file of them."""
    body = random.Random(seed).randbytes(size)
    cut = [body[at : at + 777] for at in range(0, size, 777)]
    return body, body + parity.frame(cut, ROWS) + b"the table"


SIZES = [1, 511, 512, 513, 3_000, 6_144, 6_145, 40_000, 300_001]


@pytest.mark.parametrize("size", SIZES)
def test_a_whole_file_is_found_whole(size: int) -> None:
    body, data = made(size)
    found = parity.find(data)
    assert found is not None
    assert (found.body, found.rows, found.patches, found.bad, found.moved) == (body, ROWS, [], {}, 0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("length", [1, 512, 4_096, 5_000])
def test_any_run_of_zeros_is_made_anew(size: int, length: int) -> None:
    """Also one that begins in the frames and ends in the parity."""
    body, data = made(size)
    rng = random.Random(length)
    for start in {0, max(0, size - length), max(0, size - length // 2), *(rng.randrange(size) for _ in range(20))}:
        hurt = data[:start] + bytes(min(length, len(data) - start)) + data[start + length :]
        found = parity.find(hurt)
        assert found is not None
        assert found.body == body
        assert found.corrected
        assert parity.patched(hurt[:size], 0, found.patches) == body


def test_a_large_file_stands_a_thirty_second_of_it() -> None:
    body, data = made(2_000_000)
    length = 2_000_000 // 32 - 1024
    found = parity.find(data[:777_777] + bytes(length) + data[777_777 + length :])
    assert found is not None
    assert found.body == body
    assert len(data) < 2_000_000 * 1.05


@pytest.mark.parametrize("size", [3_000, 40_000])
@pytest.mark.parametrize("count", [1, 100, 512, 4_000])
def test_missing_and_surplus_bytes_are_found(size: int, count: int) -> None:
    body, data = made(size)
    for start in (0, 1_000, size // 2, size - 1, size + 20):
        for hurt in (data[:start] + data[start + count :], data[:start] + b"\xaa" * count + data[start:]):
            found = parity.find(hurt)
            assert found is not None
            assert found.moved == len(hurt) - len(data)
            if found.corrected:
                assert found.body == body
            assert found.corrected or start + count > size


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_nothing_is_made_up(data: st.DataObject) -> None:
    """However much is damaged: what is called corrected is what was there."""
    body, whole = made(data.draw(st.sampled_from(SIZES[:-1])))
    hurt = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 30))):
        hurt[data.draw(st.integers(0, len(hurt) - 1))] ^= data.draw(st.integers(1, 255))
    found = parity.find(bytes(hurt))
    if found is not None:
        assert found.corrected == (found.body == body)
        for number, anew in found.bad.items():
            place = slice(number * parity.BLOCK, (number + 1) * parity.BLOCK)
            assert anew == (found.body[place] == body[place])


def test_two_blocks_of_a_column_are_left_as_they_are() -> None:
    _, data = made(40_000)
    hurt = bytearray(data)
    hurt[0] ^= 1
    hurt[parity.COLUMNS * parity.BLOCK] ^= 1
    found = parity.find(bytes(hurt))
    assert found is not None
    assert found.bad == {0: False, parity.COLUMNS: False}
    assert (found.patches, found.corrected) == ([], False)


@pytest.mark.parametrize("data", [b"", b"x", b"cstdyPAR", b"cstdyPAR" * 20])
def test_what_has_none_has_none(data: bytes) -> None:
    assert parity.find(data) is None


def test_a_trailer_that_promises_too_much_is_not_believed() -> None:
    promised = parity.Trailer(2**50, 512, 8, 0, 0).dump()
    assert parity.trailer(promised) is not None
    assert parity.find(b"x" * 1000 + promised) is None
