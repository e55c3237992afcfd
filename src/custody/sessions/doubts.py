"""``on_in_doubt``: what a start does with calls that were sent and have no outcome on record."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from typing import Any

from custody import layout
from custody.errors import CallInDoubt, UsageError
from custody.journal.archive import Archive
from custody.pipeline.doubts import POLICIES, Policy
from custody.sessions import children, recovery
from custody.stamps import parsed
from custody.storage import Storage

_SHOWN = 5


def checked(policy: str) -> Policy:
    """Raises UsageError where there is no such policy."""
    for known in POLICIES:
        if policy == known:
            return known
    raise UsageError(f"on_in_doubt={policy!r}: give one of {', '.join(POLICIES)}")


def decide(policy: Policy, found: list[dict[str, Any]], session: str) -> Policy:
    """The policy for the calls of this run, given the calls in doubt at its start. Raises CallInDoubt.

    A terminal is asked here, once; without one "ask" is "fail". Whoever dies later in the run cannot be
    asked about any more: such a call is refused.
    """
    if policy not in ("ask", "fail"):
        return policy
    if not found:
        return "fail"
    calls = [doubt["call_id"] for doubt in found]
    why = "on_in_doubt=fail"
    if policy == "ask":
        if _terminal():
            answer = _asked(found, session)
            if answer != "fail":
                return answer
        else:
            why = "on_in_doubt=ask, and there is no terminal to ask at, which is as fail"
    raise CallInDoubt(
        f"{_count(calls)} of {session} in doubt: sent before the stop, without an outcome on record "
        f"({', '.join(calls[:_SHOWN])}{', ...' if len(calls) > _SHOWN else ''}). Nothing was started ({why}). "
        "To send them again: on_in_doubt=retry (--on-in-doubt retry)",
        calls=calls,
    )


def of_joined(own: str | None, archive: Archive, storage: Storage, session: str) -> Policy:
    """The policy of a process that joins: the command's word, else its program's own."""
    said = os.environ.get(children.ENV_ON_IN_DOUBT)
    policy = checked(said or own or "retry")
    if said or own is None or os.environ.get(children.ENV_RESUMED) != "1":
        return "fail" if policy == "ask" else policy
    try:  # what others of this run have in flight looks in doubt, too: only what was so at the start counts
        start = json.loads(storage.read(layout.CHECKPOINT))
        before = {doubt["call_id"] for doubt in start["in_doubt"]}
    except (OSError, ValueError, KeyError, TypeError):
        before = set()
    found = [d for d in recovery.doubts(archive) if d["answered_by"] is None and d["call_id"] in before]
    decided = decide(policy, found, session)
    os.environ[children.ENV_ON_IN_DOUBT] = decided
    return decided


def since(storage: Storage, *, resumed: bool | None) -> datetime | None:
    """When this run of a continued session began; None in a new one. ``resumed`` None: as the command said."""
    if not (os.environ.get(children.ENV_RESUMED) == "1" if resumed is None else resumed):
        return None
    try:
        return parsed(json.loads(storage.read(layout.CHECKPOINT))["time"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr is not None and sys.stderr.isatty()


def _asked(found: list[dict[str, Any]], session: str) -> Policy:
    sys.stderr.write(
        f"custody: {_count(found)} of {session} in doubt: sent before the stop, no outcome on record, perhaps billed:\n"
    )
    for doubt in found[:_SHOWN]:
        labels = " ".join(f"{name}={value}" for name, value in doubt["scope"].items())
        line = f"  {doubt['call_id']}  {doubt['sent']}  {doubt['operation']}  {labels}"
        sys.stderr.write("".join(ch if ch.isprintable() else "?" for ch in line) + "\n")
    if len(found) > _SHOWN:
        sys.stderr.write(f"  and {len(found) - _SHOWN} more\n")
    answers: dict[str, Policy] = {"r": "retry", "s": "skip", "f": "fail", "": "fail"}
    while True:
        sys.stderr.write("[r]etry sends them again, [s]kip refuses these calls, [f]ail stops here: ")
        sys.stderr.flush()
        said = sys.stdin.readline()
        answer = answers.get(said.strip().lower()[:1]) if said.strip() or not said else None
        if answer is not None:
            return answer


def _count(calls: list[Any]) -> str:
    return f"{len(calls)} call is" if len(calls) == 1 else f"{len(calls)} calls are"
