"""A call in doubt, as a vendor's plugin is asked about it: plain data, no I/O.

The plugin's part is a generator: it yields addresses to be asked with GET, is sent the answers, and
returns what it has found, or in one sentence why it has found nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import datetime

from custody.exchange import Claim, Headers, RequestHead, ResponseHead


@dataclass(frozen=True, slots=True)
class Doubt:
    """A call that was sent and has no outcome on record, and is asked for again.

    Attributes:
        claim: whose traffic it is.
        request, body: what is asked now, which is what was asked then.
        sent: when it was sent last, UTC by this machine's clock.
        until: when this run began, UTC; what the vendor made later is none of the lost calls.
        arrived: what came of the response before the stop: its head, None where nothing came, and its bytes
            without a content-encoding.
        rivals: how many calls of the session that ask the same are in doubt, this one included.
        taken: whether one of the vendor's answers, by its id, is the answer of another call on record.
        take: reserves one of the vendor's answers by its id, until this call is on record; False where another
            call has it.
    """

    claim: Claim
    request: RequestHead
    body: bytes
    sent: datetime
    until: datetime
    arrived: tuple[ResponseHead | None, bytes]
    rivals: int
    taken: Callable[[str], bool]
    take: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Told:
    """What the vendor said to a question. ``body`` is without its content-encoding.

    Attributes:
        status: HTTP status.
        headers: as received.
        at: when it came, UTC by this machine's clock.
    """

    status: int
    headers: Headers
    body: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """The answer of the call in doubt.

    Attributes:
        told: what the vendor said to the last question; its body is handed to the SDK as the answer.
        how: where it was ("stored completion"), in a word or two; it is written onto the call line.
        id: the answer's id at the vendor.
    """

    told: Told
    how: str
    id: str


Questions = Generator[str, Told, "Found | str"]
"""Yields URLs of the origin that the request goes to; they are asked with the request's own headers."""
