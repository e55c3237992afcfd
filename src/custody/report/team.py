"""Who works, or worked, at a session that workers share: a row for each, from heartbeats and notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from custody.sessions import workers
from custody.stamps import parsed
from custody.storage import Storage
from custody.storage.heartbeats import ALONE, Seen

_RANK = {"alive": 0, "lost": 1, "ended": 2}


def rows(storage: Storage, notes: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The workers by name; none where a session was never shared.

    ``state`` is alive, ended or lost, by this machine's clock; ``calls`` those that it sent, ``per_minute`` since it
    began, ``claims`` what it had in hand when it was last heard of, ``taken_over`` how many calls others took over.
    """
    found: dict[str, list[Seen]] = {}
    for one in workers.seen(storage):
        if one.worker == ALONE:
            continue
        found.setdefault(one.worker, []).append(one)
    taken = Counter(str(note.get("worker")) for note in notes if note.get("note") == "claim_taken_over")
    return [_row(name, found[name], taken[name]) for name in sorted(found)]


def _row(name: str, processes: list[Seen], taken: int) -> dict[str, Any]:
    working = [one for one in processes if "calls" in one.facts] or processes
    state = min((one.state for one in working if not _back(one, working)), key=_RANK.__getitem__)
    calls = sum(_number(one.facts.get("calls")) for one in working)
    minutes = sum(_minutes(one) for one in working)
    return {
        "worker": name,
        "state": state,
        "processes": len(working),
        "calls": calls,
        "per_minute": round(calls / minutes, 1) if minutes > 0 and calls else None,
        "claims": sum(_number(one.facts.get("claims")) for one in working if one.state != "ended"),
        "silent_seconds": round(min(one.silent for one in working), 1),
        "taken_over": taken,
    }


def _back(one: Seen, working: list[Seen]) -> bool:
    """Whether this process was lost, and the worker came back in another one since."""
    if one.state != "lost":
        return False
    heard = datetime.now(UTC).timestamp() - one.silent
    return any(other.state != "lost" and _began(other) > heard for other in working)


def _began(one: Seen) -> float:
    try:
        return parsed(one.started).timestamp()
    except ValueError:
        return 0.0


def _minutes(one: Seen) -> float:
    try:
        began = parsed(one.started)
    except ValueError:
        return 0.0
    return max(0.0, (datetime.now(UTC) - began).total_seconds() - one.silent) / 60


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def sentence(row: Mapping[str, Any]) -> str:
    """A row for a person."""
    parts = [f"{row['state']}", f"{row['calls']} calls"]
    if row["per_minute"] is not None:
        parts.append(f"{row['per_minute']} a minute")
    if row["state"] == "alive":
        parts.append(f"{row['claims']} in hand")
    if row["state"] == "lost":
        parts.append(f"silent for {row['silent_seconds']:.0f} s")
    if row["taken_over"]:
        parts.append(f"{row['taken_over']} calls taken over from it, which are in doubt")
    return ", ".join(parts)
