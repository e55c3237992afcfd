"""Compares what custody kept of a play with the recording: bytes, headers, forensics, usage."""

from __future__ import annotations

import re
from typing import Any

from custody.record import FORENSIC_FIELDS, PLACES, REASONS, RESPONSE_FIELDS
from wireplay import oracle
from wireplay.oracle.expected import CLASSES, Asked, numbers
from wireplay.phases import Played
from wireplay.recordings import Recorded


def results(play: Played) -> list[str]:
    """Where the program was given something else than without custody."""
    bare, recorded, replayed = (play.results.get(phase) for phase in ("bare", "recorded", "replayed"))
    faults = []
    if play.sent is None:
        faults.append(f"no request came while recording: {recorded}")
    elif (play.sent.method, play.sent.path) != (play.recorded.method, play.recorded.path):
        faults.append(
            f"sent: {play.sent.method} {play.sent.path}, recorded {play.recorded.method} {play.recorded.path}"
        )
    if recorded != bare:
        faults.append(f"result: recorded {_short(recorded)}, bare {_short(bare)}")
    if replayed != recorded:
        faults.append(f"result: replayed {_short(replayed)}, recorded {_short(recorded)}")
    return faults


def stored(play: Played, calls: list[Any]) -> list[str]:
    """Where the archive differs from the recording. ``calls``: the archived calls of this play."""
    if len(calls) != 1:
        return [f"archived {len(calls)} times"]
    call, recorded = calls[0], play.recorded
    faults = []
    if len(call.fields["attempts"]) != 1:
        faults.append(f"{len(call.fields['attempts'])} attempts")
    if call.fields["hook_failures"]:
        faults.append(f"hook failures: {call.fields['hook_failures']}")
    if call.fields["status"] != recorded.status:
        faults.append(f"status {call.fields['status']}, played {recorded.status}")
    assert play.sent is not None
    if call.request_body != play.sent.body:
        faults.append(
            f"stored request: {len(call.request_body)} bytes are not the {len(play.sent.body)} that were sent"
        )
    left = play.driver.leaves_early and call.fields["ending"] == "closed_early"
    asked = Asked(play.sent.headers, play.sent.body)
    return [*faults, *_bytes(call, recorded, left=left), *line(call.fields, recorded, asked, left=left)]


def _bytes(call: Any, recorded: Recorded, *, left: bool) -> list[str]:
    """``left``: the SDK read only the beginning of a stream, and that is what must be stored."""
    answer = call.response
    if answer is None:
        return ["no response is stored"]
    faults = []
    kept = answer.content if answer.decoded else answer.raw
    played = oracle.content(recorded) if answer.decoded else recorded.body
    if kept != played and not (left and kept and played.startswith(kept)):
        faults.append(f"stored bytes: {len(kept)} are not the {len(recorded.body)} that were played")
    if call.fields["redacted"]:
        faults.append("stored redacted")
    sent = {(name.lower(), value.strip()) for name, value in recorded.headers}
    made = ("content-length", "transfer-encoding", "connection")
    faults += [
        f"stored header {name}: {value} was not played"
        for name, value in answer.head.headers
        if name.lower() not in made and (name.lower(), value) not in sent
    ]
    return faults


def line(fields: dict[str, Any], recorded: Recorded, asked: Asked, *, left: bool = False) -> list[str]:
    """Where a call line differs from what the recording says."""
    expected = oracle.expect(recorded, asked)
    assert set(expected.fields) == {*FORENSIC_FIELDS, *RESPONSE_FIELDS}
    said = {**fields["response_metadata"], **fields["model_forensics"]}
    faults = [
        f"{name}: {said.get(name)!r}, the recording says {value!r}"
        for name, value in expected.fields.items()
        if said.get(name) != value
    ]
    if fields["outcome"] != ("closed_early" if left else expected.outcome):
        faults.append(f"outcome: {fields['outcome']!r}, the recording says {expected.outcome!r}")
    usage = fields["usage"]
    # Without a single count there is no usage in tokens, whatever else the vendor has counted.
    stated = usage and any(usage[name] is not None for name in CLASSES)
    classes = {name: usage[name] for name in CLASSES} if stated else None
    if classes != expected.usage:
        faults.append(f"usage: {classes}, the recording says {expected.usage}")
    if stated and expected.raw_usage is not ... and numbers(usage["raw"]) != numbers(expected.raw_usage):
        faults.append(f"usage.raw: {usage['raw']}, the recording says {expected.raw_usage}")
    total = sum(n or 0 for n in expected.usage.values()) if expected.usage else None
    if said["tokens_used"] != total:
        faults.append(f"tokens_used: {said['tokens_used']}, the recording says {total}")
    return [*faults, *_evidence(fields, said)]


def _evidence(fields: dict[str, Any], said: dict[str, Any]) -> list[str]:
    """Every value has a place where it was found, every null a reason of the closed list."""
    faults = []
    evidence = fields["evidence"]
    for name in (*FORENSIC_FIELDS, *(k for k in fields["response_metadata"] if k in evidence)):
        place, _, rest = evidence[name].partition(":")
        priced = name == "cost_usd" and re.fullmatch(r"genai-prices [\d.]+", place) is not None
        if said[name] is not None and place not in PLACES and not priced:
            faults.append(f"{name} has no evidence: {evidence[name]!r}")
        if said[name] is None and name != "cost_usd" and (place != "unknown" or rest not in REASONS):
            faults.append(f"{name} is null without a reason: {evidence[name]!r}")
    return faults


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 200 else f"{text[:200]}..."
