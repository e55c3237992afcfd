"""A conversation over the Realtime API: what its frames say, in the form of one answer.

Source: OpenAI's reference of Realtime server events (``session.created``, ``session.updated``, ``response.done``).
A conversation has many responses; their usages are added up.
"""

from __future__ import annotations

from typing import Any

from custody.plugin import Exchange, parse_json
from custody_openai.answer import Answer


def answer_of(exchange: Exchange) -> Answer:
    """Model and id of the session, usage and endings of its responses; empty where there are none."""
    answer = Answer(prefix="event session.created.session.")
    endings: dict[str, None] = {}
    for chunk in exchange.chunks:
        head, _, data = chunk.data.partition(b"\n")
        event = parse_json(data) if head == b"received text" else None
        if not isinstance(event, dict):
            continue
        session, response = event.get("session"), event.get("response")
        if event.get("type") in ("session.created", "session.updated") and isinstance(session, dict):
            answer.body |= {name: session[name] for name in ("id", "model") if isinstance(session.get(name), str)}
        elif event.get("type") == "response.done" and isinstance(response, dict):
            answer.body["usage"] = _sum(answer.body.get("usage"), response.get("usage"))
            if isinstance(response.get("status"), str):
                endings[response["status"]] = None
    answer.finish_reason = ",".join(sorted(endings)) or None
    answer.finish_field = "event response.done.response.status"
    return answer


def _sum(one: Any, other: Any) -> Any:
    """Two usage objects, number by number; what only one of them states is kept."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {name: _sum(one.get(name), other.get(name)) for name in (*one, *(n for n in other if n not in one))}
    if _is_number(one) and _is_number(other):
        return one + other
    return other if one is None else one


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
