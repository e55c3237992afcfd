"""Which records are one call: the same agent's same answer in a log, a state and a chronolog is one answer."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath

from custody.migrate import times, values
from custody.migrate.legacy import LegacyCall


def merge(calls: Iterable[LegacyCall], stems: dict[str, set[str]], counts: Counter[str]) -> list[LegacyCall]:
    """One of each call, in order of time.

    ``stems``: names of the experiment's documents by their stem. ``counts`` is added to: ``same_answer_elsewhere``,
    ``same_call_elsewhere``.
    """
    kept: list[LegacyCall] = []
    by_key: dict[tuple[object, ...], list[LegacyCall]] = defaultdict(list)
    answered_agents: set[tuple[str | None, str]] = set()
    named = [_labelled(call, stems) for call in calls]
    for call in sorted(named, key=_rank):
        keys = _keys(call)
        known = next((one for key in keys for one in by_key[key] if _may_be_one(one, call)), None)
        if known is None and _is_state(call) and (call.agent, _stem(call.corpus_file or "")) in answered_agents:
            counts["differing_states"] += 1  # what a later step made of the answer that a log or an earlier state has
            continue
        if call.agent is not None and call.run is not None and call.answers:
            answered_agents.add((call.agent, _stem(call.corpus_file or "")))
        if known is None:
            kept.append(call)
            known = call
        else:
            answered = call.response is not None and not call.failed
            counts["same_answer_elsewhere" if answered else "same_call_elsewhere"] += 1
            _complete(known, call)
        for key in keys:
            if not any(one is known for one in by_key[key]):
                by_key[key].append(known)
    kept = _without_answered(kept, counts)
    return sorted(kept, key=lambda call: (_when(call), call.file, call.line or 0))


def _labelled(call: LegacyCall, stems: dict[str, set[str]]) -> LegacyCall:
    """The call with what its agent's id says of it, where nothing better does."""
    _, run, stem = values.agent_parts(call.agent, call.model)
    if call.run is None and run is not None:
        call.run, call.labels_by["run"] = run, "agent_id"
    if call.corpus_file is None and stem is None and call.agent is not None and run is not None:
        ends = [known for known in stems if call.agent.endswith(f"_{known}") or f"_{known}_run" in call.agent]
        stem = max(ends, key=len, default=None)
    if call.corpus_file is None and stem is not None:
        names = stems.get(stem, set())
        call.corpus_file = next(iter(names)) if len(names) == 1 else stem  # .md and .txt: which one is not known
        call.labels_by["corpus_file"] = "agent_id"
    return call


def _rank(call: LegacyCall) -> tuple[int, str, int]:
    """Logs before states before chronologs: the record nearest to the call is the one that is kept."""
    order = 2 if "CHRONOLOG_" in call.file.rpartition("/")[2] else int(_is_state(call))
    return order, call.file, call.line or 0


def _is_state(call: LegacyCall) -> bool:
    return call.file.rpartition("/")[2].startswith(("state_after", "final_workflow"))


def _keys(call: LegacyCall) -> list[tuple[object, ...]]:
    """What two records of one call have in common."""
    if call.response is not None:
        what: tuple[object, ...] = ("answer", _digest(call.response))
    elif call.failed:
        what = ("failure", _digest(call.error or ""))
    else:
        what = ("open", times.plain(call.asked) if call.asked is not None else (call.file, call.line))
    keys: list[tuple[object, ...]] = []
    if call.agent is not None:
        keys.append(("agent", call.agent, *what))
    if call.run is not None and call.corpus_file is not None:
        keys.append(("labels", _stem(call.corpus_file), call.run, call.model, *what))
    return keys


def _may_be_one(one: LegacyCall, other: LegacyCall) -> bool:
    """Two records of one file are two calls, unless they are an agent's same answer in the same run."""
    names = {call.corpus_file for call in (one, other) if call.corpus_file and "." in call.corpus_file}
    if len(names) == 2:
        return False  # a document that lies there as .md and as .txt is two
    files = {one.file, *(_file_of(place) for place in one.also)}
    if other.file not in files:
        return True
    return other.generation not in ("gen2", "gen4") and other.response is not None and other.run is not None


def _digest(text: str) -> str:
    return hashlib.sha256(text.strip().encode("utf-8", "surrogatepass")).hexdigest()


def _file_of(place: str) -> str:
    path, _, line = place.rpartition(":")
    return path if path and line.isdigit() else place


def _complete(known: LegacyCall, other: LegacyCall) -> None:
    known.also.append(other.place)
    for name in ("session", "agent", "model", "run", "attempts", "time", "asked", "prompt"):
        if getattr(known, name) is None:
            setattr(known, name, getattr(other, name))
    known.usage = known.usage or other.usage
    # A name with its ending says more than a stem.
    if other.corpus_file and (known.corpus_file is None or "." not in known.corpus_file):
        known.corpus_file = other.corpus_file
        known.labels_by["corpus_file"] = other.labels_by.get("corpus_file", "")


def _without_answered(calls: list[LegacyCall], counts: Counter[str]) -> list[LegacyCall]:
    """Without calls that one log has as open and another one as finished."""
    finished: dict[str, set[str]] = defaultdict(set)
    for call in calls:
        if call.agent is not None and (call.response is not None or call.failed):
            finished[call.agent] |= {call.file, *(_file_of(place) for place in call.also)}
    kept = []
    for call in calls:
        elsewhere = finished.get(call.agent or "", set()) - {call.file}
        if call.response is None and not call.failed and call.generation not in ("gen2", "gen4") and elsewhere:
            counts["same_answer_elsewhere"] += 1
            continue
        kept.append(call)
    return kept


def _stem(name: str) -> str:
    return PurePosixPath(name).stem if "." in name else name


def _when(call: LegacyCall) -> str:
    when = call.time or call.asked
    return times.plain(when).isoformat() if when is not None else ""
