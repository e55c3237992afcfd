"""Small file systems that can be filled, broken and cut off. They need root on Linux, and say so."""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN, <linux/fs.h>
_NO_LOG_FLUSH = 2
_MKFS = {"ext4": ("mkfs.ext4", "-q", "-F"), "xfs": ("mkfs.xfs", "-q", "-f")}
_SIZE = {"ext4": 48, "xfs": 320}  # MB; the smallest that mkfs.xfs makes is 300
_PACKAGE = {"ext4": "e2fsprogs", "xfs": "xfsprogs"}


def _command(*words: str) -> str:
    """Run a command; gives what it said where it failed, else nothing."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"{words[0]}: {(done.stderr or done.stdout).strip()[-200:] or 'failed'}"


@functools.cache
def missing(kind: str) -> str:
    """Why a file system of this kind ("tmpfs", "ext4", "xfs") cannot be had here; empty where it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux, to mount file systems"
    if kind != "tmpfs" and shutil.which(_MKFS[kind][0]) is None:
        return f"{_MKFS[kind][0]} is not installed (apt-get install {_PACKAGE[kind]})"
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        try:
            with disk(Path(folder), kind):
                return ""
        except OSError as error:
            return f"{kind} cannot be mounted here: {error}"


class Disk:
    """A mounted file system. ``path`` is where."""

    def __init__(self, folder: Path, kind: str, megabytes: int | None = None) -> None:
        """Raises OSError where it cannot be made or mounted."""
        self.kind, self.path, self._image = kind, folder / f"{kind}-mounted", folder / f"{kind}.img"
        self._size = megabytes or _SIZE.get(kind, 8)
        self.path.mkdir()
        if kind != "tmpfs":
            with self._image.open("wb") as file:
                file.truncate(self._size << 20)
            self._do(*_MKFS[kind], str(self._image))
        self.mount()

    def _do(self, *words: str) -> None:
        said = _command(*words)
        if said:
            raise OSError(said)

    def mount(self) -> None:
        if self.kind == "tmpfs":
            self._do("mount", "-t", "tmpfs", "-o", f"size={self._size}m", "tmpfs", str(self.path))
        else:
            options = "loop,errors=remount-ro" if self.kind == "ext4" else "loop"
            self._do("mount", "-o", options, str(self._image), str(self.path))

    def unmount(self) -> None:
        """Whoever has a file open has just been killed; the kernel may need a moment to know."""
        deadline = time.monotonic() + 20
        while said := _command("umount", str(self.path)):
            if time.monotonic() > deadline:
                raise OSError(said)
            time.sleep(0.02)

    def remount(self) -> None:
        self.unmount()
        if self.kind == "ext4":
            _command("e2fsck", "-p", str(self._image))  # after an error; a journal is replayed by the mount as well
        self.mount()

    def cut(self) -> None:
        """Nothing that is not on the disk by now will be: a power cut, as the file system sees it."""
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def fail(self) -> None:
        """An error of the file system itself, after which ext4 makes itself read-only."""
        device = _device(self.path)
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("faults")

    @property
    def can_fail(self) -> bool:
        return self.kind == "ext4" and Path(f"/sys/fs/ext4/{_device(self.path)}/trigger_fs_error").exists()

    @property
    def _ballast(self) -> Path:
        return self.path / "ballast"

    def fill(self) -> None:
        """To the last byte."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 512, 1):
                with suppress(OSError):
                    while True:
                        file.write(b"x" * size)

    def empty(self) -> None:
        self._ballast.unlink()


def _device(path: Path) -> str:
    for line in Path("/proc/mounts").read_text().splitlines():
        device, where = line.split()[:2]
        if where == os.fspath(path):
            return Path(device).name
    raise OSError(errno.ENOENT, "not mounted", os.fspath(path))


@contextmanager
def disk(folder: Path, kind: str, megabytes: int | None = None) -> Iterator[Disk]:
    """A new file system, unmounted at the end. Raises OSError."""
    one = Disk(folder, kind, megabytes)
    try:
        yield one
    finally:
        one.unmount()
