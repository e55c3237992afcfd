"""Local storage under races of threads and processes, crashes, and wrong use."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from custody.errors import StorageError, UsageError
from custody.integrity import chronolog
from custody.redact import Redactor
from custody.storage import Entry
from custody.storage.local import LocalStorage

SPAWN = multiprocessing.get_context("spawn")

HOLD = """
import sys
from pathlib import Path
from custody.storage.local import LocalStorage
storage = LocalStorage(Path(sys.argv[1]))
{take}
print("none" if held is None else "held", flush=True)
sys.stdin.readline()
{after}
"""


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "session")


@contextmanager
def holder(root: Path, take: str, after: str = "") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process that has taken what ``take`` says, and whether it got it."""
    code = HOLD.format(take=take, after=after)
    with subprocess.Popen(
        [sys.executable, "-c", code, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        try:
            yield child, child.stdout.readline().strip()
        finally:
            child.kill()


# -- objects ------------------------------------------------------------------------------------------


def test_one_of_sixteen_threads_puts(storage: LocalStorage) -> None:
    barrier = threading.Barrier(16)

    def put(number: int) -> bool:
        barrier.wait()
        return storage.put_if_absent("claims/one", b"%d" % number * 1000)

    for _ in range(5):
        with ThreadPoolExecutor(16) as pool:
            won = list(pool.map(put, range(16)))
        assert won.count(True) == 1
        assert storage.read("claims/one") == b"%d" % won.index(True) * 1000
        assert [entry.name for entry in storage.list()] == ["claims/one"]
        (storage.root / "claims/one").unlink()


def _put(root: Path, number: int, start: Any, results: Any) -> None:
    storage = LocalStorage(root)
    start.wait()
    results.put((number, [storage.put_if_absent(f"one/{n}", b"%d" % number) for n in range(50)]))


def test_one_of_four_processes_puts(storage: LocalStorage) -> None:
    start, results = SPAWN.Barrier(4), SPAWN.Queue()
    children = [SPAWN.Process(target=_put, args=(storage.root, n, start, results)) for n in range(4)]
    for child in children:
        child.start()
    won = dict(results.get(timeout=60) for _ in children)
    for child in children:
        child.join()
    for n in range(50):
        winners = [number for number, wins in won.items() if wins[n]]
        assert [storage.read(f"one/{n}")] == [b"%d" % number for number in winners]


def test_put_shows_the_old_or_the_new_and_never_a_mix(storage: LocalStorage) -> None:
    storage.put("state", b"0" * 300_000)
    stop = threading.Event()

    def put() -> None:
        for n in range(1, 60):
            storage.put("state", b"%d" % (n % 10) * 300_000)
        stop.set()

    thread = threading.Thread(target=put)
    thread.start()
    while not stop.is_set():
        data = storage.read("state")
        assert len(data) == 300_000
        assert len(set(data)) == 1
    thread.join()
    assert [entry.name for entry in storage.list()] == ["state"]


def test_a_put_that_fails_leaves_nothing_behind(storage: LocalStorage) -> None:
    (storage.root / "taken").mkdir()
    with pytest.raises(OSError, match="directory"):
        storage.put("taken", b"x")
    assert os.listdir(storage.root) == ["taken"]


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "", "a//b", "a/", "./a", "a/.", "..", "a\0b"])
def test_names_that_lead_outside_are_refused(storage: LocalStorage, name: str) -> None:
    for use in (
        lambda: storage.put(name, b"x"),
        lambda: storage.put_if_absent(name, b"x"),
        lambda: storage.read(name),
        lambda: storage.create_log(name),
        lambda: storage.shared_log(name),
        lambda: storage.lock(name),
        lambda: storage.claim(name, b"t"),
    ):
        with pytest.raises(StorageError, match="is not a name inside"):
            use()
    assert os.listdir(storage.root) == []
    assert os.listdir(storage.root.parent) == ["session"]


@pytest.mark.parametrize("prefix", ["../", "/etc/", "a/../../"])
def test_a_list_does_not_lead_outside(storage: LocalStorage, prefix: str) -> None:
    with pytest.raises(StorageError):
        storage.list(prefix)


def test_list_is_sorted_and_shows_no_temporary_files(storage: LocalStorage) -> None:
    for name in ("b/2", "b/10", "a", "c/d/e", "b1"):
        storage.put(name, name.encode())
    (storage.root / "b" / ".tmp-left-by-a-crash").write_bytes(b"x")
    assert list(storage.list()) == [Entry(n, len(n)) for n in ("a", "b/10", "b/2", "b1", "c/d/e")]
    assert [entry.name for entry in storage.list("b/")] == ["b/10", "b/2"]
    assert [entry.name for entry in storage.list("b")] == ["b/10", "b/2", "b1"]
    assert list(storage.list("nothing/here")) == []


def test_read_from_an_offset(storage: LocalStorage) -> None:
    storage.put("x", b"0123456789")
    assert storage.read("x", 3, 4) == b"3456"
    assert storage.read("x", 8, 4) == b"89"
    assert storage.read("x", 20) == b""
    with pytest.raises(FileNotFoundError):
        storage.read("y")


def test_a_log_is_new(storage: LocalStorage) -> None:
    log = storage.create_log("llm_archive/w-000001.jsonl")
    log.append(b"one\n")
    log.append(b"two\n")
    log.sync()
    log.close()
    log.close()
    assert storage.read("llm_archive/w-000001.jsonl") == b"one\ntwo\n"
    with pytest.raises(FileExistsError):
        storage.create_log("llm_archive/w-000001.jsonl")


# -- locks and claims ---------------------------------------------------------------------------------


@pytest.mark.parametrize("take", ['held = storage.lock("a.lock")', 'held = storage.claim("c.lock", b"token")'])
def test_kill_frees_what_a_process_held(storage: LocalStorage, take: str) -> None:
    def mine() -> Any:
        return storage.lock("a.lock") if "a.lock" in take else storage.claim("c.lock", b"token")

    with holder(storage.root, take) as (child, said):
        assert said == "held"
        assert mine() is None
        child.send_signal(signal.SIGKILL)
        child.wait()
        lock = mine()
        assert lock is not None
        lock.release()


def test_claims_of_two_processes(storage: LocalStorage) -> None:
    take = 'held = storage.claim("c.lock", b"token")'
    mine = storage.claim("c.lock", b"token")
    assert mine is not None
    assert storage.claim("c.lock", b"token") is None, "a second thread of the same process"
    other = storage.claim("c.lock", b"another")
    assert other is not None
    with holder(storage.root, take) as (_, said):
        assert said == "none"
    mine.release()
    mine.release()
    with holder(storage.root, take) as (_, said):
        assert said == "held"
        assert storage.claim("c.lock", b"token") is None
        assert storage.claim("c.lock", b"another") is None
    other.release()
    assert [entry.size for entry in storage.list("c.lock")] == [0], "nothing is left behind"


def test_one_of_many_threads_claims(storage: LocalStorage) -> None:
    barrier = threading.Barrier(12)

    def claim(_: int) -> Any:
        barrier.wait()
        return storage.claim("c.lock", b"token")

    for _ in range(20):
        with ThreadPoolExecutor(12) as pool:
            held = [lock for lock in pool.map(claim, range(12)) if lock is not None]
        assert len(held) == 1
        held[0].release()


def test_shared_and_exclusive_locks(storage: LocalStorage) -> None:
    first, second = storage.lock("m.lock", shared=True), storage.lock("m.lock", shared=True)
    assert first is not None
    assert second is not None
    assert storage.lock("m.lock") is None
    first.release()
    second.release()
    alone = storage.lock("m.lock")
    assert alone is not None
    assert storage.lock("m.lock", shared=True) is None
    alone.release()


FORK = """
import os, time
held = storage.lock("a.lock")
if os.fork() == 0:
    time.sleep(60)
"""


def test_release_frees_a_lock_that_a_forked_child_still_has_open(storage: LocalStorage) -> None:
    with holder(storage.root, FORK, 'held.release(); print("released", flush=True); input()') as (child, said):
        assert said == "held"
        assert storage.lock("a.lock") is None
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "released\n"
        lock = storage.lock("a.lock")
        assert lock is not None
        lock.release()


# -- the shared log -----------------------------------------------------------------------------------


def _events(root: Path, number: int) -> None:
    log = chronolog.Chronolog(LocalStorage(root).shared_log("log.jsonl"), Redactor())
    for n in range(100):
        log.event("tick", process=number, n=n)


def test_eight_processes_link_their_lines(storage: LocalStorage) -> None:
    children = [SPAWN.Process(target=_events, args=(storage.root, n)) for n in range(8)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
    data = storage.read("log.jsonl")
    assert chronolog.problems(data) == []
    events = list(chronolog.read(data))
    assert [event["seq"] for event in events] == list(range(1, 801))
    for number in range(8):
        assert [event["n"] for event in events if event["process"] == number] == list(range(100))


def appended(storage: LocalStorage, text: bytes) -> bytes | None:
    """Append a line; gives what the log said was the last one."""
    seen: list[bytes | None] = []

    def make(last: bytes | None) -> list[bytes]:
        seen.append(last)
        return [text + b"\n"]

    storage.shared_log("log").append(make)
    return seen[0]


@pytest.mark.parametrize("size", [1, 100, 4095, 4096, 4097, 9000])
def test_a_torn_last_line_is_ended_and_is_nobodys_last_line(storage: LocalStorage, size: int) -> None:
    assert appended(storage, b"1" * size) is None
    assert appended(storage, b"2" * size) == b"1" * size
    for _ in range(2):
        with (storage.root / "log").open("ab") as file:
            file.write(b"torn" * size)  # twice: a crash may also cut the line that ends a torn one
    assert appended(storage, b"3" * size) == b"2" * size
    with (storage.root / "log").open("ab") as file:
        file.write(b"torn again")
    assert appended(storage, b"5") == b"3" * size
    lines = storage.read("log").split(b"\n")
    assert [line for line in lines if not line.endswith(b"\x18")] == [
        b"1" * size,
        b"2" * size,
        b"3" * size,
        b"5",
        b"",
    ]


def test_a_heal_that_is_cut_itself(storage: LocalStorage) -> None:
    (storage.root / "log").write_bytes(b"one\ntorn\x18\ntwo-is-tor")
    assert appended(storage, b"two") == b"one"
    assert storage.read("log") == b"one\ntorn\x18\ntwo-is-tor\x18\ntwo\n"


def test_a_log_that_was_torn_in_its_first_line(storage: LocalStorage) -> None:
    (storage.root / "log").write_bytes(b"to")
    assert appended(storage, b"one") is None
    assert appended(storage, b"two") == b"one"


def test_nothing_to_append_changes_nothing(storage: LocalStorage) -> None:
    appended(storage, b"one")
    storage.shared_log("log").append(lambda last: [])
    assert storage.read("log") == b"one\n"


# -- wrong use ----------------------------------------------------------------------------------------


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="a file is where a folder should be"):
        LocalStorage(tmp_path / "file")
    with pytest.raises(UsageError, match="a file is in the way"):
        LocalStorage(tmp_path / "file" / "below")


NOBODY = """
import json, os, sys
from pathlib import Path
from custody.errors import UsageError
from custody.storage.local import LocalStorage
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
said = []
for path in sys.argv[1:]:
    try:
        LocalStorage(Path(path))
    except UsageError as error:
        said.append(str(error))
print(json.dumps(said))
"""


def test_an_unwritable_root_is_named(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    root.chmod(0o555)
    for folder in (root, *root.parents):
        if folder.parent != folder and folder.stat().st_uid == os.getuid() and "pytest" in str(folder):
            folder.chmod(0o555 if folder == root else 0o755)
    if os.getuid() == 0 and (closed := [str(f) for f in root.parents if not f.stat().st_mode & stat.S_IXOTH]):
        pytest.skip(f"nobody but the owner may enter {closed[0]}")
    paths = [str(root), str(root / "below")]
    done = subprocess.run([sys.executable, "-c", NOBODY, *paths], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [
        f"{root}: this folder cannot be written",
        f"{root / 'below'}: cannot make this folder: Permission denied",
    ]


def test_reading_makes_no_folder(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "absent", create=False)
    assert list(storage.list()) == []
    with pytest.raises(FileNotFoundError):
        storage.read("a/b")
    assert os.listdir(tmp_path) == []


def test_every_new_folder_is_synced_in_the_one_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a power cut may take a folder, and all the synced files in it."""
    synced: list[str] = []
    fsync = os.fsync

    def noted(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        fsync(fd)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to tell which folder a descriptor is")
    monkeypatch.setattr(os, "fsync", noted)
    storage = LocalStorage(tmp_path / "a" / "b")
    assert synced == [str(tmp_path), str(tmp_path / "a")]
    synced.clear()
    storage.create_log("c/d/e").close()
    assert synced == [str(tmp_path / "a" / "b"), str(tmp_path / "a" / "b" / "c"), str(tmp_path / "a" / "b" / "c" / "d")]


def test_nothing_is_begun_where_the_root_was(tmp_path: Path) -> None:
    """A folder that was moved away, or a disk that is gone: half a session in its place would only confuse."""
    storage = LocalStorage(tmp_path / "root")
    storage.create_log("a/1").close()
    (tmp_path / "root").rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError, match="root"):
        storage.create_log("a/2")
    assert not (tmp_path / "root").exists()


def test_a_deleted_log_takes_nothing_more(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "root")
    log = storage.create_log("a/1")
    log.append(b"kept\n")
    log.sync()
    (tmp_path / "root/a/1").unlink()
    log.append(b"into nowhere\n")
    with pytest.raises(FileNotFoundError, match="deleted"):
        log.sync()
    log.close()


def test_a_pipe_is_no_object(tmp_path: Path) -> None:
    """Whoever opens it waits for ever."""
    storage = LocalStorage(tmp_path)
    storage.put("a/1", b"x")
    os.mkfifo(tmp_path / "a" / "2")
    assert list(storage.list()) == [Entry("a/1", 1)]


def test_an_error_of_reading_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "a" / "1").mkdir(parents=True)
    with pytest.raises(IsADirectoryError, match="a/1"):
        LocalStorage(tmp_path).read("a/1")
