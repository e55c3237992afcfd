"""What the server is given behind a local part: at each moment something that the session was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from custody_fsspec import backlog
from custody_fsspec.behind import BehindStorage
from custody_fsspec.clients import objects_of
from custody_fsspec.opening import open_url
from custody_fsspec.part import Begun, Part, all_parts, place
from custody_fsspec.settings import Settings
from custody_fsspec.storage import ObjectStorage
from custody_fsspec.uploading import Uploading
from small_s3 import SmallS3

from custody.plugin import BacklogElsewhere, UsageError
from custody.storage import folders
from custody.storage.folders import RemoteFolder

URL = "s3://bucket/study"
SEGMENT, EVENTS, HEAD = "llm_archive/w-000001.jsonl", "SESSION_CHRONOLOG.jsonl", "system_state/head.json"


@pytest.fixture(autouse=True)
def _local(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUSTODY_LOCAL_DIR", str(tmp_path / "behind"))


def opened(behind: bool = True, url: str = URL) -> ObjectStorage:
    storage = open_url(url, settings=Settings(patience=0.3, behind=behind, waiting=5))
    assert storage is not None
    return storage


class Interleaving:
    """Objects of which every change is preceded by more that is written locally."""

    def __init__(self, objects: Any, before: Callable[[], None], after: Callable[[], None]) -> None:
        self._objects, self._before, self._after = objects, before, after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._objects, name)
        if name not in ("put", "put_new", "delete"):
            return found

        def change(*args: Any) -> Any:
            self._before()
            done = found(*args)
            self._after()
            return done

        return change


def test_what_refers_to_something_is_stored_after_it_whatever_is_written_meanwhile(
    server: SmallS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects, remote = objects_of(URL, Settings()), opened(behind=False)
    assert objects is not None
    part = Part.make(objects.store, URL)
    part.begin_log(SEGMENT, Begun(0, shared=False))
    part.begin_log(EVENTS, Begun(0, shared=True))
    segment, events = part.files.create_log(SEGMENT), part.files.shared_log(EVENTS)
    written = 0

    def write() -> None:
        nonlocal written
        written += 1
        segment.append(b'{"kind":"call"}\n')
        events.append(lambda _: [b'{"event":1}\n'])
        part.files.put(HEAD, b"%d" % written)

    def lines(name: str) -> int:
        try:
            return remote.read(name).count(b"\n")
        except FileNotFoundError:
            return 0

    seen = []

    def compare() -> None:
        calls, told = lines(SEGMENT), lines(EVENTS)
        try:
            head = int(remote.read(HEAD))
        except FileNotFoundError:
            head = 0
        assert head <= told <= calls, "what the server says refers to what it does not have"
        seen.append(head)

    def sizes(prefix: str = "") -> dict[str, int]:
        found = Part.sizes(part, prefix)
        write()  # while it is found out what there is
        return found

    write()
    monkeypatch.setattr(part, "sizes", sizes)
    uploading = Uploading(part, Interleaving(objects, write, compare))  # type: ignore[arg-type]
    for _ in range(4):
        uploading.round()
    assert seen[-1] > 1
    monkeypatch.delattr(part, "sizes")
    Uploading(part, objects).all(compacted=True)
    assert lines(SEGMENT) == lines(EVENTS) == written == int(remote.read(HEAD))
    left = [len(data) for key, (data, _) in server.objects.items() if f"{SEGMENT}.parts/" in key]
    assert left == [0], "the log of a dead writer is one object, and sealed"
    part.remove()


def test_a_shared_log_goes_on_where_the_server_has_it(server: SmallS3, monkeypatch: pytest.MonkeyPatch) -> None:
    before = opened(behind=False)
    log = before.shared_log(EVENTS)
    for number in range(50):
        log.append(lambda last, number=number: [b'{"seq":%d}\n' % number])  # type: ignore[misc]
    monkeypatch.setattr("custody_fsspec.part.SEED", 64)  # only its last line is fetched
    storage = opened()
    storage.begin()
    found: list[bytes | None] = []

    def make(last: bytes | None) -> list[bytes]:
        found.append(last)
        return [b'{"seq":50}\n']

    storage.shared_log(EVENTS).append(make)
    assert found == [b'{"seq":49}']
    whole = b"".join(b'{"seq":%d}\n' % number for number in range(51))
    assert storage.read(EVENTS) == whole
    assert storage.read(EVENTS, 5, 40) == whole[5:45] and storage.read(EVENTS, 400) == whole[400:]
    assert {e.name: e.size for e in storage.list()}[EVENTS] == len(whole)
    storage.finish()
    assert opened(behind=False).read(EVENTS) == whole


def test_what_is_removed_here_is_removed_there_and_not_before_what_replaces_it(server: SmallS3) -> None:
    storage = opened()
    storage.put("old.json", b"1")
    storage.begin()
    storage.put("new.json", b"2")
    storage.remove("old.json")
    assert [e.name for e in storage.list() if "/" not in e.name] == ["new.json"]
    with pytest.raises(FileNotFoundError):
        storage.read("old.json")
    assert storage.put_if_absent("old.json", b"3") and storage.read("old.json") == b"3"
    storage.remove("old.json")
    storage.finish()
    assert [key for key in server.objects if key.endswith(".json")] == ["study/new.json"]
    changes = [(method, key) for method, key in server.asked if key in ("study/new.json",) or method == "DELETE"]
    assert changes[0] == ("PUT", "study/new.json")


def test_another_machine_is_told_and_a_dead_process_part_is_taken_up(
    server: SmallS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    storage = opened()
    storage.begin()
    assert isinstance(storage, BehindStorage)
    mine = storage.backlog()
    assert mine is not None and mine.here and mine.calls == 0 and mine.machine == backlog.machine()
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("CUSTODY_LOCAL_DIR", str(tmp_path / "elsewhere"))
        there = opened(behind=False)
        found = there.backlog()
        assert found is not None and not found.here and found.calls is None
        for behind in (False, True):
            with pytest.raises(BacklogElsewhere, match=backlog.machine()):
                opened(behind=behind).begin()
        there.catch_up()
        assert there.backlog() is not None, "what lies elsewhere cannot be stored from here"
    assert list(all_parts()) == [], "its process lives"
    storage.finish()
    assert opened(behind=False).backlog() is None and not place(storage._objects.store, URL).exists()


def test_a_catch_up_that_was_cut_short_is_done_again(server: SmallS3) -> None:
    objects = objects_of(URL, Settings(patience=0.3))
    assert objects is not None
    part = Part.make(objects.store, URL)
    backlog.mark(objects, part)
    part.files.put("a.json", b"1")
    server.fail = 503
    with pytest.raises(OSError, match="503"):
        backlog.catch_up(objects, part)
    server.fail = None
    part.mark_uploaded()  # as if the kill came between the last upload and the marker
    part.close()
    opened(behind=False, url="s3://bucket").catch_up()
    assert backlog.marker(objects) is None and list(all_parts()) == []


def test_the_marker_names_a_machine_and_no_folder_of_it(server: SmallS3, tmp_path: Path) -> None:
    storage = opened()
    storage.begin()
    said = json.loads(server.objects[f"study/{backlog.MARKER}"][0])
    assert said.keys() == {"machine", "since", "token"}
    storage.finish()


def test_a_server_that_cannot_keep_writers_apart_is_refused(server: SmallS3) -> None:
    server.conditional = "ignored"
    with pytest.raises(UsageError, match="keeps writers apart"):
        opened(url="s3://another/study").begin()


def test_whether_a_folder_is_there_is_asked_without_listing_what_is_below(server: SmallS3) -> None:
    storage = opened(behind=False)
    for number in range(30):
        storage.put(f"projects/P/{number:03d}/deep/object", b"")
    asked: list[str] = []
    folders._opened[URL] = Watched(storage, asked)  # type: ignore[assignment]
    try:
        assert RemoteFolder(URL).is_dir()
        assert [each.name for each in RemoteFolder(URL).iterdir()] == ["projects"]
    finally:
        folders._opened.pop(URL)
    assert asked == ["folders", "folders"]


class Watched:
    """A storage that says what it is asked."""

    def __init__(self, storage: Any, asked: list[str]) -> None:
        self._storage, self._asked = storage, asked

    def folders(self, prefix: str = "") -> Any:
        self._asked.append("folders")
        return self._storage.folders(prefix)

    def list(self, prefix: str = "") -> Any:
        self._asked.append("list")
        return self._storage.list(prefix)
