"""The request key: a digest of what the vendor would answer to.

In: method, URL with sorted query, canonical body, and every header that is not known to leave the
answer alone. Headers are excluded by a deny-list, because a forgotten header in an allow-list gives
wrong answers, and a forgotten one here only a question that is asked again and explained.

The key is an HMAC-SHA-256 under a key of the session: published, it tells nothing of a short prompt.
Canonical JSON is RFC 8785 in its sorting and spacing; numbers keep Python's shortest form, which
differs from the RFC's only in exponents.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import orjson

from custody.exchange import Headers, parse_json
from custody.headers import Remembered, lowered
from custody.identity import tool_ids

_IGNORED = frozenset(
    "authorization proxy-authorization x-api-key api-key x-goog-api-key cookie user-agent host connection "
    "keep-alive te trailer upgrade content-length transfer-encoding accept-encoding content-encoding date "
    "idempotency-key x-idempotency-key x-goog-api-client x-request-id x-client-request-id x-correlation-id "
    "traceparent tracestate baggage b3 sentry-trace request-id x-cloud-trace-context if-none-match "
    "x-ms-client-request-id x-irid".split()
)
_IGNORED_PREFIXES = ("x-stainless-", "x-amz-", "x-b3-", "x-datadog-", "x-amzn-trace")
_IGNORED_QUERY = frozenset("key api_key api-key apikey access_token token sig signature upload_id".split())
_BOUNDARY = re.compile(r'boundary="?([^";]+)"?', re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}
_PLAIN_FLOAT = re.compile(r"-?[0-9]+\.[0-9]+").fullmatch
_DEEPEST = 100  # every Python can write JSON of this depth, wherever on its stack it is


_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode

UNPARSED = object()


class Canonical(dict[str, Any]):
    """A canonical request. ``exact``: its body holds no number that orjson would write in another form."""

    exact = False


def canonical_json(value: Any) -> str:
    """Sorted, without spaces, in UTF-8 characters."""
    return _encode(value)


def canonical_request(
    method: str,
    url: str,
    headers: Headers,
    body: bytes,
    ignore: frozenset[str] = frozenset(),
    parsed: Any = UNPARSED,
) -> dict[str, Any]:
    """What the key is made of, as one JSON object; the difference of two of these explains a miss.

    ``parsed``: ``parse_json(body)``, where that is known already.
    """
    kept = sorted([
        [low, _media_type(value) if low == "content-type" else value]
        for name, value in headers
        if not _ignored[name] and (low := lowered[name]) not in ignore
    ])  # fmt: skip
    scheme, host, port, path, query = _where(url) if len(url) <= 512 else _where.__wrapped__(url)
    canonical = Canonical(
        method=method.upper(),
        scheme=scheme,
        host=host,
        port=port,
        path=path,
        # By name only: of two values with one name, servers take the first or the last.
        query=_query(query) if query else [],
        headers=kept,
    )
    canonical["body"], canonical.exact = _body(headers, body, parsed)
    return canonical


@lru_cache(maxsize=256)
def _where(url: str) -> tuple[str, str, int | None, str, str]:
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(scheme), parts.path or "/", parts.query


def _query(query: str) -> list[list[str]]:
    pairs = parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
    return sorted(([k, v] for k, v in pairs if k.lower() not in _IGNORED_QUERY), key=lambda pair: pair[0])


def canonical_body(headers: Headers, body: bytes) -> Any:
    """JSON as its value; multipart without its boundary, and anything else (JSON nested deeper than
    ``_DEEPEST``, too), as a digest."""
    return _body(headers, body, UNPARSED)[0]


def _body(headers: Headers, body: bytes, parsed: Any) -> tuple[Any, bool]:
    """The body, and whether all its numbers are plain ones."""
    if not body:
        return None, True
    content_type = next((value for name, value in headers if lowered[name] == "content-type"), "")
    if content_type.lower().startswith("multipart/") and (boundary := _BOUNDARY.search(content_type)):
        parts = body.split(b"--" + boundary[1].strip().encode("utf-8", "surrogateescape"))
        digests = b"".join(hashlib.sha256(part).digest() for part in parts)
        return {"multipart_sha256": hashlib.sha256(digests).hexdigest()}, True
    value = parse_json(body) if parsed is UNPARSED else parsed
    if value is not None:
        shallow, plain, ids = _shape(value)
        if shallow:
            return {"json": tool_ids.renamed(value) if ids else value}, plain
    return {"sha256": hashlib.sha256(body).hexdigest()}, True


def request_key(secret: bytes, canonical: dict[str, Any]) -> str:
    """The key, 64 hexadecimal digits."""
    inner, outer = _keyed(secret)
    within, around = inner.copy(), outer.copy()
    within.update(_canonical_bytes(canonical))
    around.update(within.digest())
    digest: str = around.hexdigest()
    return digest


@lru_cache(maxsize=4)
def _keyed(secret: bytes) -> tuple[Any, Any]:
    """The two halves of HMAC-SHA-256 (RFC 2104) under a key: OpenSSL makes them anew for each message, in ten
    times the time of a short one."""
    key = (hashlib.sha256(secret).digest() if len(secret) > 64 else secret).ljust(64, b"\0")
    return hashlib.sha256(bytes(b ^ 0x36 for b in key)), hashlib.sha256(bytes(b ^ 0x5C for b in key))


def _canonical_bytes(canonical: dict[str, Any]) -> bytes:
    """``canonical_json`` in UTF-8. orjson writes the same but for floats with exponents, in a tenth of the time."""
    if isinstance(canonical, Canonical) and canonical.exact:
        try:
            return orjson.dumps(canonical, option=orjson.OPT_SORT_KEYS)
        except TypeError:  # an integer beyond 64 bits, a lone surrogate
            pass
    return canonical_json(canonical).encode("utf-8", "surrogatepass")


def ignored_header(name: str) -> bool:
    """Whether a request header is known to leave the answer alone."""
    return _ignored[name]


_ignored: Remembered[str, bool] = Remembered(
    lambda name: name.lower() in _IGNORED or name.lower().startswith(_IGNORED_PREFIXES)
)


def header_digest(secret: bytes, value: str) -> str:
    """A header's value as it may be stored where the value may not: equal values, equal digests."""
    return hmac.digest(secret, b"header:" + quote(value, errors="surrogatepass").encode(), "sha256").hex()[:32]


def _media_type(value: str) -> str:
    return value.partition(";")[0].strip().lower()


def _shape(value: Any) -> tuple[bool, bool, bool]:
    """Of parsed JSON: whether it is nested no deeper than ``_DEEPEST``, whether it is free of floats with
    exponents, whether it may hold ids of tool calls."""
    level: list[Any] = [[value]]
    plain, ids = True, False
    for _ in range(_DEEPEST + 1):
        below: list[Any] = []
        for node in level:
            children = node
            if type(node) is dict:
                children = node.values()
                ids = ids or tool_ids.may_have(node)
            for child in children:
                kind = type(child)
                if kind is dict or kind is list:
                    below.append(child)
                elif kind is float and not _PLAIN_FLOAT(repr(child)):
                    plain = False
        if not below:
            return True, plain, ids
        level = below
    return False, plain, ids
