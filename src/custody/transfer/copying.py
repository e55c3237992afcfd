"""Copies a session to another root: the manifest last, so that a copy that was killed is no session yet.

``system_state/unfinished_copy.json`` is the first file at the target, and removed when all the others were read back
and are equal. What a killed copy left is compared, and what is equal is not sent again.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from custody import layout
from custody.errors import StorageError, StorageNotFound, UsageError
from custody.report.verify import verify
from custody.sessions import behind, process
from custody.sessions import manifest as manifests
from custody.stamps import now
from custody.storage.folders import Folder
from custody.storage.local import make_folder
from custody.transfer import around, contents, places
from custody.transfer.comparing import Comparison, compare, is_unfinished, some
from custody.transfer.places import Place
from custody.transfer.streaming import Digest, digest, of_target, send
from custody.transfer.together import together


@dataclass
class Copied:
    """A session that lies whole at ``target``. Sizes in bytes.

    Attributes:
        sent, sent_bytes: what was not there before.
        sound: what ``verify --deep`` says of the copy; an unsound session is copied as it is.
        left_out: links and the like, which no storage can hold.
        held: nobody could write to the source meanwhile; else it was looked at again at the end.
    """

    session: str
    source: str
    target: str
    files: int = 0
    bytes: int = 0
    sent: int = 0
    sent_bytes: int = 0
    calls: int = 0
    sound: bool = False
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    held: bool = True

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def copy(source: Place, root: Folder, *, what: str = "copied", processes: int = 1) -> tuple[Copied, dict[str, Digest]]:
    """Copy all of a session that is not below ``root``, read it back, and verify. Gives the digests of all files, too.

    Args:
        what: is to be done with it, for messages.
        processes: at most so many verify.

    Raises:
        UsageError: the target has other bytes, or can be none; nothing was changed.
        SessionBusy: somebody has the target open.
        BacklogElsewhere: calls of the source are not stored there yet.
        StorageError: the target refuses, or gives back other bytes than it was given.
        OSError: the source cannot be read.
    """
    manifests.read(source.storage)
    behind.refuse(source.storage)  # a copy would lack what lies on a machine only
    if is_unfinished(source.storage):
        raise UsageError(f"{source} is itself a copy that has not come to its end: finish that one first")
    path, frozen = places.target_of(source.path, root), around.frozen(source)
    with contextlib.ExitStack() as stack:
        try:
            with contextlib.suppress(StorageNotFound):
                looked = places.seen(path)
                places.refuse_if_same(source, looked)  # before it is held, which it would be already
                _refuse_frozen(source, looked, frozen)
            target = stack.enter_context(places.held(path, f"{what} to it", must=True))
        except NotADirectoryError as error:
            raise UsageError(f"{root}: a file is where a folder should be") from error
        except OSError as error:
            raise StorageError(f"{root} cannot be used as a root: {error.strerror or error}") from error
        copied, digests = _bytes(source, target, frozen)
    verdict = verify(target.storage, deep=True, processes=processes)  # not while it is held: that looks alive
    copied.calls, copied.sound = verdict.calls, verdict.sound
    copied.problems, copied.remarks = verdict.problems, verdict.remarks
    return copied, digests


def _bytes(source: Place, target: Place, frozen: dict[str, bytes]) -> tuple[Copied, dict[str, Digest]]:
    files = contents.files(source.storage)
    carried = around.carry(source)
    found = compare(source.storage, target.storage, files)
    if layout.MANIFEST in found.missing and _begun_from(target) == str(source):
        # A copy of ours that was never a session: the source may have gone on since.
        found.begun, found.different = found.begun + found.different, []
    _refuse(found, target)
    copied = Copied(source.path.name, str(source), str(target), held=source.held)
    copied.left_out = contents.unusual(source.path)
    digests = dict(found.equal)
    unfinished = bool(found.missing or found.begun) or is_unfinished(target.storage)
    if unfinished:
        _begin(source, target)
    around.freeze(frozen, target)
    if carried is not None:
        _carry(target, *carried)
    if unfinished:
        for name in found.begun:
            target.storage.remove(name)
        wanted = [*found.missing, *found.begun]
        digests |= _sent(source, target, [name for name in wanted if name != layout.MANIFEST], files)
        if contents.files(source.storage) != files:
            raise StorageError(f"{source} was changed while it was copied: run the same command again")
        if layout.MANIFEST in wanted:
            digests |= _sent(source, target, [layout.MANIFEST], files)
        with of_target(target.storage, layout.COPYING):
            target.storage.remove(layout.COPYING)
        copied.sent, copied.sent_bytes = len(wanted), sum(files[name] for name in wanted)
    copied.files, copied.bytes = len(files), sum(files.values())
    return copied, digests


def _refuse_frozen(source: Place, target: Place, frozen: dict[str, bytes]) -> None:
    if others := around.others(frozen, target):
        raise UsageError(
            f"{target.path.parents[1]} has another {some(others)} than the one that {source.path.name} is bound to. "
            "Nothing was overwritten: copy to another root"
        )


def _refuse(found: Comparison, target: Place) -> None:
    if found.begun and not is_unfinished(target.storage):
        found.different += found.begun  # no copy of ours left it
    if found.different or found.extra:
        what = [f"{some(found.different)} {_has(found.different)} other bytes there"] if found.different else []
        what += [f"{some(found.extra)} {_has(found.extra)} no source"] if found.extra else []
        raise UsageError(
            f"{target} holds something else under this id: {'; '.join(what)}. Nothing was overwritten. If one of the "
            "two was continued, compare them with custody status; copy to another root, or remove the older one"
        )


def _has(names: list[str]) -> str:
    return "has" if len(names) == 1 else "have"


def _begun_from(target: Place) -> str | None:
    """The source of a copy that has not come to its end; None where there is none."""
    try:
        return str(json.loads(target.storage.read(layout.COPYING))["from"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _begin(source: Place, target: Place) -> None:
    said = {"from": str(source), "began": now(), "custody": process.custody_version()}
    with of_target(target.storage, layout.COPYING):
        target.storage.put(layout.COPYING, json.dumps(said, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
    if isinstance(target.path, Path):
        with of_target(target.storage, layout.STATE):
            for folder in layout.FOLDERS:
                make_folder(target.path / folder)
            for left in target.path.rglob(".tmp-*"):  # by a copy that was killed: as large as what it was copying
                left.unlink(missing_ok=True)


def _sent(source: Place, target: Place, names: list[str], sizes: dict[str, int]) -> dict[str, Digest]:
    """Send files, and compare what is read back of them."""

    def one(name: str) -> Digest:
        given = send(source.storage, target.storage, name, sizes[name])
        _check(target, name, given)
        return given

    return together(one, names, sizes)


def _carry(target: Place, name: str, data: bytes) -> None:
    with of_target(target.storage, name):
        if not any(entry.name == name for entry in target.storage.list(name)):
            target.storage.put_if_absent(name, data)
        found = target.storage.read(name)
    if found != data:
        raise StorageError(f"{target}/{name} is not what was written: custody verify {target}")


def _check(target: Place, name: str, given: Digest) -> None:
    with of_target(target.storage, name):
        found = digest(target.storage, name, given.size)
    if found != given:
        raise StorageError(
            f"{target}/{name} does not read as it was written (SHA-256 {found.sha256[:16]}..., and not "
            f"{given.sha256[:16]}...): the copy is not finished. Remove that file, and run the same command again"
        )
