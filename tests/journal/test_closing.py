"""A closed segment has its digest, its index, and compressed the same bytes; a crash in between loses nothing."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from custody.errors import CustodyError
from custody.journal import archive as archives
from custody.journal import closing, ledger, parity
from custody.journal.archive import Archive
from custody.journal.closing import Closer
from custody.journal.ledger import Ledger
from custody.journal.segments import Segments


@pytest.fixture
def session(tmp_path: Path, written: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(archives, "PACK", 3)
    monkeypatch.setattr(closing, "PACK", 3)
    return written(tmp_path / "session", rotate_bytes=14_000)


def answers(storage: Any, numbered: Any, count: int) -> list[Any]:
    archive = Archive(storage)
    archive.refresh()
    assert archive.damage == []
    return [archive.response(call) if (call := archive.answer(numbered(number))) else None for number in range(count)]


def test_every_segment_is_closed_with_its_digest(session: Any) -> None:
    for number in range(40):
        session.call(number)
    session.close()
    known = ledger.read(session.storage)
    names = [name for name, _ in Segments(session.storage).list()]
    assert list(known) == names
    assert len(names) > 2
    for name in names:
        data = session.storage.read(name)
        assert (known[name].size, known[name].sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_compressed_it_holds_the_same_bytes(session: Any, numbered: Any) -> None:
    for number in range(40):
        session.call(number, [b"text " * 50, b"\xff"])
    session.close()
    before = answers(session.storage, numbered, 41)
    plain = {name: session.storage.read(name) for name, _ in Segments(session.storage).list()}
    first, last = closing.compress_all(session.storage, Ledger(session.storage), plain)
    assert first == sum(map(len, plain.values()))
    assert last < first / 3 + len(plain) * parity.COLUMNS * parity.BLOCK
    segments = Segments(session.storage)
    assert segments.list() == [(name, len(data)) for name, data in plain.items()]
    assert {name: segments.read(name) for name in plain} == plain
    assert not list((session.storage.root / "llm_archive").glob("*.jsonl"))
    assert answers(session.storage, numbered, 41) == before
    if shutil.which("zstd"):
        name = next(iter(plain))
        done = subprocess.run(
            ["zstd", "-dc", str(session.storage.root / f"{name}.zst")], capture_output=True, check=True
        )
        assert done.stdout == plain[name]


def test_a_reader_that_is_there_goes_on_when_a_segment_is_compressed(session: Any, numbered: Any) -> None:
    for number in range(40):
        session.call(number)
    session.close()
    reader = Archive(session.storage)
    reader.refresh()
    call = reader.answer(numbered(0))
    assert call is not None
    before = reader.response(call)
    closing.compress_all(session.storage, Ledger(session.storage), [n for n, _ in Segments(session.storage).list()])
    assert reader.response(call) == before
    reader.refresh()
    assert reader.damage == []


def test_what_is_not_what_it_was_is_not_compressed(session: Any) -> None:
    session.call(1)
    session.close()
    name = Segments(session.storage).list()[0][0]
    path = session.storage.root / name
    path.write_bytes(path.read_bytes().replace(b"answer 1", b"answer 2"))
    with pytest.raises(CustodyError, match="custody verify"):
        closing.compress_all(session.storage, Ledger(session.storage), [name])
    assert path.exists()


def test_what_a_crash_left_open_is_closed_later(session: Any, numbered: Any) -> None:
    """The process died: the last segments have neither digest nor index."""
    for number in range(40):
        session.call(number)
    session.journal.sync_to(session.journal._seq)
    session.closer.finish()
    archive = Archive(session.storage)
    archive.refresh()
    left = closing.left_open(archive)
    assert left
    for name, index in left:
        closing.close(session.storage, Ledger(session.storage), name, index)
    fresh = Archive(session.storage)
    fresh.refresh()
    assert closing.left_open(fresh) == []
    assert not fresh.unindexed
    assert all(entry.sha256 for entry in ledger.read(session.storage).values())


def test_a_crash_before_the_plain_one_is_removed(session: Any, numbered: Any) -> None:
    for number in range(10):
        session.call(number)
    session.close()
    name = Segments(session.storage).list()[0][0]
    data = session.storage.read(name)
    closing.compress_all(session.storage, Ledger(session.storage), [name])
    session.storage.put(name, data)
    assert Segments(session.storage).list()[0] == (name, len(data))
    assert None not in answers(session.storage, numbered, 10)
    archive = Archive(session.storage)
    archive.refresh()
    ((left, index),) = closing.left_open(archive)
    closing.close(session.storage, Ledger(session.storage), left, index)
    assert not (session.storage.root / name).exists()
    assert None not in answers(session.storage, numbered, 10)


def test_big_ones_are_compressed_by_themselves(tmp_path: Path, written: Any, numbered: Any) -> None:
    session = written(tmp_path / "big", rotate_bytes=14_000, compress_from=10_000)
    for number in range(40):
        session.call(number, [b"text " * 50])
    session.close()
    folder = session.storage.root / "llm_archive"
    assert len(list(folder.glob("*.jsonl.zst"))) >= 2
    assert len(list(folder.glob("*.jsonl"))) <= 1, "the last one is small"
    assert None not in answers(session.storage, numbered, 40)
    assert all(
        entry.packed for name, entry in ledger.read(session.storage).items() if not (folder.parent / name).exists()
    )


def test_without_a_thread_it_is_done_at_the_end(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python starts none while it ends, and a machine may have too many: that is no failure of a call."""
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "custody-closer":
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    for number in range(40):
        session.call(number)
        session.journal.sync_to(session.journal._seq)
    session.close()
    session.close()
    known = ledger.read(session.storage)
    assert len(known) > 2
    assert all(entry.sha256 for entry in known.values())


def test_a_segment_that_is_closed_while_another_is(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a signal's handler, or an abandoned stream that is collected, in the same thread."""
    for number in range(40):
        session.call(number)
    session.journal.sync_to(session.journal._seq)
    session.closer.finish()
    names = [name for name, _ in Segments(session.storage).list()]
    closer, real, done = Closer(session.storage, Ledger(session.storage)), threading.Thread.start, threading.Event()

    def start(thread: threading.Thread) -> None:
        real(thread)
        if thread.name == "custody-closer":
            closer.closed(names[-1])

    monkeypatch.setattr(threading.Thread, "start", start)
    threading.Thread(target=lambda: (closer.closed(names[0]), closer.finish(), done.set()), daemon=True).start()
    assert done.wait(10)
    assert ledger.read(session.storage)[names[-1]].sha256


def test_one_that_was_changed_keeps_no_other_from_being_compressed(session: Any) -> None:
    for number in range(40):
        session.call(number)
    session.close()
    names = [name for name, _ in Segments(session.storage).list()]
    path = session.storage.root / names[0]
    path.write_bytes(path.read_bytes().replace(b"answer 1", b"answer 2", 1))
    with pytest.raises(CustodyError, match=Path(names[0]).name):
        closing.compress_all(session.storage, Ledger(session.storage), names)
    assert [(session.storage.root / name).exists() for name in names] == [True] + [False] * (len(names) - 1)
