"""Points in time as older layouts have them: in names, local and without a zone; in lines, with one or without."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_IN_NAME = re.compile(r"(?<!\d)(20\d\d)-?(\d\d)-?(\d\d)[_T ]?(\d\d)[-:]?(\d\d)[-:]?(\d\d)(?!\d)")
_QUARTER = timedelta(minutes=15)
_FARTHEST = timedelta(hours=14)
_ODD_ZONES = (-9.5, -3.5, -2.5, 3.5, 4.5, 5.5, 5.75, 6.5, 8.75, 9.5, 10.5, 12.75, 13.75)  # hours that somebody has
_LATE = timedelta(minutes=5)  # how long after its name was given a log's first line may be written


def in_name(name: str) -> datetime | None:
    """The point in time in an id or a folder's name, without a zone; None where there is none."""
    for found in _IN_NAME.finditer(name):
        try:
            return datetime(*(int(part) for part in found.groups()))  # type: ignore[arg-type]
        except ValueError:
            continue
    return None


def moment(value: object) -> datetime | None:
    """A line's stamp; aware where it states a zone."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        try:
            return datetime.fromtimestamp(value, UTC) if 1e9 < value < 4e9 else None
        except (ValueError, OverflowError, OSError):
            return None
    if not isinstance(value, str) or not 10 <= len(value) <= 64:
        return None
    try:
        return datetime.fromisoformat(value.strip())
    except ValueError:
        return None


def offset(named: datetime, first: datetime) -> timedelta | None:
    """How far a name's local time is behind UTC, by the first stamped line; None where it cannot be said.

    A line without a zone that is whole quarters of an hour away from its name is in UTC; one that is not, is local.
    """
    apart = plain(first) - named
    quarters = (apart + _QUARTER / 30) // _QUARTER
    whole = quarters * _QUARTER
    hours = -whole / timedelta(hours=1)
    if (first.tzinfo is None and not whole) or not (hours.is_integer() or hours in _ODD_ZONES):
        return None
    return whole if abs(whole) <= _FARTHEST and apart - whole <= _LATE else None


def plain(when: datetime) -> datetime:
    """For comparing: UTC without a zone where the stamp states one, else as it is written."""
    return when.astimezone(UTC).replace(tzinfo=None) if when.tzinfo is not None else when
