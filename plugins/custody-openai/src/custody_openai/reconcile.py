"""Asks OpenAI for the answers of calls in doubt: stored completions, background responses, batches.

Sources: OpenAI's API reference for ``GET /chat/completions`` and its ``/{id}`` and ``/{id}/messages`` (of calls with
``store=true``), ``GET /responses/{id}`` with ``stream`` (of background ones) and ``GET /batches``. The vendor
knows no idempotency key, so a stored completion is known by when it was made and by what it was asked.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlencode

from custody.plugin import Doubt, Found, Questions, Told, parse_json

_BEFORE = timedelta(seconds=2)  # both clocks are read in whole seconds
_AFTER = timedelta(seconds=60)  # the vendor makes it when it takes the request up
_PAGE = 100
_SAME = "temperature top_p seed presence_penalty frequency_penalty".split()


def questions(doubt: Doubt) -> Questions | None:
    """None for an operation that the vendor cannot be asked about."""
    body = parse_json(doubt.body)
    if not isinstance(body, dict) or doubt.request.method.upper() != "POST":
        return None
    if doubt.claim.operation == "chat":
        return _completion(doubt, body)
    if doubt.claim.operation == "responses":
        return _response(doubt, body)
    if doubt.claim.operation == "batches" and doubt.request.parts.path.endswith("/batches"):
        return _batch(doubt, body)
    return None


def _completion(doubt: Doubt, body: dict[str, Any]) -> Questions:
    if body.get("store") is not True:
        return "the vendor keeps no answer of a request without store=true"
    if body.get("stream"):
        return "a stored completion cannot be had as the stream that was asked for"
    filters = {f"metadata[{name}]": value for name, value in (body.get("metadata") or {}).items()}
    found = []
    listed = yield from _listed(doubt, {**filters, "order": "desc"})
    if isinstance(listed, str):
        return listed
    for made in listed:
        if not _could_be(made, body):
            continue
        told = yield _url(doubt, str(made.get("id")), "messages", {"limit": _PAGE})
        page = _document(told)
        if page is not None and _messages(page.get("data")) == _messages(body.get("messages")):
            found.append(str(made["id"]))
    return (yield from _take(doubt, found, "stored completion"))


def _batch(doubt: Doubt, body: dict[str, Any]) -> Questions:
    listed = yield from _listed(doubt, {})
    if isinstance(listed, str):
        return listed
    names = ("input_file_id", "endpoint", "completion_window")
    same = [b for b in listed if all(b.get(n) == body.get(n) for n in names)]
    found = [str(b["id"]) for b in same if (b.get("metadata") or {}) == (body.get("metadata") or {})]
    return (yield from _take(doubt, found, "batch"))


def _response(doubt: Doubt, body: dict[str, Any]) -> Questions:
    name = _arrived_id(doubt)
    if name is None:
        return "no response id had arrived before the stop, and responses cannot be listed"
    if not body.get("background"):
        return "a response that is not made in the background is not to be had as a stream again"
    if not doubt.take(name):
        return "another call has it"
    told = yield _url(doubt, name, "", {"stream": "true"} if body.get("stream") else {})
    if told.status != 200:
        return f"the vendor answered {told.status} for {name}"
    return Found(told, "background response", name)


def _listed(doubt: Doubt, filters: dict[str, Any]) -> Any:
    """What the vendor made at the time of the call, the latest first; a sentence where it does not say."""
    kept: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        told = yield _url(doubt, "", "", {**filters, "limit": _PAGE, **after})
        page = _document(told)
        if page is None or not isinstance(page.get("data"), list):
            return f"the vendor answered {told.status} when asked for its list"
        rows = [row for row in page["data"] if isinstance(row, dict) and isinstance(row.get("id"), str)]
        made = [(row, _made(row, told)) for row in rows]
        kept += [row for row, at in made if at is not None and _in_time(doubt, at)]
        older = any(at is not None and at < doubt.sent - _BEFORE for _, at in made)
        if older or not page.get("has_more") or not rows:
            return kept
        after = {"after": rows[-1]["id"]}


def _made(row: dict[str, Any], told: Told) -> datetime | None:
    """When it was made, by this machine's clock: the answer's Date header says how far the vendor's is off."""
    created = row.get("created", row.get("created_at"))
    date = next((value for name, value in told.headers if name.lower() == "date"), None)
    if not isinstance(created, int) or date is None:
        return None
    try:
        return datetime.fromtimestamp(created, UTC) + (told.at - parsedate_to_datetime(date))
    except (ValueError, TypeError, OverflowError):
        return None


def _in_time(doubt: Doubt, made: datetime) -> bool:
    return doubt.sent - _BEFORE <= made <= min(doubt.sent + _AFTER, doubt.until - _BEFORE)


def _take(doubt: Doubt, found: list[str], how: str) -> Questions:
    """The oldest that no other call has. Those that ask the same may have any of theirs, but none of a stranger's."""
    found = [name for name in found if not doubt.taken(name)]
    if not found:
        return f"no {how} of that time asks the same"
    if len(found) > doubt.rivals:
        return f"{len(found)} of that time ask the same, and {doubt.rivals} of this session's calls are in doubt"
    for name in reversed(found):
        if doubt.take(name):
            told = yield _url(doubt, name, "", {})
            if told.status != 200 or _document(told) is None:
                return f"the vendor answered {told.status} for {name}"
            return Found(told, how, name)
    return f"every {how} of that time is another call's answer"


def _could_be(made: dict[str, Any], body: dict[str, Any]) -> bool:
    """Whether a stored completion agrees with the request in all that both state."""
    model, asked = made.get("model"), body.get("model")
    if not (isinstance(model, str) and isinstance(asked, str) and (model == asked or model.startswith(f"{asked}-"))):
        return False
    if (made.get("metadata") or {}) != (body.get("metadata") or {}):
        return False
    return all(body.get(n) is None or made.get(n) is None or made[n] == body[n] for n in _SAME)


def _messages(given: Any) -> list[tuple[Any, Any]] | None:
    """Roles and texts. The vendor lists a message of parts with its texts in ``content_parts``."""
    if not isinstance(given, list) or not all(isinstance(message, dict) for message in given):
        return None
    return [(m.get("role"), m.get("content_parts") or m.get("content")) for m in given]


def _arrived_id(doubt: Doubt) -> str | None:
    """The id in the events of a stream that broke off."""
    for line in doubt.arrived[1].split(b"\n"):
        event = parse_json(line.removeprefix(b"data:").strip()) if line.startswith(b"data:") else None
        response = event.get("response") if isinstance(event, dict) else None
        if isinstance(response, dict) and isinstance(response.get("id"), str):
            return str(response["id"])
    return None


def _url(doubt: Doubt, name: str, below: str, query: dict[str, Any]) -> str:
    """An address below the one that the request went to, with its own query first."""
    parts = doubt.request.parts
    path = "/".join([parts.path.rstrip("/"), *(quote(p, safe="") for p in (name, below) if p)])
    return parts._replace(path=path, query=urlencode([*doubt.request.query, *query.items()]), fragment="").geturl()


def _document(told: Told) -> dict[str, Any] | None:
    value = parse_json(told.body) if told.status == 200 else None
    return value if isinstance(value, dict) else None
