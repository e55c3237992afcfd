"""Answers from an older layout: a migrated session's salvaged responses, each given once.

Which one was given to whom is noted in the archive, so that a later start gives it to the same call again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from custody import layout
from custody.errors import ArchiveDamaged
from custody.exchange import Replay, RequestHead
from custody.hookspecs import hookimpl
from custody.identity import Identity
from custody.journal.archive import Archive
from custody.salvage import asked as asking
from custody.salvage import matching, shapes, stored
from custody.salvage.asked import Asked
from custody.salvage.matching import Bindings
from custody.salvage.stored import Salvaged
from custody.storage import Lock, Storage

log = logging.getLogger("custody")

_PATIENCE = 2.0  # seconds between a claim of an answer and the note of it, that another process is given


class _Shelf:
    """The salvaged answers of one open session."""

    def __init__(self, archive: Archive, storage: Storage) -> None:
        self.archive, self.storage = archive, storage
        self.answers = {one.id: one for one in stored.answers(archive)}
        self.given: dict[Identity, str] = {}
        self.used: set[str] = set()
        self.held: list[Lock] = []
        self.bound = Bindings()
        self.told: set[str] = set()
        self._read = 0

    def take_news(self) -> None:
        """What has been given by others, or by an earlier start."""
        notes, self._read = self.archive.notes[self._read :], len(self.archive.notes)
        for one in stored.given(notes):
            answer = self.answers.get(one.salvaged)
            if answer is not None and one.salvaged not in self.used:
                self.note(one.identity, answer, asking.labelled(one.labels))

    def note(self, identity: Identity, answer: Salvaged, asked: Asked) -> None:
        self.given[identity] = answer.id
        self.used.add(answer.id)
        self.bound.bind(asked, answer)

    def claim(self, answer: Salvaged) -> bool:
        """Keep an answer from other processes for as long as this one lives; then the note does."""
        lock = self.storage.claim(layout.CLAIMS, f"salvaged\0{answer.id}".encode())
        if lock is not None:
            self.held.append(lock)
        return lock is not None

    def claim_or_news(self, answer: Salvaged) -> bool:
        """Claim an answer, and read what others were given. One who holds it says so in a moment, or has died."""
        until = time.monotonic() + _PATIENCE
        while not (mine := self.claim(answer)):
            self.news()
            if answer.id in self.used or time.monotonic() > until:
                return False
            time.sleep(0.01)
        self.news()  # who had it before has said so
        return mine

    def news(self) -> None:
        self.archive.refresh()
        self.take_news()

    def prompt(self, answer: Salvaged) -> str | None:
        try:
            return stored.prompt(self.archive, answer)
        except ArchiveDamaged:
            return None


class Plugin:
    """Does nothing in a session that was not migrated."""

    def __init__(self) -> None:
        self._shelf: _Shelf | None = None
        self._lock = threading.RLock()

    @hookimpl
    def session_opened(self, session: Mapping[str, Any]) -> None:
        self._shelf = None
        if stored.is_migrated(session["storage"]):
            self._shelf = _Shelf(session["archive"], session["storage"])
            _tell_of_better(session, len(self._shelf.answers))

    @hookimpl
    def session_closed(self) -> None:
        shelf, self._shelf = self._shelf, None
        for lock in shelf.held if shelf is not None else ():
            lock.release()

    @hookimpl(trylast=True)
    def before_send(
        self, identity: Identity, request: RequestHead, labels: Mapping[str, Any], body: bytes
    ) -> Replay | None:
        shelf = self._shelf
        if shelf is None or shelf.archive.answer(identity) is not None:
            return None
        with self._lock:
            shelf.take_news()
            if identity not in shelf.given and len(shelf.used) < len(shelf.answers):
                shelf.news()  # another process may have been given one
            known = shelf.given.get(identity)
            if known is not None:
                return self._replay(shelf, shelf.answers[known], request, body, None)
            return self._first_time(shelf, identity, request, asking.read(labels, request, body), body)

    def _first_time(
        self, shelf: _Shelf, identity: Identity, request: RequestHead, asked: Asked, body: bytes
    ) -> Replay | None:
        free = [one for one in shelf.answers.values() if one.id not in shelf.used]
        fitting, how = matching.candidates(asked, free, shelf.bound, shelf.prompt)
        for answer in fitting:
            prompt = shelf.prompt(answer)
            same = "not_recorded" if prompt is None else "equal" if matching.same_texts(asked, prompt) else "differs"
            note = {
                "note": stored.NOTE, "call": answer.id, "origin": answer.origin, "scope": dict(asked.labels),
                "scope_key": identity.scope, "request_key": identity.key, "replicate": identity.replicate,
                "matched_by": how, "prompt": same,
            }  # fmt: skip
            replay = self._replay(shelf, answer, request, body, note)
            if replay is None:
                continue
            known = len(shelf.used)
            mine = shelf.claim_or_news(answer)
            if len(shelf.used) > known:  # what another process was given decides what is left for this one
                given = shelf.given.get(identity)
                if given is not None:
                    return self._replay(shelf, shelf.answers[given], request, body, None)
                return self._first_time(shelf, identity, request, asked, body)
            if not mine:
                continue
            shelf.note(identity, answer, asked)
            self._tell(shelf, answer, same)
            return replay
        return None

    def _replay(
        self, shelf: _Shelf, answer: Salvaged, request: RequestHead, body: bytes, note: dict[str, Any] | None
    ) -> Replay | None:
        try:
            text = stored.text(shelf.archive, answer)
        except ArchiveDamaged as error:
            log.error("custody: a salvaged answer cannot be given: %s. Run custody verify", error)
            return None
        model = asking.read({}, request, body).model
        at = int(datetime.fromisoformat(answer.ended).timestamp())
        made = shapes.shaped(request, body, text, call=answer.id, model=model, tokens=answer.tokens, at=at)
        if made is None:
            return None
        head, chunks = made
        return Replay(answer.id, head, chunks, decoded=True, origin="reconstructed", note=note)

    def _tell(self, shelf: _Shelf, answer: Salvaged, prompt: str) -> None:
        if not shelf.told:
            log.warning(
                "custody: answers salvaged from an older layout are given in place of calls, the first to %s. They "
                "were not captured by custody: such a response has the header %s: reconstructed",
                " ".join(f"{k}={v}" for k, v in answer.call.fields["scope"].items()) or "a call without labels",
                shapes.ORIGIN_HEADER,
            )
        if prompt == "differs" and "differs" not in shelf.told:
            log.warning(
                "custody: a salvaged answer is given by its labels, though the prompt is not the one that was stored "
                "with it (call %s); its note in the archive says so",
                answer.id,
            )
        shelf.told |= {"given", prompt}


def _tell_of_better(session: Mapping[str, Any], here: int) -> None:
    """An experiment's newest session is the one that is continued, and may hold less than an earlier one."""
    found = stored.siblings(Path(session["path"]))
    name, most = max(found.items(), key=lambda one: one[1], default=("", 0))
    if most > here:
        log.warning(
            "custody: session %s holds %d salvaged answers, and %s of the same experiment holds %d. Answers of one are "
            "not used in the other: to continue that one, --session %s",
            session["session"], here, name, most, name,
        )  # fmt: skip
