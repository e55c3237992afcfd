"""Folders below a URL: what a URL keeps, and that nothing is found where a plugin says that nothing is."""

from __future__ import annotations

from pathlib import Path

import pytest

from custody.errors import StorageError, StorageNotFound, UsageError
from custody.storage import Storage, folders
from custody.storage.folders import RemoteFolder, folder
from custody.storage.local import LocalStorage


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("sqlite:///data/study.db", "sqlite:///data/study.db"),
        ("sqlite:////data//study.db/", "sqlite:///data/study.db"),
        ("s3://bucket/study/", "s3://bucket/study"),
        ("redis://host", "redis://host"),
    ],
)
def test_an_absolute_path_stays_absolute(written: str, kept: str) -> None:
    found = folder(written)
    assert str(found) == kept == str(folder(kept))
    below = found / "projects/P"
    assert str(below) == f"{kept}/projects/P"
    assert below.parents[1] == below.parent.parent == found
    assert hash(below) == hash(folder(f"{kept}/projects/P")) and below != folder(kept.replace("://", "://x/"))


def test_a_path_and_a_host_are_two_places() -> None:
    assert folder("sqlite:///data/study.db") != folder("sqlite://data/study.db")
    with pytest.raises(UsageError):
        folder("sqlite:///data/../study.db")


def test_nothing_is_found_where_nothing_is_and_what_is_made_later_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opener(url: str, create: bool) -> Storage:
        path = tmp_path / url.removeprefix("strict://")
        if not create and not path.is_dir():
            raise StorageNotFound(f"{url} does not exist")
        return LocalStorage(path, create=create)

    monkeypatch.setattr(folders, "opener", opener)
    root = RemoteFolder("strict://root")
    assert not (root.exists() or (root / "file").is_file() or list(root.iterdir()) or list(root.glob("a/*/b")))
    with pytest.raises(FileNotFoundError):
        (root / "file").read_bytes()
    folders.at(root, create=True).put("file", b"content")
    assert root.is_dir() and (root / "file").read_bytes() == b"content"


def test_a_storage_that_cannot_say_is_not_taken_for_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies there would be paid for again."""

    def opener(url: str, create: bool) -> Storage:
        raise StorageError("the password is wrong")

    monkeypatch.setattr(folders, "opener", opener)
    with pytest.raises(StorageError, match="password"):
        RemoteFolder("strict://locked").is_dir()
