"""The storage contract, on every backend that runs here."""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from custody_fsspec.opening import open_url
from custody_fsspec.settings import Settings

from custody.plugin import Storage
from custody.testing import StorageContract

sys.path.insert(0, str(Path(__file__).parent))
from servers import make_bucket, moto

numbers = itertools.count()


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with moto() as endpoint:
        make_bucket(endpoint, "bucket")
        yield endpoint


@pytest.fixture
def credentials(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": s3,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)


class Contract(StorageContract):
    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError

    client = "auto"

    @pytest.fixture
    def storage(self, url: str) -> Storage:
        storage = open_url(url, create=True, settings=Settings(client=self.client))
        assert storage is not None
        return storage

    @pytest.fixture
    def reopen(self, url: str) -> Callable[[], Storage | None]:
        return lambda: open_url(url, create=False, settings=Settings(client=self.client))

    @pytest.fixture
    def opener(self) -> Callable[..., Storage | None]:
        return functools.partial(open_url, settings=Settings(client=self.client))

    @pytest.fixture
    def outage(self, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
        def refuse(key: str, data: bytes) -> None:
            raise OSError("the server is down")

        def begin() -> None:
            for name in ("put", "put_new"):
                monkeypatch.setattr(storage._objects, name, refuse)  # type: ignore[attr-defined]

        return begin


class TestMemory(Contract):
    @pytest.fixture
    def url(self) -> str:
        return f"memory://contract-{next(numbers)}"


class TestFile(Contract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"file://{tmp_path}/a/b"


@pytest.mark.usefixtures("credentials")
class TestObstore(Contract):
    client = "obstore"

    @pytest.fixture(autouse=True)
    def as_a_worker(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Then claims are leases, too."""
        monkeypatch.setenv("CUSTODY_WORKER", "contract")

    @pytest.fixture
    def url(self) -> str:
        pytest.importorskip("obstore", reason="obstore is not installed: pip install 'custody-fsspec[s3]'")
        return f"s3://bucket/contract/{next(numbers)}"


def _content(storage: Storage | None) -> dict[str, bytes]:
    assert storage is not None
    names = [entry.name for entry in storage.list() if not entry.name.startswith(("system_state/workers/", "many/"))]
    return {name: storage.read(name) for name in names}


@pytest.mark.usefixtures("credentials")
class TestBehind(Contract):
    """Written on this machine first."""

    @pytest.fixture
    def url(self) -> str:
        pytest.importorskip("obstore", reason="obstore is not installed: pip install 'custody-fsspec[s3]'")
        return f"s3://bucket/contract/{next(numbers)}"

    @pytest.fixture
    def storage(self, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
        monkeypatch.setenv("CUSTODY_LOCAL_DIR", str(tmp_path / "behind"))
        storage = open_url(url, settings=Settings(behind=True))
        assert storage is not None
        storage.begin()
        yield storage
        here = _content(storage)
        storage.finish()
        assert storage.backlog() is None
        assert _content(open_url(url, create=False, settings=Settings())) == here, "the server got other bytes"

    @pytest.fixture
    def reopen(self, url: str) -> Callable[[], Storage | None]:
        return lambda: open_url(url, create=False, settings=Settings(behind=True))

    not_applicable: ClassVar = {
        "processes": "another process has to begin() first, and end; test_part.py has two that share a folder",
        "url": "what lies on this machine is the session's; the folders above it see what is stored behind",
    }

    @pytest.fixture
    def outage(self) -> None:
        """The server's is none here: test_behind.py."""


@pytest.mark.usefixtures("credentials")
class TestS3fs(Contract):
    client = "fsspec"

    @pytest.fixture
    def url(self) -> str:
        pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'custody-fsspec[s3fs]'")
        return f"s3://bucket/contract/{next(numbers)}"
