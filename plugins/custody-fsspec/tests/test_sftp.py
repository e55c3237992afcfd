"""A real SSH server on loopback: the storage contract, and a study that is killed. One writer only."""

from __future__ import annotations

import getpass
import itertools
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from custody_fsspec.opening import open_url

from custody.plugin import Storage
from custody.testing import StorageContract
from custody.testing.simulator import Simulator

sys.path.insert(0, str(Path(__file__).parent))
from study import ended, killed_and_resumed

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin")
pytestmark = [
    pytest.mark.skipif(SSHD is None, reason="sshd is not installed (Debian: openssh-server)"),
    pytest.mark.timeout(180),
]
numbers = itertools.count()
CONF = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/id.pub
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
Subsystem sftp internal-sftp
PidFile {folder}/pid
"""


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The URL of a folder on it, and a home that holds the key."""
    pytest.importorskip("paramiko", reason="paramiko is not installed: pip install 'custody-fsspec[sftp]'")
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "id"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    keys = folder / "home" / ".ssh"
    keys.mkdir(parents=True)
    shutil.copy(folder / "id", keys / "id_ed25519")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "conf").write_text(CONF.format(port=port, folder=folder))
    privileges = Path("/run/sshd")
    if not privileges.exists():
        try:
            privileges.mkdir(mode=0o755)  # of Debian's sshd; its service makes it
        except OSError:
            pytest.skip("sshd wants /run/sshd, and only root can make it")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(folder / "conf")], stdout=log, stderr=log)
    try:
        _wait_for(port, folder / "log")
        yield f"sftp://{getpass.getuser()}@127.0.0.1:{port}{folder}/data", folder / "home"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(autouse=True)
def home(sshd: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(sshd[1]))


class TestSftp(StorageContract):
    @pytest.fixture
    def url(self, sshd: tuple[str, Path]) -> str:
        return f"{sshd[0]}/{next(numbers)}"

    @pytest.fixture
    def storage(self, url: str) -> Storage:
        storage = open_url(url)
        assert storage is not None
        return storage

    @pytest.fixture
    def reopen(self, url: str) -> Callable[[], Storage | None]:
        return lambda: open_url(url, create=False)


def test_it_is_for_one_writer_and_says_why(sshd: tuple[str, Path]) -> None:
    storage = open_url(f"{sshd[0]}/one")
    assert storage is not None
    assert "no put-if-absent" in storage.not_shared
    assert getpass.getuser() + "@" not in storage.url


def test_a_server_that_does_not_answer_is_an_error_that_says_so() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="no connection"):
            open_url(f"sftp://someone@127.0.0.1:{closed.getsockname()[1]}/folder")


def test_a_killed_study_goes_on_and_pays_for_nothing_twice(
    sshd: tuple[str, Path], start: Callable[..., subprocess.Popen[str]], sim: Simulator, tmp_path: Path
) -> None:
    pytest.importorskip("openai", reason="the study asks by the openai SDK")
    root = f"{sshd[0]}/study"
    killed_and_resumed(start, sim, tmp_path / "work", root)
    (session,) = (sshd[1].parent / "data/study/projects/P/experiments/E/sessions").iterdir()
    place = f"{root}/projects/P/experiments/E/sessions/{session.name}"
    code, out, err = ended(start("-m", "custody.cli", "verify", "--deep", place))
    assert code == 0, out + err


def _wait_for(port: int, log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"sshd did not start: {log.read_text(errors='replace')[-500:]}")
