"""What the server can do, found out by trying it: a canary is put twice, and the second time must be refused.

Some servers take ``If-None-Match`` and do not look at it (``rclone serve s3``, s3rver), others refuse it (Swift's S3
interface answers 501). Once for each bucket and process.
"""

from __future__ import annotations

import contextlib
import secrets
import threading

from custody.plugin import Capabilities
from custody_fsspec.objects import Objects, Unconditional

CANARY = ".custody-probe-"
_known: dict[str, Capabilities] = {}
_lock = threading.Lock()


def capabilities(objects: Objects) -> Capabilities:
    """Raises OSError where the server does not answer, or may not be written."""
    with _lock:
        if objects.store not in _known:
            why_not = _probe(objects)
            _known[objects.store] = Capabilities(
                put_if_absent=not why_not,
                durability=objects.durability,
                why_not=why_not,
                server_clock=objects.server_clock,
                list_order="name" if objects.ordered else "none",
            )
        return _known[objects.store]


def _probe(objects: Objects) -> str:
    if not objects.conditional:
        return f"{objects.url}: this kind of storage has no put-if-absent"
    key = CANARY + secrets.token_hex(8)
    try:
        if not objects.put_new(key, b"1"):
            return f"{objects.url}: the server says of a new name that it is taken"
        if objects.put_new(key, b"2"):
            return (
                f"{objects.url}: the server stores a second object under a name that is taken (it does not look at "
                "If-None-Match)"
            )
    except Unconditional as error:
        return f"{objects.url}: the server refuses put-if-absent ({error})"
    finally:
        with contextlib.suppress(OSError):
            objects.delete([key])
    return ""
