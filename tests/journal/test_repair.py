"""Repair leaves out what cannot be read, keeps the original, and every other call still replays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from custody.journal import closing, ledger, seekable
from custody.journal.archive import Archive
from custody.journal.ledger import Ledger
from custody.journal.repair import repair
from custody.journal.segments import Segments


@pytest.fixture
def session(tmp_path: Path, written: Any) -> Any:
    session = written(tmp_path / "session", rotate_bytes=14_000)
    for number in range(40):
        session.call(number, [b"text %d " % number * 9])
    session.close()
    return session


def hurt(path: Path, what: bytes) -> bytes:
    data = bytearray(path.read_bytes())
    data[data.index(what)] ^= 2
    path.write_bytes(data)
    return bytes(data)


@pytest.mark.parametrize("compressed", [False, True])
def test_the_others_replay_and_the_original_is_kept(session: Any, numbered: Any, compressed: bool) -> None:
    storage = session.storage
    name = Segments(storage).list()[0][0]
    path = storage.root / name
    if compressed:
        closing.compress_all(storage, Ledger(storage), [name])
        storage.put(name, hurt_copy(Segments(storage).read(name)))
        data = storage.read(name)
        storage.remove(f"{name}.zst")
    else:
        data = hurt(path, b"text 4 text 4")
    done = repair(storage, Ledger(storage))
    assert [each.segment for each in done] == [name]
    assert storage.read(done[0].original) == data
    assert done[0].original.startswith("fault_recovery/damaged/")
    (touched,) = done[0].calls
    archive = Archive(storage)
    archive.refresh()
    assert archive.damage == []
    answered = [n for n in range(40) if (call := archive.answer(numbered(n))) and readable(archive, call)]
    assert answered == [n for n in range(40) if n != 4]
    assert touched.endswith("-000005"), "the fifth call lost a line, and another one is named"
    assert repair(storage, Ledger(storage)) == [], "once is enough"


def hurt_copy(data: bytes) -> bytes:
    return data.replace(b"text 4 text 4", b"text 4 tezt 4", 1)


def without_parity(data: bytes) -> bytes:
    """A compressed segment as it was written before there was parity."""
    rows = seekable.table(lambda offset, size: data[offset : offset + size], len(data))
    assert rows is not None
    return data[: seekable.borders(rows)[0][-1]] + seekable.table_frame(rows)


def readable(archive: Archive, call: Any) -> bool:
    try:
        return archive.response(call) is not None
    except Exception:
        return False


def test_a_damaged_frame_without_parity(
    tmp_path: Path, written: Any, numbered: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("custody.journal.seekable.FRAME", 4_000)
    monkeypatch.setattr("custody.journal.seekable.compress.__kwdefaults__", {"frame": 4_000, "level": 3})
    session = written(tmp_path / "framed")
    for number in range(40):
        session.call(number, [b"text %d " % number * 9])
    session.close()
    storage = session.storage
    name = Segments(storage).list()[0][0]
    closing.compress_all(storage, Ledger(storage), [name])
    path = storage.root / f"{name}.zst"
    data = bytearray(without_parity(path.read_bytes()))
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (done,) = repair(storage, Ledger(storage))
    assert storage.read(done.original) == bytes(data)
    assert not path.exists()
    archive = Archive(storage)
    archive.refresh()
    answered = [n for n in range(40) if (call := archive.answer(numbered(n))) and readable(archive, call)]
    assert 30 < len(answered) < 40


def test_a_torn_tail_is_left_alone(session: Any) -> None:
    name = Segments(session.storage).list()[-1][0]
    with (session.storage.root / name).open("ab") as file:
        file.write(b'{"kind":"request","seq":')
    assert repair(session.storage, Ledger(session.storage)) == []


class Killed(BaseException):
    """The process ends here."""


class Dying:
    """A storage whose process dies at the n-th change."""

    def __init__(self, storage: Any, after: int) -> None:
        self._storage, self.left = storage, after

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._storage, name)
        if name not in ("put", "put_if_absent", "remove", "shared_log"):
            return real
        return self._log if name == "shared_log" else lambda *args: self._change(real, *args)

    def _log(self, name: str) -> Any:
        log = self._storage.shared_log(name)
        return type("Log", (), {"append": lambda _, make: self._change(log.append, make)})()

    def _change(self, real: Any, *args: Any) -> Any:
        if self.left == 0:
            raise Killed
        self.left -= 1
        return real(*args)


@pytest.mark.parametrize("form", ["plain", "without parity", "parity", "no table"])
def test_killed_at_any_step_it_is_done_by_the_next(tmp_path: Path, written: Any, numbered: Any, form: str) -> None:
    """Nothing is lost but what was damaged, and the ledger says what became of the segment."""
    for step in range(20):
        session = written(tmp_path / f"{step}")
        for number in range(12):
            session.call(number, [b"text %d " % number * 9])
        session.close()
        storage = session.storage
        ((name, _),) = Segments(storage).list()
        if form == "plain":
            hurt(storage.root / name, b"text 4 text 4")
        else:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("custody.journal.seekable.compress.__kwdefaults__", {"frame": 4_000, "level": 3})
                closing.compress_all(storage, Ledger(storage), [name])
            path = storage.root / f"{name}.zst"
            data = bytearray(path.read_bytes() if form == "parity" else without_parity(path.read_bytes()))
            data[-1 if form == "no table" else 100] ^= 1
            path.write_bytes(data)
        dying = Dying(storage, step)
        try:
            repair(dying, Ledger(dying))  # type: ignore[arg-type]
            finished = True
        except Killed:
            finished = False
        repair(storage, Ledger(storage))
        archive = Archive(storage)
        archive.refresh()
        assert archive.damage == []
        answered = [n for n in range(12) if (call := archive.answer(numbered(n))) and readable(archive, call)]
        lost = {"plain": 1, "without parity": 6}.get(form, 0)
        assert len(answered) >= 12 - lost, f"step {step}"
        entry = ledger.read(storage)[name]
        assert entry.repaired == bool(lost), f"step {step}"
        assert entry.size == dict(archive.segments.list())[name], f"step {step}"
        if finished:
            assert step >= (4 if lost else 2)
            return
    raise AssertionError("it never came to its end")


@pytest.mark.parametrize("where", [0, 5, 600, -1, -20, -60, -2000])
def test_a_flipped_bit_in_a_compressed_segment_is_put_right(session: Any, numbered: Any, where: int) -> None:
    storage = session.storage
    name = Segments(storage).list()[0][0]
    closing.compress_all(storage, Ledger(storage), [name])
    path = storage.root / f"{name}.zst"
    right = path.read_bytes()
    hurt = bytearray(right)
    hurt[where] ^= 4
    path.write_bytes(hurt)
    (done,) = repair(storage, Ledger(storage))
    assert (done.segment, done.calls, done.corrected) == (name, [], True)
    assert storage.read(done.original) == hurt
    assert path.read_bytes() == right
    assert not ledger.read(storage)[name].repaired
    archive = Archive(storage)
    archive.refresh()
    assert all((call := archive.answer(numbered(n))) and readable(archive, call) for n in range(40))
    assert repair(storage, Ledger(storage)) == []


def test_what_the_ledger_does_not_confirm_is_not_put_in_place(session: Any) -> None:
    """A parity that was made for other bytes corrects to other bytes."""
    storage = session.storage
    (name, _), (other, _) = Segments(storage).list()[:2]
    closing.compress_all(storage, Ledger(storage), [name, other])
    hurt = bytearray(storage.read(f"{other}.zst"))
    hurt[5] ^= 1
    storage.put(f"{name}.zst", bytes(hurt))
    assert not any(each.corrected for each in repair(storage, Ledger(storage)))


def test_the_compressed_form_heals_the_plain_one(session: Any, numbered: Any) -> None:
    """A crash left both, and then the plain one was damaged."""
    storage = session.storage
    name = Segments(storage).list()[0][0]
    data = storage.read(name)
    closing.compress_all(storage, Ledger(storage), [name])
    storage.put(name, hurt_copy(data))
    (done,) = repair(storage, Ledger(storage))
    assert (done.calls, done.damaged_bytes) == ([], 0)
    assert storage.read(done.original) == hurt_copy(data)
    assert Segments(storage).read(name) == data
    assert not ledger.read(storage)[name].repaired
    archive = Archive(storage)
    archive.refresh()
    assert all(archive.answer(numbered(n)) for n in range(40))


def test_compressing_may_be_killed_at_any_step(tmp_path: Path, written: Any, numbered: Any) -> None:
    for step in range(20):
        session = written(tmp_path / f"{step}", rotate_bytes=8_000)
        for number in range(20):
            session.call(number, [b"text %d " % number * 9])
        session.close()
        storage, names = session.storage, [name for name, _ in Segments(session.storage).list()]
        dying = Dying(storage, step)
        try:
            closing.compress_all(dying, Ledger(dying), names)  # type: ignore[arg-type]
            finished = True
        except Killed:
            finished = False
        for again in (False, True):
            archive = Archive(storage)
            archive.refresh()
            assert archive.damage == []
            assert all((call := archive.answer(numbered(n))) and readable(archive, call) for n in range(20))
            if not again:
                for left in closing.left_open(archive):
                    closing.close(storage, Ledger(storage), *left)
                closing.compress_all(storage, Ledger(storage), names)
        assert not list((storage.root / "llm_archive").glob("*.jsonl"))
        if finished:
            assert step >= 6
            return
    raise AssertionError("it never came to its end")
