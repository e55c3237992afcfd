"""Where records go when the archive cannot take them, and how they come back.

``<spill>/<unique name of the session>/<writer>.jsonl`` holds sealed lines as they would have stood in a segment. The
folder is ``CUSTODY_SPILL_DIR``, else the first writable of ``$XDG_STATE_HOME/custody/spill``,
``~/.local/state/custody/spill`` and the system's temporary folder.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from custody import layout
from custody.errors import StorageError
from custody.journal import lines
from custody.journal.segments import number_of, segments, writer_of
from custody.storage import Storage


def folders() -> list[Path]:
    """Candidates, best first."""
    own = os.environ.get("CUSTODY_SPILL_DIR")
    if own:
        return [Path(own)]
    state = os.environ.get("XDG_STATE_HOME")
    found = [Path(state, "custody", "spill")] if state else []
    home = os.environ.get("HOME")
    if home:
        found.append(Path(home, ".local", "state", "custody", "spill"))
    return [*found, Path(tempfile.gettempdir(), f"custody-spill-{os.getuid()}")]


def keep(session: str, writer: str, sealed: list[bytes]) -> str:
    """Write lines durably to the first folder that takes them. Raises OSError where none does."""
    last: OSError | None = None
    for folder in folders():
        path = folder / session / f"{writer}.jsonl"
        try:
            made(folder, session)
            _append(path, b"".join(sealed))
            return str(path)
        except OSError as error:
            last = error
    raise last or OSError("no spill folder")


def made(folder: Path, session: str) -> Path:
    """The folder of a session in ``folder``, which is made. Raises OSError."""
    path = folder / session
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_uid != os.getuid() and "CUSTODY_SPILL_DIR" not in os.environ:
        raise PermissionError(f"{folder} belongs to somebody else")
    return path


def pending(session: str) -> list[Path]:
    """The files of a session that wait to be taken in."""
    return [path for folder in folders() for path in sorted((folder / session).glob("*.jsonl"))]


def waiting() -> dict[str, list[Path]]:
    """All files that wait, by the unique name of their session, which begins with its id."""
    found: dict[str, list[Path]] = {}
    for folder in folders():
        with contextlib.suppress(OSError):
            for path in sorted(folder.glob("*/*.jsonl")):
                found.setdefault(path.parent.name, []).append(path)
    return found


def take_in(session: str, storage: Storage) -> int:
    """Move spilled lines of a session into its archive; gives the number of files taken in.

    A crash on the way leaves a file to be taken in once more: readers drop lines that they have seen.
    Raises StorageError where the archive does not take them; they stay where they are then.
    """
    taken = 0
    for folder in folders():
        for path in sorted((folder / session).glob("*.jsonl")):
            try:
                add(storage, session.partition("-")[0], path.stem, path.read_bytes())  # the unique name begins with it
                path.unlink()
            except OSError as error:
                raise StorageError(
                    f"the records kept in {path} cannot be taken into the archive ({error.strerror}); "
                    "free space or mend the storage, then run the same command again"
                ) from error
            taken += 1
    return taken


def add(storage: Storage, session: str, writer: str, sealed: bytes) -> None:
    """A new segment of a writer that is gone, with these lines. ``session``: its id. Raises OSError."""
    numbers = [
        number_of(name) or 0
        for name, _ in segments(storage, f"{layout.ARCHIVE}/{writer}-")
        if writer_of(name) == writer
    ]
    number = max(numbers, default=0) + 1
    log = storage.create_log(f"{layout.ARCHIVE}/{writer}-{number:06d}.jsonl")
    log.append(lines.opening(session, writer, number) + sealed)
    log.sync()
    log.close()


def _append(path: Path, data: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        size = file.tell()
        try:
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
            os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(size)  # the next folder gets all of it
            raise
    for folder in (path.parent, path.parent.parent):  # the names, too, have to survive
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
