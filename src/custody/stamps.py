"""Points in time, as every file of a session writes them."""

from __future__ import annotations

from datetime import UTC, datetime


def stamp(moment: datetime) -> str:
    """UTC with microseconds and ``Z`` (RFC 3339)."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")[: -len("+00:00")] + "Z"


def now() -> str:
    return stamp(datetime.now(UTC))


def parsed(text: str) -> datetime:
    """The moment of a stamp. Raises ValueError."""
    return datetime.fromisoformat(text)
