"""Every changed byte of a compressed segment's file is named, with what it was."""

from __future__ import annotations

import hashlib

import pytest

from custody.journal import parity, seekable
from custody.journal.flaws import Flaw, examine


@pytest.fixture(scope="module")
def plain() -> bytes:
    return b"".join(b"%d %s\n" % (n, hashlib.sha256(b"%d" % n).hexdigest().encode()) for n in range(500))


@pytest.fixture(scope="module")
def data(plain: bytes) -> bytes:
    return b"".join(seekable.compress(iter([plain]), frame=8_000))


def test_a_whole_file_has_none(data: bytes) -> None:
    assert examine(data) == (data, [])


def test_every_flipped_bit_is_named_and_undone(data: bytes) -> None:
    for place in range(0, len(data), 7):
        hurt = bytearray(data)
        hurt[place] ^= 1 << place % 8
        right, flaws = examine(bytes(hurt))
        assert right == data, place
        (flaw,) = flaws
        assert (flaw.offset, flaw.size, flaw.corrected) == (place, 1, True)


def test_the_frames_around_it_are_named(data: bytes, plain: bytes) -> None:
    rows = seekable.table(lambda offset, size: data[offset : offset + size], len(data))
    assert rows is not None
    packed, ends = seekable.borders(rows)
    hurt = bytearray(data)
    hurt[packed[2] + 1000] ^= 1
    _, (flaw,) = examine(bytes(hurt))
    assert flaw.start <= ends[2] < ends[3] <= flaw.end
    assert flaw.end - flaw.start < len(plain) // 2


def test_lost_and_surplus_bytes(data: bytes) -> None:
    for hurt in (
        data[:3000] + data[3100:],
        data[:-5],
        data[:-300],
        data + b"more",
        data + data,
        data[: -len(data) // 4],
    ):
        right, flaws = examine(hurt)
        assert right == data
        assert flaws
        assert flaws[0].corrected
    right, flaws = examine(data[:3000])
    assert (right, flaws) == (None, [])


def test_too_much_is_not_called_corrected(data: bytes) -> None:
    hurt = bytearray(data)
    hurt[0] ^= 1
    hurt[parity.COLUMNS * parity.BLOCK] ^= 1
    right, flaws = examine(bytes(hurt))
    assert right is None
    assert [(flaw.offset, flaw.corrected) for flaw in flaws] == [(0, False), (parity.COLUMNS * parity.BLOCK, False)]
    assert all(isinstance(flaw, Flaw) for flaw in flaws)


def test_cut_between_frames_it_is_not_called_corrected(data: bytes) -> None:
    """Nothing there tells that frames are gone."""
    rows = seekable.table(lambda offset, size: data[offset : offset + size], len(data))
    assert rows is not None
    for border in seekable.borders(rows)[0][1:]:
        right, flaws = examine(data[:border])
        assert (right == data) == (border == seekable.borders(rows)[0][-1])
        assert [flaw.corrected for flaw in flaws] == [False]
