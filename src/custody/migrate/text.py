"""Reads what older programs wrote: odd encodings, Python reprs in place of JSON, two objects on one line."""

from __future__ import annotations

import ast
import codecs
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

_LARGEST_REPR = 8 * 1024 * 1024  # characters; the parser of literals needs many times as much memory

How = Literal["json", "repr"]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a log. ``value`` is None where it is no object; ``raw`` is without its line end."""

    number: int
    raw: bytes
    value: dict[str, Any] | None = None
    how: How = "json"

    @property
    def blank(self) -> bool:
        return not self.raw.strip()


def decode(data: bytes) -> str:
    """Text of a file. UTF-8, UTF-16 and UTF-32 by their mark, else UTF-8 with undecodable bytes kept as escapes."""
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(mark):
            try:
                return data.decode(name)
            except UnicodeDecodeError:
                break
    return data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """The bytes that ``decode`` took a text from; half of a surrogate pair, which JSON can hold, as it stands."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def lines(data: bytes) -> Iterator[Line]:
    """The lines of a log, whatever ends them; two objects on one line are two."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        data = encode(decode(data))
    for number, raw in enumerate(data.removeprefix(codecs.BOM_UTF8).split(b"\n"), 1):
        raw = raw.rstrip(b"\r")
        if not raw.strip():
            if raw:
                yield Line(number, raw)
            continue
        text = raw.decode("utf-8", "surrogateescape").strip().lstrip("\ufeff")
        value = loads(text)
        if isinstance(value, dict):
            yield Line(number, raw, value)
            continue
        parts = _glued(text) if value is None else None
        if parts:
            yield from (Line(number, raw if n == 0 else b"", part) for n, part in enumerate(parts))
            continue
        literal = literal_object(text)
        yield Line(number, raw, literal, "repr") if literal is not None else Line(number, raw)


def loads(text: str) -> Any:
    """``text`` as JSON, or None."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def literal_object(text: str) -> dict[str, Any] | None:
    """The dictionary that ``text`` is the Python repr of; None where it is none."""
    text = text.strip()
    if not (text.startswith("{") and text.endswith("}")) or len(text) > _LARGEST_REPR:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
    return {str(k): v for k, v in value.items()} if isinstance(value, dict) else None


def object_in(text: str) -> tuple[dict[str, Any], How] | None:
    """The object that a text is, as JSON or as a repr."""
    value = loads(text)
    if isinstance(value, dict):
        return value, "json"
    literal = literal_object(text)
    return (literal, "repr") if literal is not None else None


def _glued(text: str) -> list[dict[str, Any]] | None:
    """Several objects without a line end between them, as two processes leave them; None where it is not that."""
    decoder, found, at = json.JSONDecoder(), [], 0
    try:
        while at < len(text):
            value, at = decoder.raw_decode(text, at)
            if not isinstance(value, dict):
                return None
            found.append(value)
            while at < len(text) and text[at].isspace():
                at += 1
    except (ValueError, RecursionError):
        return None
    return found or None


def loads_back(value: Any) -> str:
    """A message that is no text, as the text that it would have been."""
    return "" if value is None else json.dumps(value, ensure_ascii=False)
