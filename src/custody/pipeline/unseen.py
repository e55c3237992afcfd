"""Calls of which nothing was seen on the wire: archived at the call level, and replayed there.

An SDK may answer from a cache or a mock, or through a transport that no wire seam covers (compiled
code, a server beside it). What its plugin can say of such a call becomes a record like any other, and
says by ``source`` what it is.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from custody.exchange import Ack, Claim, Replay, RequestHead, ResponseHead, parse_json
from custody.hooks import results
from custody.identity import tool_ids
from custody.seam.calls import Returned
from custody.vendor import CallResult

if TYPE_CHECKING:
    from custody.journal.archive import StoredCall
    from custody.pipeline.call import Invocation, LogicalCall

log = logging.getLogger("custody")

_JSON = (("content-type", "application/json"),)


def archived(call: LogicalCall) -> Returned | None:
    """Number a call among those that ask the same when it is opened; what the archive has of it at this level.

    A keyed call has its identity with that. Another one has it only if nothing is seen on the wire; it is
    numbered all the same, or the answer that an SDK's cache gave to the second call would be the first one's.
    """
    invocation, flow = call.invocation, call.flow
    if invocation is None or invocation.described is None:
        return None
    if not (invocation.seam.keyed or invocation.seam.result):
        return None
    canonical = flow.hooks.guarded(call.plugin, "describe", _canonical, call, invocation.described)
    if canonical is None:
        return None  # what it gave is no JSON: the call is known by what is seen on the wire
    if not invocation.seam.keyed:
        call.level = flow.number(call, canonical)
    identity = call.level or flow.identify(call, canonical)
    stored = flow.failure(call)
    call.archived_failed = stored is not None
    if stored is None:
        stored = flow.archive.answer(identity)
    if stored is not None:
        call.archived = stored.fields.get("annotations") or {}
    if stored is not None and stored.fields.get("source", "wire") not in ("wire", "reconciled"):
        return _rebuilt(call, stored)
    return None


def record(call: LogicalCall, result: Any) -> Ack | None:
    """Archive what an SDK's method returned without a word on the wire."""
    invocation, flow = call.invocation, call.flow
    if invocation is None or invocation.seam.result is None:
        return None
    read = flow.hooks.guarded(call.plugin, "result", _read, invocation, result)
    if read is None:
        return None
    said, request, response = read
    if said.source == "unseen" and not flow.unseen_warned:
        flow.unseen_warned = True
        log.warning(
            "custody: a call of %s returned without a request that custody could see; it is archived as the SDK "
            "returned it (source: unseen), not as the vendor sent it",
            call.plugin,
        )
    head = RequestHead("CALL", f"{call.plugin}:{said.operation}", _JSON)
    claim = Claim(call.plugin, said.vendor, said.operation)
    if call.level is not None:
        call.identify_by_level(_canonical(call, invocation.described))
    elif call.identity is None:
        flow.identify(call, _canonical(call, parse_json(request)))
    call.source = said.source
    turn = flow.turn(call, head, claim, request, "call")
    turn.sending()
    turn.head(ResponseHead(200, "", "", _JSON), streamed=False, decoded=True)
    return turn.chunk(response) or turn.end("complete")


def _read(invocation: Invocation, result: Any) -> tuple[CallResult, bytes, bytes] | None:
    """What the plugin says of a call, with its request and its response as JSON."""
    assert invocation.seam.result is not None
    said = invocation.seam.result(invocation.args, invocation.kwargs, result)
    if said is None:
        return None
    said = results.call_result(said)
    return said, _written(said.request), _written(said.response)


def _written(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace")


def _canonical(call: LogicalCall, described: Any) -> dict[str, Any]:
    return {
        "method": "CALL",
        "scheme": "",
        "host": call.plugin,
        "port": None,
        "path": "",
        "query": [],
        "headers": [],
        "body": {"json": tool_ids.renamed(json.loads(json.dumps(described, default=str)))},
    }


def _rebuilt(call: LogicalCall, stored: StoredCall) -> Returned | None:
    invocation, flow = call.invocation, call.flow
    assert invocation is not None
    response = flow.archive.response(stored)
    if response is None or invocation.seam.rebuild is None:
        return None
    document = parse_json(b"".join(chunk.data for chunk in response.chunks))
    arguments = (invocation.args, invocation.kwargs, document)
    value = flow.hooks.guarded(call.plugin, "rebuild", invocation.seam.rebuild, *arguments)
    if value is None:
        return None
    if call.level is not None:
        call.identify_by_level(_canonical(call, invocation.described))
    call.replayed(Replay(stored.id, response.head, tuple(chunk.data for chunk in response.chunks), True))
    return Returned(value)
