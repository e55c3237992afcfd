"""Why a request would not be answered from a stored session: for a request in a file, or the last strict miss."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from custody import redact
from custody.errors import ArchiveDamaged, CustodyError, UsageError
from custody.exchange import parse_json
from custody.identity import Identity
from custody.identity.difference import PARTS
from custody.identity.key import header_digest, ignored_header
from custody.journal import lines
from custody.journal.archive import Archive, StoredCall
from custody.journal.nearest import Nearest, nearest, stored_leaves
from custody.pipeline.explain import STRICT_MISS
from custody.redact import Redactor
from custody.sessions import manifest as manifests
from custody.storage import Storage

Verdict = Literal["archived", "used_up", "other_scope", "unanswered", "differs", "nothing_to_compare"]
"""The request has an answer; it has, and was asked for once more than that; it has, but in other scopes; it
was asked, and got no answer that is replayed; only others were asked; none was."""


@dataclass(frozen=True)
class Asked:
    """A request, in the form of a request line.

    Attributes:
        fields: of the request line, as far as they are known.
        parts: what of it was given and is compared.
    """

    fields: dict[str, Any]
    parts: tuple[str, ...] = PARTS

    @property
    def labels(self) -> Mapping[str, Any] | None:
        """Its scope; None where it is not known."""
        scope = self.fields.get("scope")
        return scope if isinstance(scope, dict) else None

    @property
    def identity(self) -> Identity | None:
        """None where the request was not made under the session."""
        parts = tuple(self.fields.get(name) for name in ("scope_key", "request_key", "replicate"))
        scope_key, key, replicate = parts
        known = isinstance(scope_key, str) and isinstance(key, str) and isinstance(replicate, int)
        return Identity(scope_key, key, replicate) if known else None  # type: ignore[arg-type]


@dataclass(frozen=True)
class Explanation:
    """``same`` are the calls that asked the very same; ``nearest`` is the nearest where there are none."""

    verdict: Verdict
    asked: Asked
    same: list[StoredCall] = field(default_factory=list)
    nearest: Nearest | None = None

    def as_dict(self) -> dict[str, Any]:
        found = self.nearest
        return {
            "verdict": self.verdict,
            "asked": {name: self.asked.fields.get(name) for name in ("method", "url", "scope", "replicate", "time")},
            "compared": list(self.asked.parts),
            "same": [_in_brief(call) for call in self.same],
            "nearest": {**_in_brief(found.call), "exchange": found.exchange} if found else None,
            "differences": [difference.as_dict() for difference in found.differences] if found else [],
        }


def last_miss(storage: Storage) -> Asked:
    """What the last strict run of the session missed. Raises UsageError, ArchiveDamaged."""
    try:
        data = storage.read(STRICT_MISS)
    except FileNotFoundError:
        raise UsageError(f"no strict run of {storage.url} has missed anything: it has no {STRICT_MISS}") from None
    found = parse_json(data)
    if not isinstance(found, dict):
        raise ArchiveDamaged(f"{storage.url}/{STRICT_MISS} is damaged")
    return Asked(found)


def given(data: bytes, storage: Storage) -> Asked:
    """A request from a file: an object with ``url``, ``method``, ``headers``, ``body`` and ``scope``, as far as
    they are known; a request line of an archive; or the vendor's request body alone. Raises UsageError."""
    value = parse_json(data)
    if not isinstance(value, dict):
        raise UsageError(
            "the request is not a JSON object: give one with url, method, headers and body, or the request's body"
        )
    if "kind" in value and "header_digests" in value:
        return Asked(value)
    if not _is_request(value):
        value = {"body": value}
    headers, secret = _pairs(value.get("headers")), _secret(storage)
    instead = {
        "url": "url" if "://" in _text(value, "url") else "path",
        "headers": "headers" if secret is not None else "stored headers",
    }
    parts = tuple(instead.get(part, part) for part in PARTS if part in value)
    redactor = Redactor()
    redactor.learn_environment(os.environ)
    redactor.learn_request(headers, "")
    fields = {
        "method": str(value.get("method") or "POST"),
        "url": redact.url(_text(value, "url")),
        "headers": redact.request_headers(headers),
        "header_digests": _digests(headers, secret) if secret is not None else {},
        "body": lines.pack(_body(value.get("body"))),
        "scope": value.get("scope"),
    }
    text = json.dumps(fields, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Asked(json.loads(redactor.scrub(text)), parts)


def explain(archive: Archive, asked: Asked) -> Explanation:
    """Raises ArchiveDamaged where what was asked cannot be read."""
    labels, identity = asked.labels, asked.identity
    wanted = stored_leaves(asked.fields, asked.parts)
    if identity is not None:
        same = _of_key(archive, identity.key)
        if archive.answer(identity) is not None:
            return Explanation("archived", asked, same)
        answered = list(archive.replicates(identity.key))
        if answered:
            here = any(i.scope == identity.scope for i in answered)
            return Explanation("used_up" if here else "other_scope", asked, same)
    found = nearest(archive, labels or {}, wanted, asked.parts)
    if found is None:
        return Explanation("nothing_to_compare", asked)
    if found.differences:
        return Explanation("differs", asked, nearest=found)
    same = _of_key(archive, found.call.fields.get("request_key"))
    if not any(call.fields.get("answers") for call in same):
        return Explanation("unanswered", asked, same, found)
    if labels is not None and all(call.fields.get("scope") != labels for call in same):
        return Explanation("other_scope", asked, same, found)
    return Explanation("archived", asked, same, found)


def _of_key(archive: Archive, key: object) -> list[StoredCall]:
    same = [call for call in archive.with_key(str(key)) if call.fields.get("request_key") == key]
    return sorted(same, key=lambda call: (call.started, call.id))


def _is_request(value: dict[str, Any]) -> bool:
    """Whether it is a request, rather than a vendor's request body."""
    return (
        "url" in value
        or "method" in value
        or (bool({"body", "headers"} & set(value)) and not {"model", "messages", "input"} & set(value))
    )


def _text(value: dict[str, Any], name: str) -> str:
    text = value.get(name, "")
    if not isinstance(text, str):
        raise UsageError(f"the request's {name} is not a text")
    return text


def _pairs(headers: Any) -> tuple[tuple[str, str], ...]:
    """Headers as an object, or as a list of pairs. Raises UsageError."""
    pairs = list(headers.items()) if isinstance(headers, dict) else headers or []
    if not isinstance(pairs, list) or not all(isinstance(p, (list, tuple)) and len(p) == 2 for p in pairs):
        raise UsageError("the request's headers are neither an object nor a list of pairs")
    return tuple((str(name), str(value)) for name, value in pairs)


def _body(body: Any) -> bytes:
    """A text is the body as it was sent; anything else is sent as JSON."""
    if body is None:
        return b""
    text = body if isinstance(body, str) else json.dumps(body)
    return text.encode("utf-8", "backslashreplace")


def _secret(storage: Storage) -> bytes | None:
    """The session's key; None where it was withheld or is damaged."""
    try:
        return manifests.read_key(storage)
    except CustodyError:
        return None


def _digests(headers: tuple[tuple[str, str], ...], secret: bytes) -> dict[str, str]:
    """Digests of the headers that count and are not stored."""
    hidden = [(n.lower(), v) for n, v in headers if not ignored_header(n) and not redact.request_headers(((n, v),))]
    return {name: header_digest(secret, value) for name, value in hidden}


def _in_brief(call: StoredCall) -> dict[str, Any]:
    names = ("id", "scope", "replicate", "operation", "outcome", "answers", "started")
    return {name: call.fields.get(name) for name in names}
