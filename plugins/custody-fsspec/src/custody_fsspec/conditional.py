"""Put-if-absent of our own, for the file systems that can do it.

fsspec's common ``mode="create"`` looks first and writes then; s3fs reports a taken name as any other error.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from custody_fsspec.objects import Unconditional
from custody_fsspec.settings import Settings


class Conditional(NamedTuple):
    """Attributes:
    put_new: stores unless the path is taken; False where it was. Raises Unconditional, OSError.
    put: replaces atomically and durably, where the file system's own way does not.
    """

    put_new: Callable[[str, bytes], bool]
    put: Callable[[str, bytes], None] | None = None


def conditional(system: Any, settings: Settings) -> Conditional | None:
    """How this file system does it; None where it cannot."""
    kind = type(system).__name__
    if kind == "MemoryFileSystem":
        return Conditional(lambda path, data: _in_memory(system, path, data))
    if kind == "LocalFileSystem":
        return Conditional(_link, _replace)
    if kind == "S3FileSystem":
        return Conditional(lambda path, data: _s3fs(system, path, data, settings.patience))
    return None


_memory = threading.Lock()


def _in_memory(system: Any, path: str, data: bytes) -> bool:
    with _memory:
        if system.exists(path):
            return False
        system.pipe_file(path, data)
    return True


def _s3fs(system: Any, path: str, data: bytes, patience: float) -> bool:
    bucket, key, _ = system.split_path(path)
    deadline, pause, unknown = time.monotonic() + patience, 0.1, False
    while True:
        try:
            system.call_s3("put_object", Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")
        except (OSError, ValueError) as error:
            # Any of its errors is made an OSError, with what the server said as its cause. It tried again already.
            code, status = _said(error)
            if code == "PreconditionFailed" or status == 412:
                return system.cat_file(path) == data if unknown else False
            if code == "NotImplemented" or status == 501:
                raise Unconditional(f"the server answered {status} {code}") from None
            if (code != "ConditionalRequestConflict" and 0 < status < 500) or time.monotonic() + pause > deadline:
                raise
            unknown = unknown or code != "ConditionalRequestConflict"
            time.sleep(pause)
            pause = min(2 * pause, 2.0)
        else:
            return True


def _said(error: BaseException | None) -> tuple[str, int]:
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict):
            return (
                str(response.get("Error", {}).get("Code", "")),
                int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)),
            )
        error = error.__cause__
    return "", 0


# -- local files, by way of fsspec: as in the core's own storage ------------------------------------


def _link(path: str, data: bytes) -> bool:
    temporary = _beside(path, data)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
    _sync_folder(path)
    return True


def _replace(path: str, data: bytes) -> None:
    temporary = _beside(path, data)
    try:
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(path)


def _beside(path: str, data: bytes) -> str:
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, f".tmp-{secrets.token_hex(8)}")
    with open(temporary, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _sync_folder(path: str) -> None:
    fd = os.open(os.path.dirname(path), os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
