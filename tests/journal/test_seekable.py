"""A compressed segment gives back every byte, to our reader and to any other."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import ArchiveDamaged
from custody.journal import seekable
from custody.journal.seekable import Seekable, compress


def packed(data: bytes, frame: int = 100, block: int = 33) -> bytes:
    blocks: Iterator[bytes] = (data[n : n + block] for n in range(0, len(data), block))
    return b"".join(compress(blocks, frame=frame))


def without_parity(data: bytes) -> bytes:
    """The same, as it was written before there was parity."""
    rows = seekable.table(lambda offset, size: data[offset : offset + size], len(data))
    assert rows is not None
    return data[: seekable.borders(rows)[0][-1]] + seekable.table_frame(rows)


def opened(data: bytes) -> Seekable:
    return Seekable("w-000001.jsonl.zst", lambda offset, size: data[offset : offset + size], len(data))


@given(st.lists(st.binary(max_size=300).map(lambda line: line.replace(b"\n", b"")), max_size=20), st.data())
def test_every_range_comes_back(lines: list[bytes], data: st.DataObject) -> None:
    plain = b"\n".join(lines)
    reader = opened(packed(plain))
    assert reader.size == len(plain)
    offset = data.draw(st.integers(0, len(plain) + 5))
    size = data.draw(st.integers(0, len(plain) + 5))
    assert reader.read(offset, size) == plain[offset : offset + size]
    assert (
        zstandard.ZstdDecompressor().stream_reader(io.BytesIO(packed(plain)), read_across_frames=True).read() == plain
    )


def test_frames_hold_whole_lines() -> None:
    plain = b"".join(b"%d " % n * 20 + b"\n" for n in range(30))
    reader = opened(packed(plain))
    assert all(plain[end - 1 : end] == b"\n" for end in reader._plain[1:])
    assert len(reader._plain) > 10


def test_without_parity_a_damaged_frame_costs_its_own_lines_only() -> None:
    plain = b"".join(b"line %d of some\n" % n for n in range(100))
    data = bytearray(without_parity(packed(plain)))
    assert opened(bytes(data)).read(0, len(plain)) == plain
    reader = opened(bytes(data))
    begin, end = reader._packed[3], reader._packed[4]
    data[(begin + end) // 2] ^= 1
    hurt = opened(bytes(data))
    read = hurt.read(0, len(plain))
    assert len(read) == len(plain)
    lost = reader._plain[3], reader._plain[4]
    assert (read[: lost[0]], read[lost[1] :]) == (plain[: lost[0]], plain[lost[1] :])
    assert set(read[slice(*lost)]) >= {0x18}
    assert plain[slice(*lost)].startswith(read[slice(*lost)].rstrip(b"\x18"))
    assert [(offset, size) for offset, size, _ in hurt.damaged] == [(lost[0], lost[1] - lost[0])]


@pytest.mark.parametrize("data", [b"", b"x", b"y" * 100])
def test_what_has_no_table_says_so(data: bytes) -> None:
    with pytest.raises(ArchiveDamaged, match=r"w-000001\.jsonl\.zst"):
        opened(data)


def test_a_frame_that_would_fill_the_memory_is_not_unpacked() -> None:
    """A table that states a small size protects against a frame that states a large one."""
    bomb = zstandard.ZstdCompressor().compress(bytes(50_000_000))
    small = bytearray(packed(b"x" * 50 + b"\n"))
    table = small[-(9 + 8 + 8) :]
    table[8:12] = len(bomb).to_bytes(4, "little")
    reader = opened(bomb + bytes(table))
    assert reader.read(0, 51) == b"\x18" * 51
    assert reader.damaged


@pytest.mark.parametrize("rows", [[(100, 2**32 - 1)], [(9, 2**20)] * 60, [(2**20, 2**21)]])
def test_a_table_that_promises_too_much_is_not_believed(rows: list[tuple[int, int]]) -> None:
    """A few bytes must not fill the memory of whoever looks at them."""
    table = b"".join(seekable._ROW.pack(*row) for row in rows) + seekable._FOOTER.pack(len(rows), 0, 0x8F92EAB1)
    data = bytes(min(sum(row[0] for row in rows), 1000)) + seekable._SKIP.pack(0x184D2A5E, len(table)) + table
    with pytest.raises(ArchiveDamaged):
        seekable.Seekable("x", lambda offset, size: data[offset : offset + size], len(data))


def test_frames_are_found_without_their_table() -> None:
    lines = [b"%d %s\n" % (number, hashlib.sha256(b"%d" % number).hexdigest().encode() * 9) for number in range(60)]
    data = b"".join(seekable.compress(iter(lines), frame=4_000, level=3))
    frames = [match.start() for match in re.finditer(re.escape(b"\x28\xb5\x2f\xfd"), data)]
    assert len(frames) > 5
    assert seekable.salvaged(data) == seekable.salvaged(data[:-9]) == b"".join(lines)
    cut = seekable.salvaged(data[: frames[-1] + 40])
    assert len(cut) > 4_000
    assert b"".join(lines).startswith(cut)
    old = without_parity(data)
    hurt = old[: frames[2]] + b"x" + old[frames[2] + 1 : -1]
    assert 0 < len(b"".join(lines)) - len(seekable.salvaged(hurt)) < 6_000
    assert seekable.salvaged(b"no such thing") == b""


def lines_of_text(count: int = 400) -> bytes:
    return b"".join(b"%d %s\n" % (n, hashlib.sha256(b"%d" % n).hexdigest().encode()) for n in range(count))


def test_no_flipped_bit_costs_a_byte() -> None:
    """Each byte of the file, one bit of it: frames, parity, index, table, footer."""
    plain = lines_of_text()
    data = packed(plain, frame=4_000, block=1_000)
    for place in range(len(data)):
        hurt = bytearray(data)
        hurt[place] ^= 1 << place % 8
        reader = opened(bytes(hurt))
        assert reader.read(0, len(plain)) == plain, place
        assert reader.damaged == [], place


def test_of_a_frame_that_cannot_be_made_anew_the_beginning_is_read() -> None:
    plain = lines_of_text(6_000)
    data = bytearray(without_parity(packed(plain, frame=1_000_000, block=100_000)))
    data[len(data) * 3 // 4] ^= 1
    read = opened(bytes(data)).read(0, len(plain))
    assert len(read) == len(plain)
    assert read[: len(plain) // 2] == plain[: len(plain) // 2], "what follows fails by the checksums of the lines"
