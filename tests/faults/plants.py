"""Bugs to plant into custody, which the harness must catch: a harness that passes them is broken.

Each is planted from outside, by a name that has to be there: ``_set`` fails where custody was rebuilt and the
plant would no longer plant anything.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

_undo: list[Callable[[], None]] = []


def plant(name: str) -> None:
    """Break this process's custody."""
    globals()[f"_{name}"]()


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The same, until the end of the block."""
    plant(name)
    try:
        yield
    finally:
        while _undo:
            _undo.pop()()


def _set(owner: Any, name: str, value: Any) -> Any:
    before = vars(owner)[name]
    _undo.append(lambda: setattr(owner, name, before))
    setattr(owner, name, value)
    return before


# -- writing ------------------------------------------------------------------------------------------


def _buffered_in_memory() -> None:
    """Acknowledge what is only in this process's memory."""
    from custody.storage import local

    waiting: list[bytes] = []

    def append(self: Any, data: bytes) -> None:
        waiting.append(data)
        if sum(map(len, waiting)) > 40_000:
            os.write(self._fd, b"".join(waiting))
            waiting.clear()

    _set(local._LocalLog, "append", append)


def _early_ack() -> None:
    """Let the program go on before the disk has answered."""
    from custody.journal import writer

    async def awaited(self: Any) -> None:
        return None

    _set(writer.JournalAck, "wait", lambda self: None)
    _set(writer.JournalAck, "awaited", awaited)


def _no_sync() -> None:
    """Take the page cache for the disk."""
    from custody.storage import local

    _set(local, "_sync", lambda fd: None)


def _no_folder_sync() -> None:
    """Sync a new file, and not its name."""
    from custody.sessions import choice
    from custody.storage import local

    _set(local, "sync_folder", lambda folder: None)
    _set(choice, "sync_folder", lambda folder: None)


def _named_before_synced() -> None:
    """Give a file its name before its bytes are on the disk."""
    from custody.storage import local

    real = local.LocalStorage._write_beside

    def beside(self: Any, path: Any, data: bytes) -> Any:
        sync, local._sync = local._sync, lambda fd: None
        try:
            return real(self, path, data)
        finally:
            local._sync = sync

    _set(local.LocalStorage, "_write_beside", beside)


def _call_line_late() -> None:
    """Acknowledge before the line that commits the call is in the file."""
    from custody.storage import local

    held: list[bytes] = []

    def append(self: Any, data: bytes) -> None:
        data = b"".join(held) + data
        held.clear()
        if b'{"kind":"call"' in data:
            held.append(data)
        else:
            os.write(self._fd, data)

    _set(local._LocalLog, "append", append)


# -- reading ------------------------------------------------------------------------------------------


def _bad_checksums_pass() -> None:
    """Take a line for whole whatever its checksum says."""
    from custody.journal import lines

    _set(lines, "check", lambda line: line.endswith(b'"}'))


def _parity_ignored() -> None:
    """Read a damaged frame as damaged, whatever stands behind the frames."""
    from custody.journal import parity

    _set(parity, "find", lambda data: None)


def _parity_unchecked() -> None:
    """Believe the parity of a block to be the block, without the column's others."""
    from custody.journal import parity

    real = parity._corrected

    def corrected(body: Any, stored: bytes, checks: Any, *rest: Any) -> Any:
        return real(body, bytes(len(stored)), checks, *rest)

    _set(parity, "_corrected", corrected)


def _flaws_unseen() -> None:
    """Say nothing of damage that can be undone."""
    from custody.journal.segments import Segments

    _set(Segments, "flaws", lambda self, name: [])


def _stops_at_damage() -> None:
    """Read a segment up to its first damage."""
    from custody.journal.scan import SegmentScan

    real = SegmentScan.raw

    def raw(self: Any) -> Iterator[Any]:
        for found in real(self):
            if self.damage:
                return
            yield found

    _set(SegmentScan, "raw", raw)


def _damage_is_dropped() -> None:
    """Pass over what cannot be read, in silence."""
    from custody.journal.scan import SegmentScan

    real = SegmentScan.raw

    def raw(self: Any) -> Iterator[Any]:
        yield from real(self)
        self.damage.clear()

    _set(SegmentScan, "raw", raw)


def _half_an_answer() -> None:
    """Hand out what is left of an answer."""
    from custody.journal import archive

    _set(archive, "committed", lambda fields: {})


# -- going on -----------------------------------------------------------------------------------------


def _spill_forgotten() -> None:
    """Leave spilled records where they are."""
    from custody.journal import spill

    _set(spill, "take_in", lambda session, storage: 0)


def _spill_nowhere() -> None:
    """Say that a record was spilled."""
    from custody.journal import spill

    _set(spill, "keep", lambda session, writer, sealed: "nowhere")


def _pays_on() -> None:
    """Send the next paid call although nothing can be archived."""
    from custody.journal.writer import Journal

    _set(Journal, "require_healthy", lambda self: None)


def _answers_anew() -> None:
    """Ask again for what is on record."""
    from custody.builtin import archive

    _set(archive.Plugin, "_readable", lambda self, identity: None)


# -- identity -----------------------------------------------------------------------------------------


def _labels_ignored() -> None:
    """Tell replicates apart by their order alone, as caches with a counter do."""
    from custody.identity import scope

    canonical = scope.canonical
    _set(scope, "canonical", lambda labels: canonical({k: v for k, v in labels.items() if k != "run"}))


def _prompt_is_the_key() -> None:
    """One prompt, one answer, as most caches have it."""
    from custody.identity import Identity
    from custody.identity.replicates import Replicates

    def issue(self: Any, scope: str, key: str) -> tuple[Identity, bool]:
        self._counters.setdefault(("", key), SimpleNamespace(in_flight=0, free=[], highest=1))
        return Identity("", key, 1), False

    _set(Replicates, "issue", issue)


def _no_claims() -> None:
    """Let everybody send at once."""
    from custody.storage import local

    _set(local.LocalStorage, "claim", lambda self, name, token: SimpleNamespace(release=lambda: None))


def _no_second_look() -> None:
    """Send with the claim in hand, and do not look whether another process has the answer by now."""
    from custody.pipeline.flow import Flow

    _set(Flow, "_refresh", lambda self: None)
