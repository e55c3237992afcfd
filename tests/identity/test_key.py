"""The request key: what changes the answer changes it, and nothing else does."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.identity.key import canonical_json, canonical_request, header_digest, request_key

SECRET = b"s" * 32
JSON = (("Content-Type", "application/json"),)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
BODY = st.dictionaries(
    st.text(max_size=5),
    st.recursive(PLAIN, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3)),
    min_size=1,
    max_size=4,
)


def key(
    method: str = "POST",
    url: str = "https://h/v1",
    headers: tuple[tuple[str, str], ...] = JSON,
    body: bytes = b"{}",
    ignore: frozenset[str] = frozenset(),
) -> str:
    return request_key(SECRET, canonical_request(method, url, headers, body, ignore))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    return [path] if items is None else [leaf for name, inner in items for leaf in leaves(inner, (*path, name))]


@given(BODY, st.randoms())
def test_order_and_spacing_of_json_do_not_matter(body: dict[str, Any], chance: random.Random) -> None:
    items = list(body.items())
    chance.shuffle(items)
    spaced = json.dumps(dict(items), indent=chance.choice([None, 3]), ensure_ascii=chance.random() < 0.5)
    assert key(body=spaced.encode("utf-8", "surrogatepass")) == key(body=json.dumps(body).encode())


@given(BODY, st.data())
def test_every_leaf_of_a_body_matters(body: dict[str, Any], data: st.DataObject) -> None:
    paths = leaves(body)
    if not paths:
        return
    *above, last = data.draw(st.sampled_from(paths))
    changed = copy.deepcopy(body)
    node = changed
    for name in above:
        node = node[name]
    new = data.draw(PLAIN.filter(lambda value: json.dumps(value) != json.dumps(node[last])))
    node[last] = new
    assert key(body=json.dumps(changed).encode()) != key(body=json.dumps(body).encode())


@pytest.mark.parametrize(
    "bodies",
    [
        (b"1", b"1.0", b'"1"', b"true", b"null", b"[1]", b"", b"NaN"),
        (b'{"a":1}', b'{"a":"1"}', b'{"a":[1]}', b'{"a":1,"b":null}'),
        (b"\xff", b"\xfe", b"a=1", b"a=2"),
        (b'["\\ud800"]', b'["\\ud801"]'),
    ],
)
def test_bodies_that_are_not_the_same(bodies: tuple[bytes, ...]) -> None:
    assert len({key(body=body) for body in bodies}) == len(bodies)


@pytest.mark.parametrize("depth", [50, 99, 101, 400, 990, 5000, 100_000])
def test_json_of_any_depth(depth: int) -> None:
    def deep(leaf: bytes) -> bytes:
        return b'{"a":[' * (depth // 2) + leaf + b"]}" * (depth // 2)

    assert key(body=deep(b"1")) == key(body=deep(b"1"))
    assert key(body=deep(b"1")) != key(body=deep(b"2"))


def test_headers() -> None:
    kept = (("Content-Type", "application/json; charset=utf-8"), ("X-New", "1"), ("Accept", "*/*"))
    assert key(headers=kept) == key(headers=tuple((name.lower(), value) for name, value in reversed(kept)))
    assert key(headers=kept) == key(headers=(("content-type", "application/json"), *kept[1:]))
    assert key(headers=kept) != key(headers=kept[:2])
    assert key(headers=kept) != key(headers=(*kept[:1], ("X-New", "2"), *kept[2:]))
    assert key(headers=kept) != key(headers=(*kept, ("X-New", "2")))
    assert key(headers=kept) != key(headers=(*kept[:1], ("x-new-1", ""), *kept[2:]))
    assert key(headers=kept, ignore=frozenset({"x-new"})) == key(headers=(kept[0], kept[2]))


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "X-Api-Key",
        "api-key",
        "Cookie",
        "User-Agent",
        "Host",
        "Content-Length",
        "Accept-Encoding",
        "Idempotency-Key",
        "traceparent",
        "x-stainless-retry-count",
        "X-Amz-Date",
        "x-request-id",
        "Date",
    ],
)
def test_headers_that_leave_the_answer_alone(name: str) -> None:
    assert key(headers=(*JSON, (name, "one"))) == key(headers=(*JSON, (name, "two"))) == key()


@pytest.mark.parametrize(
    "name",
    ["anthropic-version", "anthropic-beta", "openai-beta", "openai-project", "x-amzn-bedrock-guardrailidentifier"],
)
def test_headers_that_do_not(name: str) -> None:
    assert len({key(headers=(*JSON, (name, value))) for value in ("one", "two")} | {key()}) == 3


def test_addresses() -> None:
    assert key(method="post", url="HTTPS://H:443/v1#x") == key()
    assert key(url="https://user:pw@h/v1") == key()
    assert key(url="https://h") == key(url="https://h/")
    assert key(url="https://h/v1?a=1&b=2") == key(url="https://h/v1?b=2&a=1")
    assert key(url="https://h/v1?key=1&a=1") == key(url="https://h/v1?a=1&access_token=2")
    different = [
        "https://h/v1",
        "http://h/v1",
        "https://h:8/v1",
        "https://i/v1",
        "https://h/v2",
        "https://h/v1/",
        "https://h/v1?a=1",
        "https://h/v1?a=",
        "https://h/v1?a=2",
        "https://h/v1?b=1",
        "https://h/v1?a=1&a=1",
        "https://h/v1?a=1&a=2",
        "https://h/v1?a=2&a=1",
        "https://h/v1?a=%FF",
        "https://h/v1?a=%FE",
        "https://h/v1?a=%EF%BF%BD",
    ]
    assert len({key(url=url) for url in different}) == len(different)
    assert key(method="GET") != key()


def multipart(boundary: str, *parts: str) -> dict[str, Any]:
    body = "".join(f"--{boundary}\r\n\r\n{part}\r\n" for part in parts) + f"--{boundary}--\r\n"
    return {"headers": (("Content-Type", f'multipart/form-data; Boundary="{boundary}"'),), "body": body.encode()}


def test_multipart() -> None:
    assert key(**multipart("a", "banana", "x")) == key(**multipart("0123456789abcdef", "banana", "x"))
    assert key(**multipart("a", "banana")) != key(**multipart("a", "bonono"))
    assert key(**multipart("a", "b", "c")) != key(**multipart("a", "c", "b"))
    # A boundary that is common in the parts must not make two bodies one.
    assert key(**multipart("a", "banana")) != key(**multipart("a", "bboundarynboundarynboundary"))


def test_the_key_tells_nothing_without_the_secret() -> None:
    canonical = canonical_request("POST", "https://h/", (), b"{}")
    assert request_key(b"a", canonical) != request_key(b"b", canonical)
    assert len(request_key(b"a", canonical)) == 64


def test_header_digests() -> None:
    assert header_digest(SECRET, "a") == header_digest(SECRET, "a")
    assert len({header_digest(SECRET, value) for value in ("a", "b", "", "ä", "\udc80")}) == 5


def test_canonical_json() -> None:
    assert canonical_json({"b": [1, 2.5, None], "a": "ä\u2028"}) == '{"a":"ä\u2028","b":[1,2.5,null]}'


@given(BODY | st.just({"n": 2**70, "t": 1e-7, "s": "\ud800"}) | st.dictionaries(st.text(max_size=4), st.floats()))
def test_the_fast_way_to_a_key_gives_the_key_of_the_plain_one(body: dict[str, Any]) -> None:
    import hashlib
    import hmac

    canonical = canonical_request("POST", "https://h/v1", JSON, json.dumps(body).encode())
    text = canonical_json(dict(canonical)).encode("utf-8", "surrogatepass")
    for secret in (SECRET, b"", b"k" * 100):
        assert request_key(secret, canonical) == hmac.new(secret, text, hashlib.sha256).hexdigest()
        assert request_key(secret, dict(canonical)) == request_key(secret, canonical)
