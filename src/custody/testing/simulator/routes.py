"""Finds the endpoint for a request: a table of "METHOD /path/{}" -> function."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from custody.testing.simulator import multipart
from custody.testing.simulator.answers import Answers, Json, Reply, object_of
from custody.testing.simulator.store import Store

if TYPE_CHECKING:
    from custody.testing.simulator import Seen


@dataclass(frozen=True)
class Asked:
    """One authorised request.

    Attributes:
        body: the JSON object or the fields of the form that were sent; {} without either.
        files: the parts of the form that have a file name, by field name.
        ids: what stood in the path for each {} of the route.
        again: serve another request of the same client (a line of a batch): path and body -> reply.
    """

    seen: Seen
    body: Json
    source: Answers
    again: Callable[[str, Json], Reply]
    files: Mapping[str, list[multipart.File]] = field(default_factory=dict)
    ids: tuple[str, ...] = ()

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.seen.query, keep_blank_values=True))

    @property
    def store(self) -> Store:
        return self.source.store

    @property
    def base(self) -> str:
        """Where the simulator was reached."""
        return "http://" + self.seen.headers.get("host", "simulator.example")


Handler = Callable[[Asked], Reply]
Table = Mapping[str, Handler]


def read(seen: Seen, raw: bytes, source: Answers, again: Callable[[str, Json], Reply]) -> Asked | None:
    """The request with its body parsed; None when the body is neither a JSON object nor a form."""
    kind = seen.headers.get("content-type", "")
    if kind.startswith("multipart/"):
        fields, files = multipart.parse(kind, raw)
        return Asked(seen, fields, source, again, files)
    body = object_of(raw)
    return None if body is None else Asked(seen, body, source, again)


def find(table: Table, asked: Asked) -> tuple[Handler, Asked] | int:
    """The handler and the request with its ids; 405 when only another method is served there, else 404."""
    status = 404
    for route, handler in table.items():
        method, _, path = route.partition(" ")
        found = _pattern(path).fullmatch(asked.seen.path)
        if found and method == asked.seen.method:
            return handler, replace(asked, ids=tuple(map(unquote, found.groups())))
        if found:
            status = 405
    return status


@functools.lru_cache(maxsize=256)
def _pattern(path: str) -> re.Pattern[str]:
    return re.compile("([^/]+)".join(map(re.escape, path.split("{}"))))


def page(documents: list[Json], query: Mapping[str, str], after: str = "after", order: str = "desc") -> Json:
    """A page of a list: `limit`, `order` and the cursor `after` of the query; with has_more, first_id, last_id."""
    rows: list[Any] = documents[::-1] if query.get("order", order) == "desc" else list(documents)
    names = [row["id"] for row in rows]
    begin = names.index(query[after]) + 1 if query.get(after) in names else 0
    end = begin + int(query.get("limit", 20))
    shown = rows[begin:end]
    edges = {"first_id": shown[0]["id"] if shown else None, "last_id": shown[-1]["id"] if shown else None}
    return {"data": shown, **edges, "has_more": end < len(rows)}
