"""LocalStorage keeps the storage contract, and its claims hold between processes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from custody.storage import local
from custody.storage.local import LocalStorage
from custody.testing import StorageContract


class TestLocalStorage(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> LocalStorage:
        return LocalStorage(tmp_path / "session")

    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Callable[[], LocalStorage]:
        return lambda: LocalStorage(tmp_path / "session", create=False)

    @pytest.fixture
    def outage(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
        def fail(fd: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        return lambda: monkeypatch.setattr(local, "_sync", fail)

    listing_seconds = 60.0  # until there are more than a thousand, however slow the disk


HOLDER = """
    import sys, time
    from pathlib import Path
    from custody.storage.local import LocalStorage

    storage = LocalStorage(Path(sys.argv[1]))
    held = storage.claim("claims.lock", b"token"), storage.lock("owner.lock")
    assert None not in held
    print("held", flush=True)
    time.sleep(60)
"""


def test_claims_and_locks_hold_between_processes_and_die_with_them(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert storage.claim("claims.lock", b"token") is None
        assert storage.lock("owner.lock") is None
        other = storage.claim("claims.lock", b"another token")
        assert other is not None
        other.release()
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    freed = storage.claim("claims.lock", b"token"), storage.lock("owner.lock")
    assert None not in freed
    for lock in freed:
        lock.release()


def test_what_was_appended_survives_the_death_of_its_writer(tmp_path: Path) -> None:
    script = "import os, sys; from pathlib import Path; from custody.storage.local import LocalStorage\n"
    script += (
        "log = LocalStorage(Path(sys.argv[1])).create_log('log.jsonl'); log.append(b'line\\n'); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert killed.returncode == -9
    assert LocalStorage(tmp_path).read("log.jsonl") == b"line\n"
