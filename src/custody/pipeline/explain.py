"""Why a request is not in the archive: the nearest archived one, and the difference.

A strict miss also leaves what was asked in ``fault_recovery/strict_miss.json``, so that ``custody
explain-miss --last`` can show the whole difference afterwards.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from custody import layout, redact
from custody.errors import StorageError
from custody.exchange import Exchange
from custody.identity import Identity, scope
from custody.identity.difference import ABSENT, Difference
from custody.identity.key import header_digest
from custody.journal import lines
from custody.journal.archive import Archive
from custody.journal.nearest import nearest, stored_leaves
from custody.redact import Redactor
from custody.stamps import now

if TYPE_CHECKING:
    from custody.pipeline.turn import LiveTurn

log = logging.getLogger("custody")

STRICT_MISS = f"{layout.RECOVERY}/strict_miss.json"
"""What was asked for, and was not there, when a strict run last missed something; replaced each time."""

_CANDIDATES = 200
_SHOWN = 3
_AROUND = 30


def stored_request(exchange: Exchange, canonical: dict[str, Any], secret: bytes, redactor: Redactor) -> dict[str, Any]:
    """The request as it may be stored: allow-listed headers, masked URL, raw body.

    Headers that belong to the key but may not be stored leave a digest, so that a change shows.
    """
    request = exchange.request
    stored = redact.request_headers(request.headers)
    unstored = [pair for pair in canonical.get("headers", ()) if pair not in stored]
    shown = {name.lower() for name, _ in stored} if unstored else ()
    return {
        "method": request.method,
        "url": redact.url(request.url),
        "transport": exchange.transport,
        "headers": stored,
        "header_digests": {name: header_digest(secret, value) for name, value in unstored if name not in shown},
        "body": lines.pack(redactor.blanked(exchange.request_body)),
    }


def miss(archive: Archive, labels: scope.Labels, identity: Identity, turn: LiveTurn, redactor: Redactor) -> str:
    """The message of a ReplayMiss."""
    if is_conversation(turn.canonical):
        return (
            "strict: a conversation over a websocket is not replayed, and nothing is sent: "
            f"{redact.url(turn.exchange.request.url)} in scope {scope.canonical(labels)}"
        )
    asked = _as_stored(labels, identity, turn, redactor)
    kept = _keep(archive, asked)
    text = (
        f"strict: not in the archive, and nothing is sent: {asked['method']} {asked['url']} "
        f"in scope {scope.canonical(labels)}, replicate {identity.replicate}. {_why(archive, labels, identity, asked)}"
    )
    return f"{text}. The whole difference: custody explain-miss {turn.call.flow.session} --last" if kept else text + "."


def is_conversation(canonical: Mapping[str, Any]) -> bool:
    """Whether both sides may speak at any time: what one says depends on the other, so it is never replayed."""
    return canonical.get("scheme") in ("ws", "wss")


def held_anew(archive: Archive, identity: Identity, turn: LiveTurn) -> None:
    """Warn that a conversation that is on record, of an earlier run or another process, is held and paid again."""
    if is_conversation(turn.canonical) and archive.failures(identity):
        log.warning(
            "custody: the conversation over %s is on record, and is not replayed: it is held anew, and paid again",
            redact.url(turn.exchange.request.url),
        )


def _why(archive: Archive, labels: scope.Labels, identity: Identity, asked: dict[str, Any]) -> str:
    same_key = list(archive.replicates(identity.key))
    if same_key:
        here = sorted(i.replicate for i in same_key if i.scope == identity.scope)
        if here:
            times = "once" if len(here) == 1 else f"{len(here)} times"
            return f"This request was archived in this scope {times}, and is now asked for once more"
        other = archive.answer(same_key[0])
        where = scope.canonical(other.fields["scope"]) if other else "of another call"
        return f"This very request is archived, but in the scope {where}"
    found = nearest(archive, labels, stored_leaves(asked), most=_CANDIDATES)
    if found is None:
        return "The archive holds no request of this kind to compare with"
    if not found.differences:
        return f"Call {found.call.id} asked the same, and has no answer to replay ({found.call.fields['outcome']})"
    shown = "; ".join(map(in_short, islice(found.differences, _SHOWN)))
    more = f" (and {len(found.differences) - _SHOWN} more)" if len(found.differences) > _SHOWN else ""
    return f"Nearest is call {found.call.id}; it differs in {shown}{more}"


def in_short(difference: Difference) -> str:
    """A difference in one line, texts by their surroundings."""
    path, old, new = difference
    if old is ABSENT:
        return f"{path}: new, {_short(new)}"
    if new is ABSENT:
        return f"{path}: gone, was {_short(old)}"
    if not (isinstance(old, str) and isinstance(new, str)):
        return f"{path}: archived {_short(old)}, asked {_short(new)}"
    at = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    part = slice(max(0, at - _AROUND), at + _AROUND)
    return f"{path} at character {at}: archived {_short(old[part])}, asked {_short(new[part])}"


def _as_stored(labels: scope.Labels, identity: Identity, turn: LiveTurn, redactor: Redactor) -> dict[str, Any]:
    """What was asked, in the form and with the masks of a request line."""
    flow = turn.call.flow
    fields = {
        "session": flow.session,
        "time": now(),
        "scope": dict(labels),
        "scope_key": identity.scope,
        "request_key": identity.key,
        "replicate": identity.replicate,
        "operation": turn.exchange.claim.operation,
        **flow.stored_request(turn),
    }
    text = json.dumps(fields, ensure_ascii=False).encode("utf-8", "backslashreplace")
    asked: dict[str, Any] = json.loads(redactor.scrub(text))
    return asked


def _keep(archive: Archive, asked: dict[str, Any]) -> bool:
    """Whether it could be written: a session on a read-only disk replays all the same."""
    text = json.dumps(asked, ensure_ascii=False, indent=2).encode("utf-8", "backslashreplace")
    try:
        archive.storage.put(STRICT_MISS, text + b"\n")
    except (OSError, StorageError):
        return False
    return True


def _short(value: Any) -> str:
    """``repr`` escapes what could move a terminal's cursor."""
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
