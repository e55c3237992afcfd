"""Records that the archive could not take: kept, taken in once, never lost on the way."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from custody.errors import StorageError
from custody.journal import lines, spill
from custody.journal.archive import Archive
from custody.journal.scan import SegmentScan
from custody.journal.segments import segments
from custody.storage import Log
from custody.storage.local import LocalStorage

SEALED = [lines.seal(lines.unsealed("note", n, {"note": f"n{n}"})) for n in range(1, 6)]


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "session")


@pytest.fixture
def env() -> Iterator[pytest.MonkeyPatch]:
    """Variables that are put back before the guard in conftest.py looks."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture
def folder(tmp_path: Path, env: pytest.MonkeyPatch) -> Path:
    env.setenv("CUSTODY_SPILL_DIR", str(tmp_path / "spill"))
    return tmp_path / "spill"


def notes(storage: LocalStorage) -> list[str]:
    archive = Archive(storage)
    archive.refresh()
    assert archive.damage == []
    return [note["note"] for note in archive.notes]


def test_kept_lines_come_back_once(storage: LocalStorage, folder: Path) -> None:
    log = storage.create_log("llm_archive/w-000001.jsonl")
    log.append(lines.opening("s", "w", 1) + SEALED[0])
    log.close()
    where = spill.keep("s", "w", SEALED[1:3])
    assert spill.keep("s", "w", SEALED[3:]) == where == str(folder / "s" / "w.jsonl")
    assert spill.take_in("s", storage) == 1
    assert notes(storage) == ["n1", "n2", "n3", "n4", "n5"]
    assert list(folder.rglob("*.jsonl")) == []
    assert spill.take_in("s", storage) == 0
    names = [name for name, _ in segments(storage, "llm_archive/")]
    assert names == ["llm_archive/w-000001.jsonl", "llm_archive/w-000002.jsonl"]
    _, first, _ = next(iter(SegmentScan(storage, names[1]).lines()))
    assert json.loads(first) | {"crc32": ""} == {
        "kind": "segment",
        "seq": 0,
        "format": 1,
        "session": "s",
        "writer": "w",
        "number": 2,
        "crc32": "",
    }


def test_sessions_and_writers_are_kept_apart(storage: LocalStorage, folder: Path) -> None:
    spill.keep("s", "w", SEALED[:1])
    spill.keep("s", "v", SEALED[1:2])
    spill.keep("other", "w", SEALED[2:3])
    assert spill.take_in("s", storage) == 2
    assert sorted(notes(storage)) == ["n1", "n2"]
    assert (folder / "other" / "w.jsonl").exists()


def test_a_crash_between_sync_and_unlink_doubles_nothing(storage: LocalStorage, folder: Path) -> None:
    where = Path(spill.keep("s", "w", SEALED))
    data = where.read_bytes()
    spill.take_in("s", storage)
    where.write_bytes(data)
    assert spill.take_in("s", storage) == 1
    assert len(segments(storage, "llm_archive/")) == 2
    assert notes(storage) == ["n1", "n2", "n3", "n4", "n5"]


def test_a_crash_in_the_middle_of_taking_in_loses_nothing(storage: LocalStorage, folder: Path) -> None:
    spill.keep("s", "w", SEALED)
    log = storage.create_log("llm_archive/w-000001.jsonl")
    log.append((lines.opening("s", "w", 1) + SEALED[0])[:-7])
    log.close()
    spill.take_in("s", storage)
    archive = Archive(storage)
    archive.refresh()
    assert [note["note"] for note in archive.notes] == ["n1", "n2", "n3", "n4", "n5"]
    assert all(damage.torn for damage in archive.damage)


def test_an_archive_that_is_still_full_leaves_them_where_they_are(tmp_path: Path, folder: Path) -> None:
    class Full(LocalStorage):
        def create_log(self, name: str) -> Log:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    where = spill.keep("s", "w", SEALED)
    with pytest.raises(StorageError, match=r"w\.jsonl cannot be taken into the archive \(No space left on device\)"):
        spill.take_in("s", Full(tmp_path / "full"))
    assert Path(where).read_bytes() == b"".join(SEALED)


def test_no_writable_folder_is_an_error(tmp_path: Path, env: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    env.setenv("CUSTODY_SPILL_DIR", str(tmp_path / "file" / "below"))
    with pytest.raises(OSError, match="Not a directory"):
        spill.keep("s", "w", SEALED)


def test_the_first_folder_that_takes_them(tmp_path: Path, env: pytest.MonkeyPatch) -> None:
    env.delenv("CUSTODY_SPILL_DIR")
    (tmp_path / "file").write_bytes(b"")
    env.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    env.setenv("HOME", str(tmp_path))
    where = Path(spill.keep("s", "w", SEALED))
    assert where == tmp_path / ".local" / "state" / "custody" / "spill" / "s" / "w.jsonl"
    assert where.parent.stat().st_mode & 0o077 == 0, "prompts are nobody else's business"


FULL = """
import resource, signal, sys
from custody.journal import spill
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    spill.keep("s", "w", [b"x" * 5000 + b"\\n"])
except OSError as error:
    print(error.strerror)
"""


def test_a_folder_that_fills_up_keeps_no_half_line(folder: Path) -> None:
    where = Path(spill.keep("s", "w", SEALED))
    done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, check=True)
    assert done.stdout == "File too large\n"
    assert where.read_bytes() == b"".join(SEALED)
