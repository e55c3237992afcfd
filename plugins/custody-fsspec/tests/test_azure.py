"""Azure's own emulator of its blob storage, Azurite: the contract, with leases, and a study that is killed.

It is a program for Node: ``make azure`` installs it and runs this. Elsewhere the tests are skipped.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from custody_fsspec import probe
from custody_fsspec.clients import objects_of
from custody_fsspec.opening import open_url
from custody_fsspec.settings import Settings
from custody_fsspec.storage import LeasedStorage

from custody.plugin import Storage
from custody.testing import StorageContract
from custody.testing.simulator import Simulator

sys.path.insert(0, str(Path(__file__).parent))
from study import ended, killed_and_resumed

PROGRAM = os.environ.get("CUSTODY_TEST_AZURITE") or shutil.which("azurite-blob")
ACCOUNT = "devstoreaccount1"
# The key that the emulator has for everybody (Microsoft's documentation of Azurite).
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
pytestmark = [
    pytest.mark.skipif(not PROGRAM, reason="Azurite is not installed: make azure"),
    pytest.mark.timeout(300),
]
numbers = itertools.count()


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Its port; there is a container ``box``."""
    pytest.importorskip("obstore", reason="obstore is not installed: pip install 'custody-fsspec[s3]'")
    folder = tmp_path_factory.mktemp("azurite")
    log = folder / "log"
    with log.open("wb") as out:
        words = ["--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence"]
        quiet = ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
        process = subprocess.Popen([str(PROGRAM), *words, *quiet], cwd=folder, stdout=out, stderr=out)
    try:
        port = _port(log)
        _make_container(port, "box")
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@pytest.fixture
def account(azurite: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AZURE_STORAGE_USE_EMULATOR": "true",
        "AZURITE_BLOB_STORAGE_URL": f"http://127.0.0.1:{azurite}",
        "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
        "AZURE_STORAGE_ACCOUNT_KEY": KEY,
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("account")
class TestAzure(StorageContract):
    @pytest.fixture(autouse=True)
    def as_a_worker(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Then claims are leases, too."""
        monkeypatch.setenv("CUSTODY_WORKER", "contract")

    @pytest.fixture
    def url(self) -> str:
        return f"az://box/contract/{next(numbers)}"

    @pytest.fixture
    def storage(self, url: str) -> Storage:
        storage = open_url(url, settings=Settings(client="obstore"))
        assert storage is not None
        return storage

    @pytest.fixture
    def reopen(self, url: str) -> Callable[[], Storage | None]:
        return lambda: open_url(url, create=False, settings=Settings(client="obstore"))


@pytest.mark.usefixtures("account")
def test_it_is_for_several_writers() -> None:
    objects = objects_of("az://box/probe", Settings())
    assert objects is not None
    can = probe.capabilities(objects)
    assert can.put_if_absent and can.server_clock and can.durability == "server"
    assert isinstance(open_url("az://box/probe"), LeasedStorage)


@pytest.mark.usefixtures("account")
def test_a_killed_study_goes_on_and_pays_for_nothing_twice(
    start: Callable[..., subprocess.Popen[str]], sim: Simulator, tmp_path: Path
) -> None:
    pytest.importorskip("openai", reason="the study asks by the openai SDK")
    root = "az://box/study"
    killed_and_resumed(start, sim, tmp_path / "work", root)
    (session,) = objects_of(root, Settings()).names("projects/P/experiments/E/sessions")  # type: ignore[union-attr]
    code, out, err = ended(
        start("-m", "custody.cli", "verify", "--deep", f"{root}/projects/P/experiments/E/sessions/{session}")
    )
    assert code == 0, out + err


def _port(log: Path) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for line in log.read_text(errors="replace").splitlines():
            if "successfully listens on" in line:
                return int(line.rpartition(":")[2])
        time.sleep(0.1)
    raise AssertionError(f"Azurite did not start: {log.read_text(errors='replace')[-500:]}")


def _make_container(port: int, name: str) -> None:
    """With the one request that no storage sends, signed with the account's key."""
    date = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    version = "2021-08-06"
    resource = f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    text = "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:{version}\n{resource}"
    signature = base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()
    headers = {
        "x-ms-date": date, "x-ms-version": version, "Content-Length": "0",
        "Authorization": f"SharedKey {ACCOUNT}:{signature}",
    }  # fmt: skip
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("PUT", f"/{ACCOUNT}/{name}?restype=container", headers=headers)
    assert connection.getresponse().status == 201
    connection.close()
