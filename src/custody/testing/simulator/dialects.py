"""Whose traffic a request is: the modules that play the vendors, and the one that serves a request.

To add a vendor: write its module beside this one and add it to `_DIALECTS`. The first that serves a request
answers it; openai is the last, because it serves everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from custody.testing.simulator import (
    anthropic,
    anthropic_vertex,
    azure,
    bedrock,
    cohere,
    compatible,
    gemini,
    mistral,
    ollama,
    openai,
)
from custody.testing.simulator.answers import Answers, Reply

if TYPE_CHECKING:
    from custody.testing.simulator import Seen


class Dialect(Protocol):
    """What a vendor's module has."""

    def serves(self, seen: Seen) -> bool:
        """Whether a request is this vendor's."""

    def headers(self, source: Answers, seconds: float) -> dict[str, str]:
        """The headers of every answer; `seconds` is what the answer took. Those of the Reply overrule them."""

    def error(self, status: int) -> Reply:
        """The vendor's error document for an HTTP status."""

    def answer(self, seen: Seen, body: bytes, source: Answers) -> Reply:
        """Check the credentials, then answer. What it raises for a field of a wrong type becomes `error(400)`."""


_DIALECTS = cast(
    "list[Dialect]",
    [
        mistral,
        bedrock,
        anthropic_vertex,
        anthropic,
        compatible,
        azure,
        gemini,
        cohere,
        ollama,
        openai,
    ],
)


def of(seen: Seen) -> Dialect:
    """The dialect that serves a request."""
    return next(dialect for dialect in _DIALECTS if dialect.serves(seen))


def answer(dialect: Dialect, seen: Seen, body: bytes, source: Answers) -> Reply:
    """The dialect's answer; a request that it cannot read is answered 400."""
    try:
        return dialect.answer(seen, body, source)
    except (AttributeError, IndexError, KeyError, TypeError):
        return dialect.error(400)
