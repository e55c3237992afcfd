"""What both of gRPC's APIs share: the turn of a request, and the status of an archived call."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator

from custody.exchange import Replay
from custody.seam import grpc_frames

log = logging.getLogger("custody")


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """A version of the library whose inner names are others is not covered; the program's import goes on."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        log.warning("custody: %s is not covered, its calls pass unrecorded (%r)", transport(), error)


def transport() -> str:
    """The library's name and version."""
    return f"grpc {getattr(sys.modules.get('grpc'), '__version__', '')}".strip()


def named(code: str) -> BaseException:
    """An error whose class is named like the status that the library gave itself."""
    made: BaseException = type(code, (Exception,), {})()
    return made


def initial_metadata(replay: Replay) -> grpc_frames.Metadata:
    """The initial metadata, as far as they are stored."""
    return grpc_frames.metadata_of(
        (name, value)
        for name, value in (replay.head.headers if replay.head is not None else ())
        if name.lower() not in ("content-type", "x-should-retry")
    )


def replayed_status(replay: Replay, body: grpc_frames.Body) -> tuple[int, str]:
    """Number and details of an archived call's status."""
    if body.number is not None:
        return body.number, body.details
    if replay.head is not None:
        return 0, ""
    names = list(grpc_frames.HTTP_STATUS)  # in the order of their numbers
    number = names.index(replay.error) if replay.error in names else names.index("UNAVAILABLE")
    said = "Deadline Exceeded" if replay.error == "DEADLINE_EXCEEDED" else ""
    return number, said or f"replayed: call {replay.call_id} got no response"


def exhausted(replay: Replay, body: grpc_frames.Body) -> str | None:
    """The message for a program that reads on where nothing is on record; with trailers there is an end."""
    return replay.exhausted if body.trailers is None else None
