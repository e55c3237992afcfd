"""A real S3 server on loopback: Ceph's RADOS gateway over one monitor and one OSD that keeps everything in memory.

Debian: ``apt install --no-install-recommends radosgw ceph-mon ceph-osd ceph-common``. By hand::

    python plugins/custody-fsspec/tests/rgw.py        # prints the variables, and serves until it is ended
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "monmaptool", "ceph-authtool")
ACCESS, SECRET = "custodytest", "custodytestsecret"
SPACE = 4 * 1024**3  # bytes that it may keep, in memory
_CONF = """[global]
fsid = {fsid}
mon host = v1:127.0.0.1:{mon}
public network = 127.0.0.0/8
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = {space}
mon allow pool size one = true
mon data = {root}/mon
osd data = {root}/osd
osd journal = {root}/osd/journal
run dir = {root}/run
log file = {root}/$name.log
admin socket = {root}/run/$name.asok
pid file = {root}/run/$name.pid
mon initial members = a
ms bind msgr2 = false
debug ms = 0
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{rgw} tcp_nodelay=1
rgw enable usage log = false
rgw data = {root}/rgw
keyring = {root}/keyring
"""


def missing() -> list[str]:
    """Which of its programs are not installed."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


class Gateway:
    """``endpoint`` is its address; ``stop`` and ``start`` are an outage."""

    def __init__(self, root: Path, space: int = SPACE) -> None:
        self.root, self.space, self.port = root, space, _free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.conf = root / "ceph.conf"
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def create(self) -> None:
        for folder in ("mon", "osd", "run", "rgw"):
            (self.root / folder).mkdir()
        fsid, mon = str(uuid.uuid4()), _free_port()
        self.conf.write_text(_CONF.format(fsid=fsid, mon=mon, rgw=self.port, root=self.root, space=self.space))
        keyring, monmap = self.root / "keyring", self.root / "monmap"
        self._run("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        self._run(
            "ceph-authtool",
            keyring,
            "--gen-key",
            "-n",
            "client.admin",
            "--cap",
            "mon",
            "allow *",
            "--cap",
            "osd",
            "allow *",
            "--cap",
            "mgr",
            "allow *",
        )
        self._run("monmaptool", "--create", "--addv", "a", f"[v1:127.0.0.1:{mon}]", "--fsid", fsid, monmap)
        self._run("ceph-mon", "-c", self.conf, "-i", "a", "--mkfs", "--monmap", monmap, "--keyring", keyring)
        self._daemon("mon", "ceph-mon", "-i", "a", "-f")
        uid = str(uuid.uuid4())
        self._ceph("osd", "new", uid)
        self._run("ceph-osd", "-c", self.conf, "-i", "0", "--mkfs", "--osd-uuid", uid)
        self._daemon("osd", "ceph-osd", "-i", "0", "-f")
        self.start()
        self._run(
            "radosgw-admin",
            "-c",
            self.conf,
            "-n",
            "client.rgw",
            "user",
            "create",
            "--uid",
            "test",
            "--display-name",
            "test",
            "--access-key",
            ACCESS,
            "--secret",
            SECRET,
        )

    def start(self) -> None:
        self._daemon("rgw", "radosgw", "-n", "client.rgw", "-f")
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                with contextlib.suppress(urllib.error.HTTPError):
                    urllib.request.urlopen(self.endpoint, timeout=5).close()
                return
            # It gives up where the other two are slow to begin, and the second where the first one refuses it at first.
            if self._daemons["osd"].poll() is not None:
                self._daemon("osd", "ceph-osd", "-i", "0", "-f")
            if self._daemons["rgw"].poll() is not None:
                self._daemon("rgw", "radosgw", "-n", "client.rgw", "-f")
            time.sleep(0.2)
        logs = [path.read_text(errors="replace")[-1500:] for path in self.root.glob("*rgw*") if path.is_file()]
        raise RuntimeError("radosgw did not come up: " + "\n".join(logs))

    def stop(self) -> None:
        self._end("rgw")

    def close(self) -> None:
        for name in ("rgw", "osd", "mon"):
            self._end(name)

    def _end(self, name: str) -> None:
        daemon = self._daemons.pop(name, None)
        if daemon is not None:
            daemon.kill()
            daemon.wait()

    def _daemon(self, name: str, program: str, *arguments: str) -> None:
        with open(self.root / f"{name}.out", "ab") as out:
            self._daemons[name] = subprocess.Popen([program, "-c", str(self.conf), *arguments], stdout=out, stderr=out)

    def _ceph(self, *arguments: str) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                return self._run("ceph", "-c", self.conf, "--connect-timeout", "60", *arguments)
            except RuntimeError:  # a monitor that has only just come up may answer EPERM to whatever it is asked
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def _run(self, *command: object) -> None:
        done = subprocess.run([str(part) for part in command], capture_output=True, timeout=120, check=False)
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stderr.decode(errors='replace')[-2000:]}")


def _free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


@contextlib.contextmanager
def gateway(space: int = SPACE) -> Iterator[Gateway]:
    """Up in about 15 seconds."""
    root = Path(tempfile.mkdtemp(prefix="rgw-"))  # short: its sockets' paths are limited
    made = Gateway(root, space)
    try:
        made.create()
        yield made
    finally:
        made.close()
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    with gateway() as up:
        print(
            f"export AWS_ENDPOINT_URL={up.endpoint} AWS_ACCESS_KEY_ID={ACCESS} AWS_SECRET_ACCESS_KEY={SECRET} "
            "AWS_REGION=us-east-1",
            flush=True,
        )
        with contextlib.suppress(KeyboardInterrupt):
            signal.sigwait({signal.SIGINT, signal.SIGTERM}) if os.name == "posix" else time.sleep(1e9)
