"""Answers from the session's own archive."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from custody.errors import ArchiveDamaged, StorageError
from custody.exchange import Replay
from custody.hookspecs import hookimpl
from custody.identity import Identity
from custody.journal.archive import Archive, StoredCall, StoredResponse, replay_head

log = logging.getLogger("custody")


class Plugin:
    """Holds the archive of the open session, which ``session_opened`` brings."""

    def __init__(self) -> None:
        self._archive: Archive | None = None

    @hookimpl
    def session_opened(self, session: Mapping[str, Any]) -> None:
        self._archive = session["archive"]

    @hookimpl
    def session_closed(self) -> None:
        self._archive = None

    @hookimpl(trylast=True)
    def before_send(self, identity: Identity) -> Replay | None:
        found = self._readable(identity)
        if found is None:
            return None
        call, response = found
        exhausted = None
        if response.ending == "closed_early":
            exhausted = (
                f"call {call.id} is a stream that the recorded program closed early; this program reads past the end "
                "of what was recorded. Make it stop where it did, or ask in another scope for a new answer"
            )
        chunks = tuple(chunk.data for chunk in response.chunks)
        return Replay(call.id, replay_head(call, response), chunks, response.decoded, exhausted)

    def _readable(self, identity: Identity) -> tuple[StoredCall, StoredResponse] | None:
        """The archived answer. One whose bytes are damaged is said to be, and passed over."""
        archive = self._archive
        while archive is not None and (call := archive.answer(identity)) is not None:
            try:
                response = archive.response(call)
            except ArchiveDamaged as error:
                log.error("custody: an archived answer cannot be replayed: %s. Run custody verify", error)
                response = None
            except OSError as error:
                raise StorageError(
                    f"the archived answer {call.id} cannot be read ({error}); nothing was sent"
                ) from error
            if response is not None:
                return call, response
            archive.discard(identity)
        return None
