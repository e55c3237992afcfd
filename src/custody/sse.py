"""Server-sent events as bytes arrive, per the WHATWG HTML standard, section 9.2."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_BLANK = re.compile(rb"(?>\r\n|\n|\r){2}")
_LINE = re.compile(r"\r\n|\n|\r")  # str.splitlines would also split at U+2028 and friends


class Event(NamedTuple):
    """One dispatched event: its ``event:`` field (empty where absent) and its joined ``data:`` lines."""

    name: str
    data: str


class EventParser:
    """Feed bytes, get the events that they complete. An event counts once its blank line has arrived."""

    def __init__(self) -> None:
        self._rest = b""
        self._begun = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """Events completed by ``data``, in order."""
        found, done = [], 0
        known = max(0, len(self._rest) - 2)  # a blank line may have begun with the last line end
        text = self._rest + data
        for blank in _BLANK.finditer(text, known):
            event = self._parse(text[done : blank.start()])
            self._begun, done = True, blank.end()
            if event is not None:
                found.append(event)
        self._rest = text[done:]
        return iter(found)

    def rest(self) -> Event | None:
        """What an unterminated last block would say: some servers omit the final blank line."""
        return self._parse(self._rest)

    def _parse(self, block: bytes) -> Event | None:
        name, lines = "", []
        text = block.decode("utf-8", "replace")
        for line in _LINE.split(text if self._begun else text.removeprefix("\ufeff")):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "data":
                lines.append(value)
            elif field == "event":
                name = value
        return Event(name, "\n".join(lines)) if lines else None
