"""What a program died of: ``fault_recovery/crash_report.txt``, and a word in the chronolog.

A traceback without values of variables, without secrets, and without absolute paths, which would name
the person and the machine.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import sysconfig
import traceback
from pathlib import Path

from custody import layout
from custody.errors import StorageError
from custody.integrity.chronolog import Chronolog
from custody.redact import Redactor
from custody.stamps import now
from custody.storage import Storage

log = logging.getLogger("custody")

CRASH_REPORT = f"{layout.RECOVERY}/crash_report.txt"

_ABSOLUTE = re.compile(r"(?<![\w:/.~>])/(?:[^\s/'\":<>|,;()]+/)+([^\s/'\":<>|,;()]*)")
_WINDOWS = re.compile(r"\b[A-Za-z]:\\(?:[^\s\\'\"<>|]+\\)+([^\s\\'\"<>|]*)")


def write(storage: Storage, chronolog: Chronolog, redactor: Redactor, error: BaseException) -> None:
    """Replace the report and append the event. What the disk refuses is said, and stops nothing."""
    kind = type(error).__name__
    chronolog.event("crash", error=kind, pid=os.getpid())
    try:
        storage.put(CRASH_REPORT, report(error, redactor))
    except (OSError, StorageError) as failure:
        log.error("custody: %s cannot be written (%s)", CRASH_REPORT, failure)


def report(error: BaseException, redactor: Redactor) -> bytes:
    """The text of the report."""
    version = ".".join(map(str, sys.version_info[:3]))
    lines = "".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace")
    said = relative(redactor.scrub(lines).decode())
    return f"time: {now()}\nprocess: {os.getpid()}\npython: {version}\n\n{said}".encode()


def relative(text: str) -> str:
    """``text`` with paths from the working folder or from where Python's modules lie."""
    for folder, name in _known():
        text = text.replace(folder + os.sep, name).replace(folder, name or ".")
    text = _ABSOLUTE.sub(r".../\1", text)
    return _WINDOWS.sub(r"...\\\1", text)


def _known() -> list[tuple[str, str]]:
    """Folders and what stands for them, the longest first."""
    found = {str(Path.cwd()): "", os.path.realpath(Path.cwd()): ""}
    for name in ("purelib", "platlib", "stdlib", "platstdlib"):
        found[sysconfig.get_path(name)] = ""
    for entry in sys.path:
        if os.path.isabs(entry):
            found.setdefault(entry, "")
    found.setdefault(os.path.expanduser("~"), "~/")
    return sorted(((k, v) for k, v in found.items() if k and k != os.sep), key=lambda pair: -len(pair[0]))
