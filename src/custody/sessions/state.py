"""Where a session stands, from its chronolog and its locks."""

from __future__ import annotations

import re
import time
from functools import partial
from typing import Literal, NamedTuple

from custody import layout
from custody.integrity import chronolog
from custody.storage import Clocked, Lock, Storage
from custody.storage.heartbeats import Heartbeat
from custody.storage.leases import Leased

State = Literal["running", "finished", "failed", "interrupted"]


_SESSION = re.compile(rb'"event":"session_(?:start|resume|end)"')
_SENT = re.compile(rb'"event":"(?:session_start|session_resume|llm_call_start)"')

_ENDS: dict[str, State] = {"finished": "finished", "left_open": "interrupted"}


class Standing(NamedTuple):
    """``pid`` of the process that started or continued it last."""

    state: State
    pid: int | None


def standing(storage: Storage) -> Standing:
    """``interrupted`` is a session that nobody ended and that is not alive."""
    found = ended(storage)
    return Standing("running", found.pid) if is_alive(storage) else found


def ended(storage: Storage) -> Standing:
    """How it stands if nobody has it open. A finished session in which a later run sent nothing is finished, however
    that run ended: a failed replay changes no result."""
    end: State | None = None
    pid, stood = None, False
    size = next((e.size for e in storage.list(layout.CHRONOLOG) if e.name == layout.CHRONOLOG), 0)
    for event in chronolog.latest(partial(storage.read, layout.CHRONOLOG), size, _SESSION, b'"event":"session_'):
        if event["event"] in ("session_start", "session_resume"):
            pid, stood = event.get("pid"), event.get("finished") is True
            break
        if event["event"] == "session_end" and end is None:
            end = _ENDS.get(str(event.get("outcome")), "failed")
    if stood and end != "finished":
        events = chronolog.latest(partial(storage.read, layout.CHRONOLOG), size, _SENT, b'"event":"')
        if next((event["event"] for event in events), "") != "llm_call_start":
            end = "finished"
    return Standing(end or "interrupted", pid)


def is_alive(storage: Storage) -> bool:
    """Whether a process has the session open. A look at a read-only copy says no. Workers of other machines are
    alive as long as their lease lasts, by this machine's clock."""
    try:
        if isinstance(storage, Clocked):
            look = Heartbeat(storage, beating=False)
            if any(seen.state == "alive" for seen in look.others(now=time.time())):
                return True
        if isinstance(storage, Leased):
            return False  # whoever has a lock of it has a heartbeat
        for name in (layout.OWNER_LOCK, layout.MEMBERS_LOCK):
            if next(iter(storage.list(name)), None) is None:
                continue
            # The owner's lock is exclusive; members share theirs, so only an exclusive try sees them.
            lock = storage.lock(name, shared=name == layout.OWNER_LOCK)
            if lock is None:
                return True
            lock.release()
    except OSError:
        return False
    return False


def take(storage: Storage, name: str, *, shared: bool) -> Lock | None:
    """A lock, tried for a second: whoever asks whether a session is alive holds it for a moment."""
    for _ in range(50):
        lock = storage.lock(name, shared=shared)
        if lock is not None:
            return lock
        time.sleep(0.02)
    return None
