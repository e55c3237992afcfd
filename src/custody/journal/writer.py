"""The journal's one writer in this process: append at once, commit in groups.

``append`` hands lines to the storage before it returns (a local file's page cache survives
``kill -9``). ``Ack.wait`` makes them durable: whoever comes first syncs for all that was appended by
then, the others find their lines covered and return, so one fdatasync serves all calls that finish
together and a lone caller pays no thread switch. Coroutines hand the same wait to one helper thread.

When an append or a sync fails, the page state of that file is unknown: the segment is left behind,
and every line that was not acknowledged is written again to a new one. Where that fails too, the lines
go to the spill, and ``healthy`` is False until a later append succeeds. What the spill refuses as well
is held in memory and tried again.

The locks are reentrant because an abandoned stream ends whenever the garbage collector or a signal
handler runs, which may be in the middle of an append of the same thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any

from custody import layout
from custody.errors import AnswerNotArchived, ArchiveUnavailable, StorageError
from custody.journal import lines
from custody.journal.closing import Closer
from custody.journal.intents import Intents
from custody.journal.waiting import OnLoop, SyncThread, Waiting
from custody.redact import Redactor
from custody.storage import Log, Storage

log = logging.getLogger("custody")

ROTATE_BYTES = 64 * 1024 * 1024  # what a start has to read where a crash left the last segment without an index
RETRY_SECONDS = 1.0  # between attempts at a storage that fails; each one leaves a segment behind

Spill = Callable[[str, list[bytes]], str]
"""Keeps a writer's sealed lines elsewhere and says where; raises OSError where it cannot."""


def new_writer_id() -> str:
    """A name that no other writer of the session has, sorting by time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


class Journal:
    """Appends sealed lines to segments ``llm_archive/<writer>-<nnnnnn>.jsonl``. Thread-safe."""

    def __init__(
        self,
        storage: Storage,
        session: str,
        redactor: Redactor,
        spill: Spill,
        *,
        sync_intent: bool = False,
        rotate_bytes: int = ROTATE_BYTES,
        closer: Closer | None = None,
        intents: Callable[[str], Intents] | None = None,
    ) -> None:
        self.sync_intent, self._noting = sync_intent, intents
        self._storage, self._session, self._redactor, self._spill = storage, session, redactor, spill
        self._rotate_bytes, self._closer = rotate_bytes, closer
        self._begin()

    def _begin(self) -> None:
        """The state of a writer that has written nothing."""
        self.writer = new_writer_id()
        self._intents = self._noting(self.writer) if self._noting is not None else None
        self._append_lock = threading.RLock()
        self._sync_lock = threading.RLock()
        self._log: Log | None = None
        self._name = ""
        self._full: list[tuple[Log, str]] = []  # rotated away, not yet synced, with their names
        self._log_bytes = 0
        self._segment = 0
        self._seq = 0
        self._ids = 0
        self._synced = 0  # lines up to this number are durable, or spilled
        self._pending: list[tuple[int, bytes]] = []  # appended, not yet durable
        self._trouble: str | None = None
        self._told = False  # of the spill, once for each trouble
        self._retry_at = 0.0
        self._lost: dict[int, str] = {}  # pending, and refused by archive and spill
        self._helper: SyncThread | None = None
        self._pid = os.getpid()

    @property
    def healthy(self) -> bool:
        """False while the archive refuses what it is given."""
        return self._trouble is None

    @property
    def lost(self) -> int:
        """How many lines neither the archive nor the spill has taken; they are tried again at every turn."""
        return len(self._lost)

    def next_id(self) -> str:
        """An id for a call, unique in the session."""
        self._check_fork()
        with self._append_lock:
            self._ids += 1
            return f"{self.writer}-{self._ids:06d}"

    def require_healthy(self) -> None:
        """Raises ArchiveUnavailable while the archive does not work: no further paid call then."""
        with self._append_lock:
            trouble = self._trouble
            if trouble is None:
                return
            self._recover()
            if self._trouble is None:
                self.append([("note", {"note": "archive_works_again", "trouble": trouble})])
        if self._trouble is not None:
            raise ArchiveUnavailable(
                f"the archive of {self._session} cannot be written ({self._trouble}); no further paid call is sent. "
                "Free space or mend the storage, then run the same command again"
            )

    def append(self, records: list[tuple[str, dict[str, Any]]]) -> tuple[int, list[bytes]]:
        """Seal and append lines; gives the last one's number and the sealed bytes, newlines included.

        Never raises for a failing storage: what it could not take is kept, see ``Ack.wait``.
        """
        self._check_fork()
        with self._append_lock:
            first = 0
            while first != self._seq + 1:  # again where another append came in between, by reentrance
                first = self._seq + 1
                sealed = [
                    lines.seal(
                        self._redactor.scrub(lines.unsealed(kind, number, fields), answer=kind in ("response", "chunk"))
                    )
                    for number, (kind, fields) in enumerate(records, first)
                ]
            last = first + len(sealed) - 1
            try:
                self._seq = last
                self._pending += enumerate(sealed, first)
                if self._intents is not None and records[0][0] == "request":
                    self._intents.note(last, sealed[-1])
                self._put(b"".join(sealed))
            except BaseException as error:  # Ctrl-C in the middle of a write: the segment may end torn
                self._leave_segments(error)
                raise
            return last, sealed

    def ack(self, number: int, *, status: int | None = None, body: bytes = b"") -> JournalAck:
        """The word that the lines up to ``number`` are durable; the answer goes with the error if not."""
        return JournalAck(self, number, status, body)

    def sync_to(self, number: int) -> None:
        """Return when the lines up to ``number`` are durable or spilled. Raises StorageError when lost."""
        self._check_fork()
        with self._sync_lock:
            # Once is enough, unless an append was interrupted meanwhile.
            while self._synced < min(number, self._seq) and number not in self._lost:
                self._sync()
        lost = self._lost.get(number)
        if lost is not None:
            raise StorageError(lost)

    def is_synced(self, number: int) -> bool:
        """Whether the lines up to ``number`` are durable or spilled already."""
        return number <= self._synced and number not in self._lost

    def sync_later(self, number: int, done: Waiting) -> None:
        """``sync_to`` in the helper thread; resolves ``done``."""
        self._check_fork()
        if sys.is_finalizing():  # no thread starts any more: starting one would wait for ever
            with contextlib.suppress(StorageError, OSError):
                self.sync_to(number)
                done.set_result(None)
            return
        with self._append_lock:  # close() takes the helper away under it: nothing is put behind its end
            if self._helper is None:
                self._helper = SyncThread(self.sync_to, self.is_synced)
            self._helper.put(number, done)

    def close(self) -> None:
        """Make everything durable and let go of the segment. Safe to call twice."""
        self._check_fork()
        with self._sync_lock:
            self._sync()
            with self._append_lock:
                helper, self._helper = self._helper, None
                if self._log is not None:
                    self._full.append((self._log, self._name))
                    self._log = None
                if self._intents is not None:
                    self._intents.close()
                if not self._pending:  # else an append came in between; its sync lets go of the segment
                    self._let_go(whole=self._trouble is None)
        if helper is not None:
            helper.stop()
        if self._closer is not None:
            self._closer.finish()

    def _check_fork(self) -> None:
        """A forked child is another writer: parent and child in one segment would tear each other's lines."""
        if self._pid != os.getpid():
            self._begin()

    # -- below: with the append lock held ---------------------------------------------------------

    def _put(self, data: bytes) -> None:
        if self._trouble is not None:
            if time.monotonic() >= self._retry_at:
                self._recover()
            else:
                self._spill_pending()
            return
        try:
            if self._log is None or self._log_bytes >= self._rotate_bytes:
                self._rotate()
            assert self._log is not None
            self._log.append(data)
            self._log_bytes += len(data)
        except Exception as error:
            self._leave_segments(error)
            self._recover()

    def _rotate(self) -> None:
        if self._log is not None:
            self._full.append((self._log, self._name))  # synced with the next commit: no append waits for the disk
            self._log = None
        self._segment += 1
        self._name = name = f"{layout.ARCHIVE}/{self.writer}-{self._segment:06d}.jsonl"
        self._log = self._storage.create_log(name)
        if self._closer is not None:
            self._closer.begun(name)
        first = lines.opening(self._session, self.writer, self._segment)
        self._log.append(first)
        self._log_bytes = len(first)

    def _leave_segments(self, error: BaseException) -> None:
        self._trouble = _describe(error)
        if self._log is not None:
            self._full.append((self._log, self._name))
            self._log = None
        self._let_go(whole=False)

    def _let_go(self, *, whole: bool) -> None:
        """``whole``: all of them are synced, so that they can be closed for good; else the next start looks at them."""
        while self._full:
            each, name = self._full.pop()
            with contextlib.suppress(Exception):
                each.close()
            if whole and self._closer is not None:
                self._closer.closed(name)

    def _recover(self) -> None:
        """Write what is pending to a new segment; else to the spill; else it is lost, and known to be."""
        self._retry_at = time.monotonic() + RETRY_SECONDS
        try:
            self._rotate()
            assert self._log is not None
            self._log.append(b"".join(data for _, data in self._pending))
            self._log.sync()
        except BaseException as error:  # Ctrl-C, too, while a server is silent: there may be no other chance
            self._leave_segments(error)
            self._spill_pending()
            if not isinstance(error, Exception):
                raise
        else:
            if self._trouble is not None:
                log.warning("custody: the archive failed (%s) and works again in a new segment", self._trouble)
            self._trouble, self._told = None, False
            self._done_to(self._pending[-1][0] if self._pending else self._synced)

    def _spill_pending(self) -> None:
        if not self._pending:
            return
        try:
            where = self._spill(self.writer, [data for _, data in self._pending])
        except Exception as error:
            text = f"archive: {self._trouble}; spill: {_describe(error)}"
            if not self._lost:
                log.error("custody: NOT ARCHIVED: %s", text)
            self._lost = dict.fromkeys((number for number, _ in self._pending), text)
        else:
            self._done_to(self._pending[-1][0])
            if self._told:
                return
            self._told = True
            log.error(
                "custody: the archive cannot be written (%s); records are kept in %s and taken in again when the "
                "session is next opened. No further paid call is sent until the archive works",
                self._trouble,
                where,
            )

    def _done_to(self, number: int) -> None:
        self._synced = max(self._synced, number)
        if self._intents is not None:
            self._intents.done(self._synced)
        self._pending = [(n, data) for n, data in self._pending if n > number]
        if self._lost:
            self._lost = {n: text for n, text in self._lost.items() if n > number}

    # -- with the sync lock held ------------------------------------------------------------------

    def _sync(self) -> None:
        with self._append_lock:
            target, full, current = self._seq, list(self._full), self._log
            if self._synced >= target:
                return
            if self._trouble is not None or not (full or current):
                self._recover()  # what is pending stands in no segment that could be synced
                return
        try:
            for each in (*(log for log, _ in full), *([current] if current is not None else ())):
                each.sync()
        except Exception as error:
            with self._append_lock:
                if self._synced < target:  # else a failing append has written everything again meanwhile
                    self._leave_segments(error)
                    self._recover()
            return
        with self._append_lock:
            if self._trouble is None:
                self._done_to(target)
                for rotated in full:
                    if rotated in self._full:
                        self._full.remove(rotated)
                        rotated[0].close()
                        if self._closer is not None:
                            self._closer.closed(rotated[1])


class JournalAck:
    """An ``exchange.Ack`` on one writer's line number."""

    def __init__(self, journal: Journal, number: int, status: int | None, body: bytes) -> None:
        self._journal, self._number, self._status, self._body = journal, number, status, body

    def wait(self) -> None:
        try:
            self._journal.sync_to(self._number)
        except StorageError as error:
            raise self._not_archived(error) from error

    async def awaited(self) -> None:
        if self._journal.is_synced(self._number):
            return
        try:
            try:
                waiter = OnLoop(asyncio.get_running_loop())
            except RuntimeError:  # trio: no asyncio loop
                import anyio.to_thread

                done: Future[None] = Future()
                self._journal.sync_later(self._number, done)
                await anyio.to_thread.run_sync(done.result)
            else:
                self._journal.sync_later(self._number, waiter)
                await waiter.future
        except StorageError as error:
            raise self._not_archived(error) from error

    def _not_archived(self, error: StorageError) -> AnswerNotArchived:
        return AnswerNotArchived(
            f"the vendor answered, but the answer could not be archived ({error}); "
            "it is in this error's .body. Save it before going on",
            status=self._status,
            body=self._body,
        )


def _describe(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return f"{os.strerror(error.errno)}: {error.filename}" if error.filename else os.strerror(error.errno)
    return f"{type(error).__name__}: {error}"
