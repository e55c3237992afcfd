"""What a reader keeps of a call: which lines are its, and what decides whether it answers. No content.

Every call line is read once, when its segment is scanned; of 10^6 calls only this much is kept, and the line itself is
read again when somebody asks for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

from custody.exchange import parse_json
from custody.identity import Identity
from custody.journal.scan import Place

REPLAYABLE = ("complete", "closed_early")

_CALL = frozenset("id ending answers scope_key request_key replicate".split())
"""Without these a call line cannot be used, though its checksum be right."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# The fields that are wanted of a line that this version wrote. They stand in this order; a quotation mark inside a
# text is escaped, and no label holds an object, so that nothing in a line can pose as them.
_FIRST = re.compile(
    rb'\{"kind":"call","seq":\d+,"id":"([^"\\]+)","session":"[^"\\]*","started":"([^"\\]*)","ended":"([^"\\]*)",'
    rb'"outcome":"[^"\\]*","success":(?:true|false),"answers":(true|false),"ending":"([a-z_]+)","status":(null|\d+),'
)
_IDENTITY = re.compile(
    rb'\},"run_number":(?:null|-?\d+),"scope_key":"([^"\\]+)","request_key":"([^"\\]+)","replicate":(\d+),'
    rb'"operation":"[^"\\]*","streamed":(?:true|false),"source":"([a-z]+)",'
)
# The same for who wants names only: what is not wanted is not looked at byte by byte. A stamp has 27 characters, a key
# 64. A line that is not so is looked at as any other program's.
_FIRST_NAMED = re.compile(
    rb'\{"kind":"call","seq":\d+,"id":"([^"\\]+)","session":"[^"\\]*","started":".{27}","ended":".{27}",'
    rb'"outcome":"[^"\\]*","success":(?:true|false),"answers":(?:true|false),"ending":"[a-z_]+","status":(?:null|\d+),',
    re.DOTALL,
)
_LABELLED = b'},"run_number":'
_IDENTITY_NAMED = re.compile(
    rb'\},"run_number":(?:null|-?\d+),"scope_key":".{64}","request_key":".{64}","replicate":\d+,'
    rb'"operation":"[^"\\]*","streamed":(?:true|false),"source":"[a-z]+","redacted":(?:true|false),"attempts":\[',
    re.DOTALL,
)
_ATTEMPTED = b'],"model_forensics":{'
_ATTEMPT = re.compile(rb'\{"exchange":"([^"\\]+)"')


_COMMITMENT = re.compile(
    rb'\{"exchange":"([^"\\]+)","status":[^{}]*,"request_sha256":(?:null|"([0-9a-f]{64})"),'
    rb'"response_sha256":(?:null|"([0-9a-f]{64})")\}'
)

_ON_WIRE = (b"wire", b"reconciled")


Commitment = tuple[str | None, str | None]
"""SHA-256 of the lines of a request, and of its response; None where a call line states none."""


class Summary(NamedTuple):
    """What is wanted of a call line. Times are microseconds since 1970 in UTC, 0 where they are not stated."""

    id: str
    identity: Identity
    started: int
    ended: int
    answers: bool
    failed: bool
    on_wire: bool
    exchanges: tuple[str, ...]


def named(line: bytes) -> tuple[bytes, list[bytes]] | None:
    """Ids of a call and of its exchanges: what a verifier wants of 10^6 lines. None as for ``summary``."""
    found = _attempts(line)
    if found is not None:
        return found[0], _ATTEMPT.findall(line, found[1], found[2])
    made = summary(line)
    return (made.id.encode(), [name.encode() for name in made.exchanges]) if made is not None else None


def committed_to(line: bytes) -> dict[bytes, Commitment]:
    """What a call line, of which there is a ``summary``, commits to, by exchange."""
    found = _attempts(line)
    if found is not None:
        stated = _COMMITMENT.findall(line, found[1], found[2])
        if len(stated) == len(_ATTEMPT.findall(line, found[1], found[2])):
            return {name: (request.decode() or None, response.decode() or None) for name, request, response in stated}
    attempts = (parse_json(line) or {}).get("attempts") or ()
    return {a["exchange"].encode(): (a.get("request_sha256"), a.get("response_sha256")) for a in attempts}


def _attempts(line: bytes) -> tuple[bytes, int, int] | None:
    """Of a line that this version wrote: its id, and where its attempts begin and end."""
    first = _FIRST_NAMED.match(line)
    which = _IDENTITY_NAMED.match(line, line.find(_LABELLED, first.end())) if first is not None else None
    if first is None or which is None:
        return None
    begin = which.end()
    end = line.find(_ATTEMPTED, begin)
    return (first[1], begin, end) if end >= 0 and line.find(b"\\", begin, end) < 0 else None


def _parts(line: bytes) -> tuple[re.Match[bytes], re.Match[bytes], int, int] | None:
    """Of a line that this version wrote: its first fields, its identity, where its attempts begin and end."""
    first = _FIRST.match(line)
    which = _IDENTITY.match(line, line.find(_LABELLED, first.end())) if first else None
    begin = line.find(b'"attempts":[', which.end()) if which else -1
    end = line.find(_ATTEMPTED, begin) if begin >= 0 else -1
    if first is None or which is None or end < 0 or line.find(b"\\", begin, end) >= 0:
        return None
    return first, which, begin, end


def summary(line: bytes) -> Summary | None:
    """None where the line lacks what makes a call."""
    parts = _parts(line)
    if parts is None:
        return _parsed(line)
    first, which, begin, end = parts
    identity = Identity(which[1].decode(), which[2].decode(), int(which[3]))
    ending, failed = first[5].decode(), first[6] != b"null" or first[5] == b"no_response"
    answers = first[4] == b"true" and ending in REPLAYABLE
    names = tuple(name.decode() for name in _ATTEMPT.findall(line, begin, end))
    started, ended = _micros(first[2].decode()), _micros(first[3].decode())
    return Summary(first[1].decode(), identity, started, ended, answers, failed, which[4] in _ON_WIRE, names)


def _parsed(line: bytes) -> Summary | None:
    """The same for a line that another version, or another program, wrote."""
    fields = parse_json(line)
    if not isinstance(fields, dict) or not _CALL.issubset(fields):
        return None
    attempts = fields.get("attempts") or ()
    return Summary(
        str(fields["id"]),
        Identity(fields["scope_key"], fields["request_key"], fields["replicate"]),
        _micros(fields.get("started")),
        _micros(fields.get("ended")),
        bool(fields["answers"]) and fields["ending"] in REPLAYABLE,
        fields.get("status") is not None or fields["ending"] == "no_response",
        fields.get("source", "wire") in ("wire", "reconciled"),
        tuple(a["exchange"] for a in attempts if isinstance(a, dict) and isinstance(a.get("exchange"), str)),
    )


def _micros(stamp: object) -> int:
    if not isinstance(stamp, str):
        return 0
    if len(stamp) == 27 and stamp[26] == "Z":  # as ``stamps.stamp`` writes it; there are two in each of 10^6 lines
        try:
            return _second(stamp[:20]) + int(stamp[20:26])
        except ValueError:
            return 0
    try:
        delta = datetime.fromisoformat(stamp) - _EPOCH
    except (ValueError, TypeError):
        return 0
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


@lru_cache(maxsize=256)
def _second(stamp: str) -> int:
    """Microseconds from 1970 to a second, ``2026-11-29T12:02:40.``. Raises ValueError."""
    return int((datetime.fromisoformat(stamp[:19]).replace(tzinfo=UTC) - _EPOCH).total_seconds()) * 1_000_000


def digest(identity: Identity) -> bytes:
    """Under which an identity is looked up: 128 bits of SHA-256."""
    return sha256("\0".join(map(str, identity)).encode("utf-8", "surrogatepass")).digest()[:16]


def key_digest(key: str) -> bytes:
    """Under which all calls of one request key are found: 64 bits, so that a hit has to be checked."""
    return sha256(key.encode("utf-8", "surrogatepass")).digest()[:8]


@dataclass(slots=True)
class StoredExchange:
    """Places of an exchange's lines, in order of their numbers."""

    request: Place | None = None
    response: list[Place] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class StoredCall:
    """A call line's place, and those of its exchanges; the line itself is read when it is asked for.

    Attributes:
        digest, key: of its identity and of its request key.
        started, ended: microseconds since 1970, UTC.
        answers: it is replayed when it is asked for again.
        failed: it ended in a failure that a program saw.
    """

    id: str
    place: Place
    exchanges: dict[str, StoredExchange]
    digest: bytes
    key: bytes
    started: int
    ended: int
    answers: bool
    failed: bool
    load: Callable[[Place], dict[str, Any]] = field(repr=False)

    @property
    def fields(self) -> dict[str, Any]:
        """The call line. Raises ArchiveDamaged where it is damaged since it was scanned."""
        return self.load(self.place)

    @property
    def identity(self) -> Identity:
        fields = self.fields
        return Identity(fields["scope_key"], fields["request_key"], fields["replicate"])

    @property
    def terminal(self) -> str | None:
        """Id of the exchange that ended the call."""
        return next(reversed(self.exchanges), None)

    @property
    def process(self) -> str:
        """The writer of the call, which names its process."""
        return self.id.rpartition("-")[0]


def committed(fields: dict[str, Any]) -> dict[str, str | None]:
    """SHA-256 of each exchange's response lines, where a call line states it."""
    attempts = fields.get("attempts") or []
    return {a["exchange"]: a["response_sha256"] for a in attempts if "response_sha256" in a}
