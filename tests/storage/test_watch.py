"""The watch says so whenever another writer's log has grown, and stays silent about one's own."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from custody.storage import Watched
from custody.storage.local import LocalStorage
from custody.storage.watch import FolderWatch


def settled(folder: Path) -> None:
    """As if the folder had been left alone for a while."""
    past = time.time_ns() - 60 * 10**9
    os.utime(folder, ns=(past, past))


def write(path: Path, text: str = "line\n") -> None:
    with path.open("a") as file:
        file.write(text)


def test_what_others_write_is_news_until_it_is_taken(tmp_path: Path) -> None:
    watch = FolderWatch(tmp_path, "mine")
    write(tmp_path / "other-000001.jsonl")
    for _ in range(2):
        assert watch.changed()
    watch.taken()
    assert not watch.changed()
    settled(tmp_path)
    assert not watch.changed()
    write(tmp_path / "other-000001.jsonl")  # the folder's own time does not move
    assert watch.changed()
    watch.taken()
    assert not watch.changed()


def test_what_one_writes_oneself_is_none(tmp_path: Path) -> None:
    watch = FolderWatch(tmp_path, "mine")
    for number in (1, 2):
        write(tmp_path / f"mine-{number:06d}.jsonl")
        assert not watch.changed()


def test_a_log_that_begins_right_after_a_look_is_seen(tmp_path: Path) -> None:
    watch = FolderWatch(tmp_path, "mine")
    assert not watch.changed()
    before = tmp_path.stat()
    write(tmp_path / "other-000001.jsonl")
    os.utime(tmp_path, ns=(before.st_atime_ns, before.st_mtime_ns))  # within one tick of the clock
    assert watch.changed()


def test_a_log_that_is_taken_away_is_news(tmp_path: Path) -> None:
    watch = FolderWatch(tmp_path, "mine")
    write(tmp_path / "other-000001.jsonl")
    settled(tmp_path)
    assert watch.changed()
    watch.taken()
    (tmp_path / "other-000001.jsonl").unlink()
    settled(tmp_path)
    assert watch.changed()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["new", "grow", "rotate", "mine", "settle", "look", "take"]), max_size=25))
def test_it_never_keeps_silent_about_anything_new(tmp_path_factory, steps: list[str]) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("watched")
    watch, writers, taken, found = FolderWatch(folder, "mine"), [1], {}, {}

    def sizes() -> dict[str, int]:
        return {path.name: path.stat().st_size for path in folder.iterdir() if not path.name.startswith("mine")}

    for step in steps:
        if step == "new":
            writers.append(1)
            write(folder / f"w{len(writers):03d}-000001.jsonl")
        elif step == "grow":
            write(folder / f"w{len(writers):03d}-{writers[-1]:06d}.jsonl")
        elif step == "rotate":
            writers[-1] += 1
            write(folder / f"w{len(writers):03d}-{writers[-1]:06d}.jsonl")
        elif step == "mine":
            write(folder / "mine-000001.jsonl")
        elif step == "settle":
            settled(folder)
        else:
            found = sizes()
            changed = watch.changed()
            assert changed is (found != taken)
            if changed and step == "take":
                watch.taken()
                taken = found


def test_a_folder_s_storage_can_be_watched(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    assert isinstance(storage, Watched)
    watch = storage.watch("llm_archive", "mine")
    assert not watch.changed()
    log = storage.create_log("llm_archive/other-000001.jsonl")
    log.append(b"x\n")
    log.close()
    assert watch.changed()


def test_a_shared_log_that_was_replaced_is_opened_again(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    log = storage.shared_log("log")
    log.append(lambda last: [b"one\n"])
    (tmp_path / "copy").write_bytes((tmp_path / "log").read_bytes())
    (tmp_path / "copy").replace(tmp_path / "log")
    seen: list[bytes | None] = []
    log.append(lambda last: [seen.append(last) or b"two\n"])  # type: ignore[func-returns-value]
    assert seen == [b"one"]
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"


def test_a_forked_child_has_a_lock_of_its_own(tmp_path: Path) -> None:
    log = LocalStorage(tmp_path).shared_log("log")
    log.append(lambda last: [b"0\n"])

    def count(last: bytes | None) -> list[bytes]:
        time.sleep(0.001)
        return [b"%d\n" % (int(last or 0) + 1)]

    child = os.fork()
    for _ in range(50):
        log.append(count)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert (tmp_path / "log").read_bytes().split() == [b"%d" % n for n in range(101)]


def test_a_child_that_lives_on_holds_no_lock_of_its_killed_parent(tmp_path: Path) -> None:
    ready, told = os.pipe()
    parent = os.fork()
    if parent == 0:
        log = LocalStorage(tmp_path).shared_log("log")
        log.append(lambda last: [b"1\n"])
        if os.fork() == 0:
            time.sleep(20)
            os._exit(0)

        def killed(last: bytes | None) -> list[bytes]:
            os.write(told, b"x")
            os.kill(os.getpid(), signal.SIGKILL)
            return []

        log.append(killed)
    assert os.read(ready, 1) == b"x"
    os.waitpid(parent, 0)
    begun = time.monotonic()
    LocalStorage(tmp_path).shared_log("log").append(lambda last: [b"2\n"])
    assert time.monotonic() - begun < 10
