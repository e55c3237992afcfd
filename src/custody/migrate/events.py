"""Workflow events of gen3a and gen3b, from whatever log: each agent's calls from what was logged of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from custody.migrate import times, values
from custody.migrate.legacy import Generation, LegacyCall

_STARTED = "LLM_CALL_STARTED"
_COMPLETED = "LLM_CALL_COMPLETED"
_FAILED = "LLM_CALL_FAILED"
_ERRORS = ("ANALYSIS_AGENT_ERROR", "ANALYSIS_AGENT_FAILED", "ERROR")
_RESULTS = ("_RAW_RESPONSE", "_RESULT", "LLM_RESPONSE")


class Event(NamedTuple):
    """``session``: as the record names it, where its file is of many runs."""

    name: str
    data: dict[str, Any]
    line: int
    when: datetime | None
    session: str = ""


@dataclass
class _Agent:
    """What is known of one agent; an agent makes one call at a time."""

    name: str | None
    facts: dict[str, Any] = field(default_factory=dict)
    asked: datetime | None = None
    asked_line: int | None = None
    open: bool = False
    completed: bool = False  # the old program said that an answer came, and has not written it down yet
    finished: int = 0


class Events:
    """Takes the events of a log and gives the calls that they tell of."""

    def __init__(self, file: str, generation: Generation) -> None:
        self._file, self._generation = file, generation
        self._taken: list[Event] = []
        self._agents: dict[tuple[str, str], _Agent] = {}
        self._calls: list[LegacyCall] = []
        self.sessions: list[str] = []
        self.counts: Counter[str] = Counter()

    def take(self, event: Event) -> None:
        """One event, in the order of the file."""
        held = event.data.get("session_id")
        if isinstance(held, str) and held and held not in self.sessions and not event.session:
            self.sessions.append(held)
        self._taken.append(event)

    def calls(self) -> list[LegacyCall]:
        """Finished calls, and those that were started and have no outcome; told by the stamps where all have one."""
        for event in in_order(self._taken):
            self._tell(event)
        self._taken.clear()
        for (session, _), agent in self._agents.items():
            self._left(agent, session)
        return self._calls

    def _left(self, agent: _Agent, session: str) -> None:
        """A call that was started, and of which no answer was written down."""
        if agent.open:
            call = self._call(agent, session, agent.asked_line, None)
            call.completed = agent.completed
            self._calls.append(call)
            agent.open = agent.completed = False

    def _tell(self, event: Event) -> None:
        name, data = event.name, event.data
        text = values.response(data) if name.endswith(_RESULTS) else None
        if text is not None and name.endswith("_RESULT") and not _is_llms(data):
            text = None  # the result of a calculation
        who = values.agent(data) or (_stand_in(data) if text is not None else None)
        if who is None:
            self.counts["workflow_errors"] += "ERROR" in name or "FAILED" in name
            return
        agent = self._agents.setdefault((event.session, who), _Agent(values.agent(data)))
        agent.facts |= {k: v for k, v in data.items() if k not in values.RESPONSE and v is not None}
        if name == _STARTED:
            self._left(agent, event.session)
            agent.open, agent.asked, agent.asked_line = True, event.when, event.line
        elif name == _COMPLETED:
            agent.completed = agent.open
        elif text is not None:
            self._finished(agent, event, text, values.error(values.metadata(data)))
        elif name == _FAILED or (name in _ERRORS and _may_have_failed(agent, data)):
            self._finished(agent, event, None, values.error(data) or name)
        elif name in _ERRORS:  # what was done with an answer went wrong
            self.counts["workflow_errors"] += 1

    def _finished(self, agent: _Agent, event: Event, response: str | None, error: str | None) -> None:
        call = self._call(agent, event.session, event.line, event.when)
        call.response, call.error = response, error
        if error is not None:
            call.failed = "error"
        elif response is not None and values.is_error_text(response):
            call.failed = "error_as_response"
        self._calls.append(call)
        agent.open, agent.completed, agent.asked, agent.finished = False, False, None, agent.finished + 1
        for name in ("error", "success", "usage", "attempts", "llm_metadata", "metadata"):
            agent.facts.pop(name, None)

    def _call(self, agent: _Agent, session: str, line: int | None, when: datetime | None) -> LegacyCall:
        facts = values.metadata(agent.facts)
        call = LegacyCall(
            self._generation, self._file, line, session=session or None, agent=agent.name,
            model=values.model(agent.facts, facts), run=values.run(agent.facts),
            corpus_file=values.corpus_file(agent.facts), usage=values.usage(facts),
            attempts=values.attempts(facts), time=when, asked=agent.asked,
        )  # fmt: skip
        call.labels_by = {name: "event data" for name in ("run", "corpus_file") if getattr(call, name) is not None}
        return call


def in_order(events: list[Event]) -> list[Event]:
    """By their stamps, where all have one of the same kind; else as they stand."""
    zones = {event.when.tzinfo is None if event.when else None for event in events}
    if len(zones) != 1 or None in zones:
        return events
    return sorted(events, key=lambda event: times.plain(event.when))  # type: ignore[arg-type]


def _is_llms(data: dict[str, Any]) -> bool:
    return values.model(data, values.metadata(data)) is not None or values.agent(data) is not None


def _may_have_failed(agent: _Agent, data: dict[str, Any]) -> bool:
    """Whether an error is a call's: of one that is under way, or of an agent that says what it was to do."""
    if agent.open:
        return not agent.completed
    return not agent.finished and (values.model(data) is not None or values.corpus_file(data) is not None)


def _stand_in(data: dict[str, Any]) -> str | None:
    """A name for an agent that has none, by what it was asked."""
    parts = (values.corpus_file(data), values.run(data), values.model(data))
    return None if parts == (None, None, None) else f"\0{parts}"
