"""The difference of two requests, leaf by leaf, in the form in which requests are stored.

Both sides are compared as they may be written: secrets masked, headers that may not be stored by their
digests. So a request that was missed yesterday compares with an archived one as it would have then.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any, Final, NamedTuple

from custody import redact
from custody.exchange import Headers
from custody.identity.key import canonical_request, ignored_header

PARTS = ("method", "url", "headers", "body")
"""What of a request can be compared. ``path`` in place of ``url`` leaves its host out; ``stored headers`` in place
of ``headers`` those of which only a digest is stored."""

_OF_URL = ("scheme", "host", "port", "path")
_PLAIN = re.compile(r"[\w$-]+\Z")
_COMPARED = 2000  # characters of each text, to find the nearest


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()

Leaves = dict[str, Any]
"""A request's values by their path: ``host``, ``query.api-version``, ``header accept``,
``body.messages[0].content``."""


class Difference(NamedTuple):
    """One leaf. A side that does not have it is ``ABSENT``."""

    path: str
    archived: Any
    asked: Any

    def as_dict(self) -> dict[str, Any]:
        sides = {"archived": self.archived, "asked": self.asked}
        return {"path": self.path, **{side: value for side, value in sides.items() if value is not ABSENT}}


def leaves(
    method: str,
    url: str,
    headers: Headers,
    body: bytes,
    digests: Mapping[str, str],
    parts: Collection[str] = PARTS,
) -> Leaves:
    """A stored request's leaves; of ``parts`` only."""
    canonical = canonical_request(method, url, headers, body)
    kept = [name for name in ("method", "body") if name in parts]
    kept += _OF_URL if "url" in parts else ["path"] if "path" in parts else []
    found = {path: leaf for name in kept for path, leaf in _leaves(canonical[name], name)}
    if "path" in kept:
        for name, value in canonical["query"]:
            found[_free(found, f"query.{name}")] = value
    if "headers" in parts or "stored headers" in parts:
        for name, value in canonical["headers"]:
            if not ignored_header(name) and redact.request_headers(((name, value),)):
                found[_free(found, f"header {name}")] = value
    if "headers" in parts:
        for name, digest in digests.items():
            found[f"header {name}"] = f"(not stored, digest {digest})"
    return found


def differences(archived: Leaves, asked: Leaves) -> Iterator[Difference]:
    """In the order of their paths."""
    for path in sorted(set(archived) | set(asked)):
        old, new = archived.get(path, ABSENT), asked.get(path, ABSENT)
        if old != new or type(old) is not type(new):
            yield Difference(path, old, new)


def likeness(archived: Leaves, asked: Leaves) -> float:
    """The more, the nearer, among requests with equally many differences."""
    return sum(_alike(archived[path], asked[path]) for path in set(archived) & set(asked))


def _alike(old: Any, new: Any) -> float:
    if old == new:
        return 1.0
    if isinstance(old, str) and isinstance(new, str):
        return SequenceMatcher(None, old[:_COMPARED], new[:_COMPARED], autojunk=False).quick_ratio()
    return 0.0


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            name = key if _PLAIN.match(key) else f"[{json.dumps(key)}]"
            yield from _leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{number}]")
    else:
        yield ("body." + path.removeprefix("body.json.") if path.startswith("body.json.") else path), value


def _free(found: Leaves, path: str) -> str:
    number = 1
    while path in found:
        number += 1
        path = f"{path.partition(' #')[0]} #{number}"
    return path
