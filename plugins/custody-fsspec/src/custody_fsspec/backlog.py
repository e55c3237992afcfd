"""What lies on a machine and not yet on the server: the marker that says so, and how it is made up for.

The marker is on the server from before the first byte is written on a machine until the server has the last one.
Whoever finds it on another machine pays for nothing: the answers may lie there.
"""

from __future__ import annotations

import contextlib
import json
import logging
import socket
from typing import NamedTuple

from custody.plugin import Backlog, BacklogElsewhere
from custody_fsspec.objects import Objects
from custody_fsspec.part import Part, place
from custody_fsspec.uploading import Missing, Uploading

log = logging.getLogger("custody")

MARKER = "system_state/backlog.json"


class Marker(NamedTuple):
    machine: str
    since: str
    token: str


def machine() -> str:
    """This machine's name, as people know it."""
    return "".join(c if c.isalnum() or c in "-._" else "_" for c in socket.gethostname())[:100] or "unnamed"


def marker(objects: Objects) -> Marker | None:
    """Raises OSError."""
    try:
        said = json.loads(objects.get(MARKER)[0])
        return Marker(str(said["machine"]), str(said["since"]), str(said["token"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return Marker("(its marker cannot be read)", "", "")


def require_none(objects: Objects) -> None:
    """Raises BacklogElsewhere where calls may lie on another machine, OSError."""
    found = marker(objects)
    if found is not None:
        raise BacklogElsewhere(
            f"{objects.url}: calls of this session may lie on machine {found.machine} and not on the server yet (since "
            f"{found.since}); they would be paid again, so nothing was sent. Run 'custody sync' there. If they are "
            f"lost: custody sync --give-up {objects.url}"
        )


def mark(objects: Objects, part: Part) -> None:
    """Raises BacklogElsewhere, OSError."""
    said = {"machine": machine(), "since": part.since, "token": part.token}
    if not objects.put_new(MARKER, json.dumps(said).encode() + b"\n"):
        require_none(objects)


def clear(objects: Objects, part: Part) -> None:
    """The server has everything: take the marker away, and the part. Raises OSError; it can be done again."""
    part.mark_uploaded()
    found = marker(objects)
    if found is not None and found.token == part.token:
        objects.delete([MARKER])
    part.remove()


def tell(url: str, part: Part, missing: Missing) -> None:
    """Say what is left at the end of a program."""
    log.warning(
        "custody: %s of %s are on this machine only, in %s. The next start stores them, and so does 'custody sync'; "
        "until then no other machine goes on with the session",
        amount(*missing), url, part.folder,
    )  # fmt: skip


def amount(calls: int, size: int) -> str:
    return f"{calls} call{'s' if calls != 1 else ''} ({size} bytes)"


def here(part: Part, objects: Objects) -> Missing:
    """Calls and bytes that the server lacks; all that lies here, where it cannot be asked."""
    return Uploading(part, objects).missing()


def catch_up(objects: Objects, part: Part) -> bool:
    """Store a dead process's part, which is locked, and take it away; False where it was given up, and is set aside.
    Raises OSError, StorageError."""
    if not part.uploaded:
        found = marker(objects)
        if found is None or found.token != part.token:
            if part.sizes():
                log.error(
                    "custody: what lay here of %s was given up from elsewhere: it is not stored, and kept in %s",
                    objects.url, part.set_aside(),
                )  # fmt: skip
                return False
        else:
            calls, size = here(part, objects)
            log.warning("custody: storing %s of %s that were left on this machine", amount(calls, size), objects.url)
            Uploading(part, objects).all(compacted=True)
    clear(objects, part)
    return True


def of(objects: Objects) -> Backlog | None:
    """Raises OSError."""
    found = marker(objects)
    if found is None:
        return None
    folder = place(objects.store, objects.url)
    with contextlib.suppress(OSError, ValueError, KeyError):
        part = Part.look(folder)
        if part.token == found.token:
            calls, size = here(part, objects)
            return Backlog(found.machine, found.since, True, str(folder), calls, size)
    return Backlog(found.machine, found.since, False)
