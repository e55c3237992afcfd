"""What a power cut may leave of a recording: the operations so far, and a choice of what of them reached the disk.

The rules are those that POSIX gives a program, harder than any one file system. What a sync covers is there.
Of what none covers, every page of 4096 bytes is there or not, each for itself: one that is not reads as it
did before, or as zeros where the file had not been so long; and the file may end anywhere between its old
and its new size. Names are there when their folder was synced; of later ones, those up to some point.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from campaign.recording import Op

PAGE = 4096

Choose = Callable[[int], int]
"""``choose(n)``: a number from 0 to n."""


@dataclass
class _File:
    changes: list[Op] = field(default_factory=list)
    synced: int = 0


@dataclass
class _Folder:
    names: list[Op] = field(default_factory=list)
    synced: int = 0


class Disk:
    """Files and names after some operations; ``left`` is what a power cut may leave of them."""

    def __init__(self) -> None:
        self._files: dict[int, _File] = defaultdict(_File)
        self._folders: dict[str, _Folder] = defaultdict(_Folder)
        self.acked: dict[int, str] = {}

    def apply(self, op: Op) -> None:
        if op.kind == "ack":
            self.acked[op.item] = op.path
        elif op.kind in ("write", "truncate"):
            self._files[op.file].changes.append(op)
        elif op.kind == "sync":
            self._files[op.file].synced = max(self._files[op.file].synced, op.at)
        elif op.kind == "syncdir":
            folder = self._folders[op.path]
            folder.synced = max(folder.synced, op.at)
        elif op.kind == "durable":
            for file in self._files.values():
                file.synced = len(file.changes)
            for folder in self._folders.values():
                folder.synced = len(folder.names)
        elif op.path != ".":
            for folder_path in {os.path.dirname(path) for path in (op.path, op.to) if path}:
                self._folders[folder_path or "."].names.append(op)

    def whole(self) -> dict[str, bytes]:
        """Everything: what a kill leaves."""
        return self.left(lambda most: most, torn=False)

    def least(self) -> dict[str, bytes]:
        """Only what a sync covers."""
        return self.left(lambda most: 0)

    def left(self, choose: Choose, *, torn: bool = True) -> dict[str, bytes]:
        """Files by path. ``choose(0)`` always is the least, the largest number the most."""
        found: dict[str, bytes] = {}
        contents: dict[int, bytes] = {}
        for path, number in self._names(".", choose):
            if number not in contents:
                contents[number] = self._content(self._files[number], choose, torn=torn)
            found[path] = contents[number]
        return found

    def _names(self, folder: str, choose: Choose) -> Iterable[tuple[str, int]]:
        pending = self._folders[folder]
        upto = pending.synced + choose(len(pending.names) - pending.synced)
        here: dict[str, tuple[bool, int]] = {}
        for op in pending.names[:upto]:
            if op.kind in ("unlink", "rename"):
                here.pop(op.path, None)
            if op.kind in ("link", "rename"):
                here[op.to] = (False, op.file)
            elif op.kind in ("create", "mkdir"):
                here[op.path] = (op.kind == "mkdir", op.file)
        for path, (is_folder, number) in here.items():
            if is_folder:
                yield path + "/", 0
                yield from self._names(path, choose)
            else:
                yield path, number

    @staticmethod
    def _content(file: _File, choose: Choose, *, torn: bool) -> bytes:
        old = _applied(b"", file.changes[: file.synced])
        pending = file.changes[file.synced :]
        if not pending:
            return old
        new = _applied(old, pending[: choose(len(pending))])
        if not torn or new == old:
            return new
        size = min(len(old), len(new)) + choose(abs(len(new) - len(old)))
        pages = []
        for start in range(0, size, PAGE):
            ours, before = new[start : start + PAGE], old[start : start + PAGE]
            kept = ours if ours == before or choose(1) else before
            pages.append(kept[: size - start].ljust(min(PAGE, size - start), b"\0"))
        return b"".join(pages)


def _applied(content: bytes, changes: Iterable[Op]) -> bytes:
    data = bytearray(content)
    for op in changes:
        if op.kind == "truncate":
            del data[op.at :]
            data.extend(bytes(op.at - len(data)))
        else:
            data.extend(bytes(max(0, op.at - len(data))))
            data[op.at : op.at + len(op.data)] = op.data
    return bytes(data)


def materialise(files: dict[str, bytes], folder: Path) -> None:
    """Write a state down."""
    folder.mkdir(parents=True)
    for path, data in files.items():
        if path.endswith("/"):
            (folder / path).mkdir(parents=True, exist_ok=True)
        else:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
