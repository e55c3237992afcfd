"""Content-encodings, undone in chunks of any size."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody import encoding


def raw_deflate(data: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return machine.compress(data) + machine.flush()


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "X-GZip": gzip.compress,
    "deflate": zlib.compress,
    " deflate ": raw_deflate,
    "": bytes,
    "identity": bytes,
    "identity, gzip": gzip.compress,
}


@given(st.sampled_from(sorted(ENCODERS)), st.binary(max_size=300), st.integers(1, 9))
def test_chunks_of_any_size(name: str, body: bytes, step: int) -> None:
    encoded = ENCODERS[name](body)
    decode = encoding.decoder(name)
    assert decode is not None
    assert b"".join(decode(encoded[at : at + step]) for at in range(0, len(encoded), step)) == body
    assert encoding.decode(name, encoded) == body


@pytest.mark.parametrize("step", [1, 2, 3, 1000])
def test_raw_deflate_after_an_empty_chunk(step: int) -> None:
    encoded = raw_deflate(b"hello " * 50)
    decode = encoding.decoder("deflate")
    assert decode is not None
    chunks = [b"", *(encoded[at : at + step] for at in range(0, len(encoded), step))]
    assert b"".join(map(decode, chunks)) == b"hello " * 50


@pytest.mark.parametrize("name", ["compress", "gzip, deflate", "aes128gcm", "gzip;q=1"])
def test_what_is_not_understood(name: str) -> None:
    assert encoding.decoder(name) is None
    assert encoding.decode(name, b"x") is None


@pytest.mark.parametrize(
    ("name", "modules"), [("br", ["brotli", "brotlicffi"]), ("zstd", ["compression.zstd", "zstandard"])]
)
def test_a_library_that_is_missing(name: str, modules: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    assert encoding.decoder(name) is None


@pytest.mark.parametrize("name", ["gzip", "deflate"])
def test_bytes_that_are_not_encoded_so(name: str) -> None:
    assert encoding.decode(name, b"\xff\xff{not encoded}") is None


def test_a_torn_body_gives_what_arrived() -> None:
    body = bytes(range(256)) * 40
    plain = encoding.decode("gzip", gzip.compress(body, 0)[:5000])
    assert plain is not None
    assert plain
    assert body.startswith(plain)
