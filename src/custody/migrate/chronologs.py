"""``PROJECT_CHRONOLOG_<project>.jsonl`` and ``RUN_CHRONOLOG_<session>.jsonl`` of the older layouts.

Their signature is an HMAC under a key that everybody has. It is checked, because a wrong one shows an
accident; it proves nothing, because whoever changes a line can sign it again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from datetime import datetime
from typing import Any

from custody.migrate import text, times
from custody.migrate.conversations import UNKNOWN
from custody.migrate.events import Event, Events
from custody.migrate.legacy import Reading

NAME = re.compile(r"(?P<kind>PROJECT|RUN)_CHRONOLOG_(?P<of>.+)\.jsonl", re.DOTALL)
PUBLIC_KEY = b"default_dev_key"

_SIGNED = ("timestamp", "event", "session_id", "project", "data", "event_id")


def read(path: str, data: bytes) -> Reading:
    """A chronolog of a project, which is of many runs, or of one run."""
    found = NAME.fullmatch(path.rpartition("/")[2])
    of_run = found is not None and found["kind"] == "RUN"
    reading = Reading(path, "gen3a", "chronolog")
    if found is not None and of_run:
        reading.ids.append(found["of"])
    events = Events(path, "gen3a")
    seen: set[str] = set()
    firsts: dict[str, datetime] = {}
    for line in text.lines(data):
        value = line.value
        if value is None:
            reading.counts["blank_lines" if line.blank else "unreadable_lines"] += 1
            continue
        reading.counts["lines"] += 1
        reading.counts["repr_dicts"] += line.how == "repr"
        whole = json.dumps(value, sort_keys=True, default=str)
        if whole in seen:
            reading.counts["duplicate_lines"] += 1
            continue
        seen.add(whole)
        reading.checks["hmac", _signature(value)] += 1
        when = times.moment(value.get("timestamp"))
        reading.saw(when)
        session = value.get("session_id")
        session = session if isinstance(session, str) else ""
        reading.counts["unknown_session"] += session in UNKNOWN
        if session not in UNKNOWN and when is not None:
            firsts[session] = min(firsts.get(session, when), when, key=times.plain)
        held = value.get("data")
        if isinstance(held, str) and (read_back := text.object_in(held)) is not None:
            held, how = read_back
            reading.counts["repr_dicts"] += how == "repr"
        fields = dict(held) if isinstance(held, dict) else {}
        named = "" if of_run else (session if session not in UNKNOWN else UNKNOWN[0])
        events.take(Event(str(value.get("event")), fields, line.number, when, named))
    reading.calls = events.calls()
    reading.counts += events.counts
    reading.facts["firsts"] = firsts
    return reading


def _signature(value: dict[str, Any]) -> str:
    stated = value.get("signature")
    if not isinstance(stated, str) or not stated:
        return "missing"
    signed = json.dumps({name: value.get(name) for name in _SIGNED}, sort_keys=True, separators=(",", ":"))
    made = hmac.new(PUBLIC_KEY, signed.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
    return "verified" if hmac.compare_digest(made.encode(), stated.encode("utf-8", "replace")) else "wrong"
