"""Content-encodings of HTTP bodies (RFC 9110, section 8.4.1), undone as the bytes arrive.

gzip and deflate come with Python. Brotli and Zstandard are understood where the libraries that the
HTTP clients use for them are importable, because only then does a client ask for them.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from typing import Any

Decode = Callable[[bytes], bytes]


def decoder(content_encoding: str) -> Decode | None:
    """A function that decodes successive chunks, or None where the encoding is not understood."""
    names = [name.strip().lower() for name in content_encoding.split(",") if name.strip()]
    names = [name for name in names if name != "identity"]
    if not names:
        return bytes
    if len(names) > 1:
        return None
    maker = _MAKERS.get(names[0])
    try:
        return maker() if maker else None
    except ImportError:
        return None


def decode(content_encoding: str, body: bytes) -> bytes | None:
    """``body`` without its content-encoding; None where it cannot be undone."""
    decoding = decoder(content_encoding)
    if decoding is None:
        return None
    try:
        return decoding(body)
    except Exception:  # four libraries, each with its own error for torn input
        return None


def _gzip() -> Decode:
    return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress


def _deflate() -> Decode:
    machine: Any = zlib.decompressobj()
    undecided: bytes | None = b""

    def decode_chunk(data: bytes) -> bytes:
        # "deflate" is zlib by the RFC and raw deflate by some servers; the first bytes tell.
        nonlocal machine, undecided
        if undecided is None:
            return bytes(machine.decompress(data))
        undecided += data
        try:
            plain = bytes(machine.decompress(data))
        except zlib.error:
            machine, data, undecided = zlib.decompressobj(-zlib.MAX_WBITS), undecided, None
            return bytes(machine.decompress(data))
        if plain:
            undecided = None
        return plain

    return decode_chunk


def _brotli() -> Decode:
    try:
        module = importlib.import_module("brotli")
    except ImportError:
        module = importlib.import_module("brotlicffi")
    machine = module.Decompressor()
    process: Decode = machine.process if hasattr(machine, "process") else machine.decompress
    return process


def _zstd() -> Decode:
    try:
        module: Any = importlib.import_module("compression.zstd")
        return module.ZstdDecompressor().decompress  # type: ignore[no-any-return]
    except ImportError:
        module = importlib.import_module("zstandard")
        return module.ZstdDecompressor().decompressobj().decompress  # type: ignore[no-any-return]


_MAKERS: dict[str, Callable[[], Decode]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
