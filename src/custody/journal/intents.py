"""Requests that are about to be sent, on this machine, until the archive has them for good.

A storage that takes what was appended only at the next sync (an object store: 50 ms later) has nothing of a request
when its program is killed a moment after sending it. So the request line is written here, too, without a sync: it
outlives the kill, and the next start on this machine takes in what the archive does not have. That call is in doubt
then, which is said, and not paid again unseen.

``<spill>/<unique name of the session>/<writer>.intents-0`` and ``-1`` are used in turn, so that neither grows for as
long as its program runs. All of it is as good as it can be: where no folder can be written, calls go on without.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from custody.errors import StorageError
from custody.journal import lines, spill
from custody.journal.archive import Archive
from custody.storage import KeepsAppends, Storage

log = logging.getLogger("custody")

TURN_BYTES = 1024 * 1024


class Intents:
    """Of one writer. Under its journal's lock."""

    def __init__(self, session: str, writer: str, *, turn_bytes: int = TURN_BYTES) -> None:
        self._session, self._writer, self._turn_bytes = session, writer, turn_bytes
        self._folder: Path | None = None
        self._files: list[int] = []  # descriptors; the first one is written to
        self._size = 0
        self._last = [0, 0]  # line numbers
        self._done = 0
        self._works = True

    def note(self, number: int, line: bytes) -> None:
        """``line`` has this number, and is to be sent."""
        if not self._works:
            return
        try:
            if not self._files:
                self._open()
            elif self._size > self._turn_bytes and self._last[1] <= self._done:
                self._files.reverse()
                self._last.reverse()
                os.ftruncate(self._files[0], 0)
                self._size = 0
            os.write(self._files[0], line)
        except OSError as error:
            log.warning("custody: requests are not noted on this machine before they are sent (%s)", error)
            self._works = False
            return
        self._size += len(line)
        self._last[0] = number

    def done(self, number: int) -> None:
        """The archive has the lines up to this number."""
        self._done = max(self._done, number)

    def close(self) -> None:
        """Takes the files away, unless there is something in them that the archive does not have."""
        files, self._files = self._files, []
        for each in files:
            with contextlib.suppress(OSError):
                os.close(each)
        if self._folder is not None and max(self._last) <= self._done:
            _remove(_names(self._folder, self._writer))
        self._works = False

    def _open(self) -> None:
        last: OSError | None = None
        for folder in spill.folders():
            try:
                self._folder = spill.made(folder, self._session)
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._files = [os.open(name, flags, 0o600) for name in _names(self._folder, self._writer)]
                return
            except OSError as error:
                last = error
        raise last or OSError("no spill folder")


def wanted(storage: Storage) -> bool:
    """Whether what is appended to this storage dies with its process."""
    return not isinstance(storage, KeepsAppends)


def take_in(session: str, session_id: str, archive: Archive) -> int:
    """Put into the archive what it lacks of what writers of this machine have sent; gives the number of requests.

    Of a session that nobody has open, its archive read. Raises StorageError.
    """
    taken = 0
    for folder in spill.folders():
        writers = sorted({path.name.partition(".")[0] for path in (folder / session).glob("*.intents-[01]")})
        for writer in writers:
            names = _names(folder / session, writer)
            data = dict(
                sorted((number, line) for number, line in _lines(names) if not archive.has_line(writer, number))
            )
            if data:
                try:
                    spill.add(archive.storage, session_id, writer, b"".join(data.values()))
                except OSError as error:
                    raise StorageError(
                        f"the requests noted in {folder / session} cannot be taken into the archive "
                        f"({error.strerror or error}); mend the storage, then run the same command again"
                    ) from error
                taken += len(data)
            _remove(names)
    if taken:
        archive.refresh()
    return taken


def _lines(names: list[Path]) -> Iterator[tuple[int, bytes]]:
    for name in names:
        with contextlib.suppress(OSError):
            for line in name.read_bytes().split(b"\n")[:-1]:
                head = lines.head(line)
                if head is not None and lines.check(line):
                    yield head.seq, line + b"\n"


def _names(folder: Path, writer: str) -> list[Path]:
    return [folder / f"{writer}.intents-{number}" for number in range(2)]


def _remove(names: list[Path]) -> None:
    for name in names:
        with contextlib.suppress(OSError):
            name.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        names[0].parent.rmdir()  # where nothing else waits in it
