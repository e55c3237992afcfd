"""What a reader finds in one file of an older layout. Values are as they were written; what is not there is None."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from custody.migrate.times import plain

Generation = Literal["gen2", "gen3a", "gen3b", "gen4"]

Origin = Literal["captured", "reconstructed", "unknown"]
"""``captured``: the old program stored request and response, both whole. ``reconstructed``: the response is as it
was stored, and some of what belongs to it (the prompt, the labels) was not. ``unknown``: there is no response."""


@dataclass
class LegacyCall:
    """A call as an older layout has it.

    Attributes:
        file, line: where the response stands (or the request, where there is no response).
        session: an id that the record itself names.
        agent: the id of the old program's agent.
        corpus_file: a file's name, or its stem where no more is known.
        prompt, system: as stored.
        response: as stored; for a failed call what stands in its place.
        time, asked: when the response (the request) was written down.
        usage: the old program's usage object.
        error: what the old program said of a failure; kept out of the call line.
        completed: the old program says that an answer came, and has not written it down.
        failed: it is no answer: ``error`` (said so), ``error_as_response`` (an error in place of the text).
        labels_by: by label, where it was found.
        also: other places that hold the same.
    """

    generation: Generation
    file: str
    line: int | None = None
    session: str | None = None
    agent: str | None = None
    corpus_file: str | None = None
    run: int | None = None
    model: str | None = None
    prompt: str | None = None
    system: str | None = None
    response: str | None = None
    time: datetime | None = None
    asked: datetime | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    attempts: int | None = None
    error: str | None = None
    failed: Literal["", "error", "error_as_response"] = ""
    from_repr: bool = False
    completed: bool = False
    labels_by: dict[str, str] = field(default_factory=dict)
    also: list[str] = field(default_factory=list)

    @property
    def origin(self) -> Origin:
        if self.response is None and not self.failed:
            return "unknown"
        return "captured" if self.prompt is not None and not self.from_repr else "reconstructed"

    @property
    def in_doubt(self) -> bool:
        """It was sent, and nothing says how it ended."""
        return self.response is None and not self.failed and not self.completed

    @property
    def answers(self) -> bool:
        return not self.failed and self.response is not None and bool(self.response.strip())

    @property
    def place(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass
class Reading:
    """What one file holds.

    Attributes:
        ids: of the run that the whole file belongs to; empty for a file of many runs.
        first, last: of its lines' stamps.
        counts: what was met, by name (``report.COUNTS``).
        checks: legacy checks, by kind and result.
        facts: what else the plan needs of it (``framework_path``, ...).
    """

    file: str
    generation: Generation
    kind: str
    ids: list[str] = field(default_factory=list)
    calls: list[LegacyCall] = field(default_factory=list)
    first: datetime | None = None
    last: datetime | None = None
    counts: Counter[str] = field(default_factory=Counter)
    checks: Counter[tuple[str, str]] = field(default_factory=Counter)
    facts: dict[str, Any] = field(default_factory=dict)

    def saw(self, when: datetime | None) -> None:
        if when is None:
            return
        if self.first is None or plain(when) < plain(self.first):
            self.first = when
        if self.last is None or plain(when) > plain(self.last):
            self.last = when
