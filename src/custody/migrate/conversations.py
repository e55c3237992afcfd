"""gen2 and gen3a: ``conversations/conversation_<stamp>_<8hex>.jsonl``.

gen2 has ``llm_request``, ``llm_response`` and ``llm_error`` lines, whose messages are prompts and responses.
gen3a has ``workflow_event`` lines only, whose messages are an event's name and its data.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from custody.migrate import text, times, values
from custody.migrate.events import Event, Events
from custody.migrate.legacy import LegacyCall, Reading

NAME = re.compile(r"conversation_\d{8}_\d{6}_[0-9a-f]{8}.*\.jsonl", re.DOTALL)
_EVENT = re.compile(r"\s*(?P<event>[A-Z][A-Z0-9_]{2,})\s*:?\s*(?P<data>\{.*\})?\s*", re.DOTALL)
UNKNOWN = ("unknown", "unknown_session", "None", "null", "")
"""What stands in an id's place where there is none."""

_LLM = ("llm_request", "llm_response", "llm_error")


class _Message(NamedTuple):
    """An LLM line, with what is needed to find its counterpart."""

    at: int
    line: int
    kind: str
    speaker: str
    when: datetime | None
    message: str
    said: dict[str, Any]


def read(path: str, data: bytes) -> Reading:
    """A conversation's file, of either generation."""
    reading = Reading(path, "gen2", "conversation")
    reading.ids.append(path.rpartition("/")[2].removesuffix(".jsonl"))
    events, kinds = Events(path, "gen3a"), Counter[str]()
    messages: list[_Message] = []
    seen: set[bytes] = set()
    for line in text.lines(data):
        if line.value is None:
            reading.counts["blank_lines" if line.blank else "unreadable_lines"] += 1
            continue
        reading.counts["lines"] += 1
        reading.counts["repr_dicts"] += line.how == "repr"
        if line.raw and line.raw in seen:
            reading.counts["duplicate_lines"] += 1
            continue
        seen.add(line.raw)
        value = line.value
        when = times.moment(value.get("timestamp"))
        if when is not None and reading.last is not None and times.plain(when) < times.plain(reading.last):
            reading.counts["out_of_order"] += 1
        reading.saw(when)
        said = value.get("metadata")
        said = said if isinstance(said, dict) else {}
        for own in (value.get("conversation_id"), said.get("session_id")):
            if isinstance(own, str) and own not in (*UNKNOWN, *reading.ids):
                reading.ids.append(own)
        kind = str(said.get("type") or "untyped")
        kinds[kind] += 1
        message = value.get("message")
        message = message if isinstance(message, str) else text.loads_back(message)
        if kind in _LLM:
            messages.append(_Message(len(messages), line.number, kind, str(value.get("speaker")), when, message, said))
        else:
            _event(events, reading, line.number, when, message, said)
    if not messages and kinds["workflow_event"]:
        reading.generation = "gen3a"
    elif kinds["untyped"] and not messages:
        reading.counts["untyped_messages"] += kinds["untyped"]
    reading.calls = [*_paired(path, messages, reading), *events.calls()]
    reading.counts += events.counts
    for session in events.sessions:
        if session not in reading.ids:
            reading.ids.append(session)
    return reading


def _event(
    events: Events, reading: Reading, line: int, when: datetime | None, message: str, said: dict[str, Any]
) -> None:
    found = _EVENT.fullmatch(message)
    name = str(said.get("event_type") or (found["event"] if found else ""))
    data: dict[str, Any] = {}
    for held in (said.get("data"), said.get("event_data"), found["data"] if found else None):
        if isinstance(held, str):
            read = text.object_in(held)
            if read is None:
                continue
            held, how = read
            reading.counts["repr_dicts"] += how == "repr"
        if isinstance(held, dict):
            data = {**held, **data}
    if name:
        events.take(Event(name, data, line, when))


def _paired(path: str, messages: list[_Message], reading: Reading) -> list[LegacyCall]:
    """Each response with the request that it answers: the same agent's, in the order of their stamps."""
    if all(message.when is not None for message in messages):
        messages = sorted(messages, key=lambda m: (times.plain(m.when), m.at))  # type: ignore[arg-type]
    open_by: dict[str, list[_Message]] = {}
    pairs: list[tuple[_Message | None, _Message | None]] = []
    unanswered: list[_Message] = []
    rest: list[_Message] = []
    for message in messages:
        who = values.agent(message.said) or message.speaker
        if message.kind == "llm_request":
            open_by.setdefault(who, []).append(message)
        elif open_by.get(who):
            pairs.append((open_by[who].pop(0), message))
        else:
            rest.append(message)
    unanswered = sorted((m for waiting in open_by.values() for m in waiting), key=lambda m: m.at)
    for message in rest:  # the request was logged under another speaker: the last one before it that has no answer
        before = [m for m in unanswered if _comes_before(m, message) and _same_model(m, message)]
        chosen = before[0] if before else None
        if chosen is not None:
            unanswered.remove(chosen)
        pairs.append((chosen, message))
    pairs += [(message, None) for message in unanswered]
    calls = [_call(path, asked, answered, reading) for asked, answered in pairs]
    return sorted(calls, key=lambda call: call.line or 0)


def _comes_before(asked: _Message, answered: _Message) -> bool:
    if asked.when is not None and answered.when is not None:
        return times.plain(asked.when) <= times.plain(answered.when)
    return asked.at < answered.at


def _same_model(asked: _Message, answered: _Message) -> bool:
    one, other = values.model(asked.said), values.model(answered.said)
    return one is None or other is None or one == other


def _call(path: str, asked: _Message | None, answered: _Message | None, reading: Reading) -> LegacyCall:
    one = answered or asked
    assert one is not None
    said = {**(asked.said if asked else {}), **(answered.said if answered else {})}
    call = LegacyCall(
        "gen2", path, one.line, agent=values.agent(said) or one.speaker, model=values.model(said),
        run=values.run(said), corpus_file=values.corpus_file(said), usage=values.usage(said),
        attempts=values.attempts(said), prompt=asked.message if asked else None,
        asked=asked.when if asked else None, time=answered.when if answered else None,
    )  # fmt: skip
    call.labels_by = {name: "metadata" for name in ("run", "corpus_file") if getattr(call, name) is not None}
    if call.corpus_file is None and (named := values.file_in_prompt(call.prompt)) is not None:
        call.corpus_file, call.labels_by["corpus_file"] = named, "prompt"
    if asked is not None and answered is not None:
        call.also.append(f"{path}:{asked.line}")
    if answered is None:
        return call
    call.error = values.error(answered.said)
    call.response = answered.message
    if answered.kind == "llm_error":
        call.failed, call.error = "error", call.error or answered.message
        call.response = None
        return call
    parsed = text.object_in(answered.message)
    if parsed is not None and parsed[1] == "repr":  # JSON may be what the model wrote
        held = parsed[0]
        reading.counts["repr_dicts"] += 1
        inner = values.first_text(held, values.RESPONSE)
        if inner is not None:  # the text itself is in it; else the repr is all that is left of the response
            call.response, call.from_repr = inner, True
        call.error = call.error or values.error(held)
    if call.error is not None:
        call.failed = "error"
    elif values.is_error_text(call.response):
        call.failed = "error_as_response"
    return call


def is_conversation(lines: Iterable[text.Line]) -> bool:
    """Whether a file of another name has a conversation's lines."""
    first = next((line.value for line in lines if line.value is not None), None)
    return first is not None and {"conversation_id", "speaker", "message"} <= first.keys()
