"""What all endpoints of the Anthropic dialect share: errors, documents, times, the check of a message."""

from __future__ import annotations

import time

from custody.testing.simulator.answers import Json, Reply, compact, fresh_id

_ERRORS = {  # status -> type (the vendor's published list), message
    400: ("invalid_request_error", "the request is not acceptable"),
    401: ("authentication_error", "the API key is not accepted"),
    402: ("billing_error", "there is no credit left"),
    403: ("permission_error", "access is refused"),
    404: ("not_found_error", "there is no such resource"),
    413: ("request_too_large", "the request is too large"),
    429: ("rate_limit_error", "the rate limit is reached"),
    500: ("api_error", "the server failed"),
    504: ("timeout_error", "the request took too long"),
    529: ("overloaded_error", "the server is overloaded"),
}


def error(status: int, message: str | None = None) -> Reply:
    """The vendor's error document; its request_id is the header's."""
    kind, text = _ERRORS.get(status, ("api_error" if status >= 500 else "invalid_request_error", "error"))
    inner = {"type": kind, "message": message or f"Simulated: {text} (status {status})."}
    request_id = fresh_id("req_011C", 20)
    document = {"type": "error", "error": inner, "request_id": request_id}
    return Reply(status, compact(document).encode(), headers={"request-id": request_id})


def plain(document: Json) -> Reply:
    """A JSON document as the vendor prints it."""
    return Reply(200, compact(document).encode())


def stamp(seconds: float = 0) -> str:
    """The time, so many seconds from now, in RFC 3339 as the vendor writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def missing(kind: str, name: str) -> Reply:
    """404 for an object that is not there."""
    return error(404, f"Simulated: there is no {kind} with id {name}.")


def refused(body: Json, *required: tuple[str, type]) -> Reply | None:
    """400 when a required field is not there or of another type."""
    for name, kind in required:
        if not isinstance(body.get(name), kind) or not body[name]:
            return error(400, f"Simulated: {name}: required, and of type {kind.__name__}.")
    return None
