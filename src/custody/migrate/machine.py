"""gen3b: ``logs/<session>/<session>_machine.jsonl`` and ``results/<stamp>/state_after_step_<n>_<Agent>.json``."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from custody.migrate import text, times, values
from custody.migrate.conversations import UNKNOWN
from custody.migrate.events import Event, Events
from custody.migrate.legacy import LegacyCall, Reading

STATE_NAME = re.compile(r"(?:state_after_step_(?P<step>\d+)_(?P<agent>.+)|final_workflow_state)\.json", re.DOTALL)

_STATE_FACTS = ("framework_path", "experiment_path", "corpus_path", "framework", "experiment")


def read_log(path: str, data: bytes) -> Reading:
    """A machine log."""
    reading = Reading(path, "gen3b", "machine_log")
    events = Events(path, "gen3b")
    seen: dict[object, set[str]] = {}
    for line in text.lines(data):
        if line.value is None:
            reading.counts["blank_lines" if line.blank else "unreadable_lines"] += 1
            continue
        reading.counts["lines"] += 1
        reading.counts["repr_dicts"] += line.how == "repr"
        value = line.value
        whole = json.dumps(value, sort_keys=True, default=str)
        event_id = value.get("event_id") or whole
        if whole in seen.setdefault(str(event_id), set()):
            reading.counts["duplicate_lines"] += 1
            continue
        reading.counts["shared_event_ids"] += bool(seen[str(event_id)])
        seen[str(event_id)].add(whole)
        _check(value, reading)
        when = times.moment(value.get("timestamp"))
        if when is not None and reading.last is not None and times.plain(when) < times.plain(reading.last):
            reading.counts["out_of_order"] += 1
        reading.saw(when)
        for name in ("session_id", "conversation_id"):
            own = value.get(name)
            if not isinstance(own, str):
                continue
            if own in UNKNOWN:
                reading.counts["unknown_session"] += name == "session_id"
            elif own not in reading.ids:
                reading.ids.append(own)
        events.take(Event(str(value.get("event_type")), _data(value, reading), line.number, when))
    reading.calls = events.calls()
    reading.counts += events.counts
    return reading


def _data(value: dict[str, Any], reading: Reading) -> dict[str, Any]:
    """An event's data with its metadata; the agent is the speaker where the data name none."""
    data = value.get("data")
    if isinstance(data, str) and (held := text.object_in(data)) is not None:
        data, how = held
        reading.counts["repr_dicts"] += how == "repr"
    data = dict(data) if isinstance(data, dict) else {}
    said = value.get("metadata")
    if isinstance(said, dict):
        data = {**said, **data}
    speaker = value.get("speaker")
    if values.agent(data) is None and isinstance(speaker, str) and values.agent_parts(speaker, None)[0]:
        data["agent_id"] = speaker
    return data


def _check(value: dict[str, Any], reading: Reading) -> None:
    """The digests that a line has of itself."""
    own_digest, own_id = value.get("content_hash"), value.get("event_id")
    result = _agrees(json.dumps(value.get("data"), sort_keys=True), own_digest)
    reading.checks["content_hash", result] += 1
    named = "".join(str(value.get(name)) for name in ("timestamp", "event_type", "speaker"))
    reading.checks["event_id", _agrees(named, own_id)] += 1


def _agrees(content: str, stated: object) -> str:
    if not isinstance(stated, str) or not stated:
        return "missing"
    digest = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
    return "verified" if digest[:12] == stated else "wrong"


def read_state(path: str, data: bytes) -> Reading:
    """A workflow's state. What it says of the definition is kept as facts."""
    reading = Reading(path, "gen3b", "state")
    found = text.object_in(text.decode(data))
    if found is None:
        reading.counts["unreadable_files"] += bool(data.strip())
        return reading
    state, how = found
    reading.counts["repr_dicts"] += how == "repr"
    for name in ("session_id", "conversation_id"):
        own = state.get(name)
        if isinstance(own, str) and own not in UNKNOWN:
            reading.ids.append(own)
    place = state.get("session_results_path")
    if isinstance(place, str) and times.in_name(values.name_of(place)):
        reading.ids.append(values.name_of(place))
    reading.facts = {name: state[name] for name in _STATE_FACTS if isinstance(state.get(name), str)}
    results = state.get("analysis_results")
    if isinstance(results, str) and (held := text.object_in(results)) is not None:
        results = held[0]
        reading.counts["repr_dicts"] += held[1] == "repr"
    entries: list[tuple[str | None, Any]] = []
    if isinstance(results, dict):
        entries = [(str(name), entry) for name, entry in results.items()]
    elif isinstance(results, list):
        entries = [(None, entry) for entry in results]
    for agent_id, entry in entries:
        call = _entry(path, agent_id, entry, reading)
        if call is not None:
            reading.calls.append(call)
    return reading


def _entry(path: str, name: str | None, entry: Any, reading: Reading) -> LegacyCall | None:
    if isinstance(entry, str):
        held = text.object_in(entry)
        if held is not None and values.response(held[0]) is not None:
            entry = held[0]
            reading.counts["repr_dicts"] += held[1] == "repr"
        elif name is None:
            return None  # a name alone, or a text that nothing says of whose it is
        else:
            entry = {"content": entry}
    if not isinstance(entry, dict):
        return None
    said, response = values.metadata(entry), values.response(entry)
    error = values.error(said) if said is not entry else values.error(entry)
    if response is None and error is None:
        return None
    call = LegacyCall(
        "gen3b", path, agent=values.agent(entry) or name, model=values.model(entry, said), run=values.run(entry),
        corpus_file=values.corpus_file(entry), usage=values.usage(said), attempts=values.attempts(said),
        response=response, error=error, time=times.moment(entry.get("timestamp")),
    )  # fmt: skip
    call.labels_by = {label: "state" for label in ("run", "corpus_file") if getattr(call, label) is not None}
    if error is not None:
        call.failed = "error"
    elif response is not None and values.is_error_text(response):
        call.failed = "error_as_response"
    return call
