"""What is learned of requests is what a slower look at each of their parts learns, in the same order."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from custody import redact
from custody.exchange import Claim, Exchange, Headers, RequestHead
from custody.identity.key import canonical_request, header_digest
from custody.pipeline.explain import stored_request
from custody.redact import Redactor

NAMES = st.sampled_from(
    ["authorization", "headers", "api_key", "X-Api-Key", "type", "kind", "auth_type", "server_url", "url", "name", "x"]
)
WORDS = st.sampled_from([
    "object", "string", "bearer", "https://user:pass-word1@h/p?sig=abc123def456&model=m", "http://[", "see https://a:b@h",
    "token abcdefgh12345678 and more-of-it", "plain",
])  # fmt: skip
BODIES = st.recursive(
    st.none() | st.integers() | WORDS | st.text(max_size=5),
    lambda of: st.lists(of, max_size=4) | st.dictionaries(NAMES | st.text(max_size=3), of, max_size=4),
    max_leaves=12,
)


def slowly(value: object, name: str = "") -> Iterator[str]:
    """Strings below a name of a credential, or below ``headers``, and what URLs carry of one."""
    if isinstance(value, dict):
        if value.get("type") in redact._SCHEMA:
            name = ""
        for key, inner in value.items():
            named = redact._BODY_NAME.search(key) or (name and redact._NO_CREDENTIAL.search(key))
            yield from slowly(inner, key if named else name)
    elif isinstance(value, list):
        for inner in value:
            yield from slowly(inner, name)
    elif isinstance(value, str):
        if name and not redact._NO_CREDENTIAL.search(name):
            yield value
            yield from (part for part in value.split() if len(part) >= 8)
        if "://" in value[:16]:
            yield from redact._url_secrets(value)


@given(BODIES)
def test_what_a_body_carries(body: Any) -> None:
    found: list[str] = []
    redact._gather(body, "", found)
    assert found == list(slowly(body))


def test_a_body_nested_too_deep_teaches_nothing_and_raises_nothing() -> None:
    deep: Any = {"api_key": "Secret-1234-abcd"}
    for _ in range(5000):
        deep = [deep]
    redactor = Redactor()
    redactor.learn_json(deep)
    assert redactor._literals == ()


class NeverTheSame(set[tuple[str, str]]):
    def issuperset(self, *others: object) -> bool:
        return False


VALUES = st.sampled_from(
    ["Bearer Tq7aB3xK9aB3xK9aB3", "123", "session=a1b2c3d4e5f6; theme=dark", "Basic dXNlcjpwYXNzd29yZDEyMw==", "gzip"]
)
HEADERS = st.lists(
    st.tuples(st.sampled_from(["authorization", "Cookie", "content-length", "x-custom", "accept"]), VALUES), max_size=5
).map(tuple)


@given(st.lists(HEADERS, max_size=12))
def test_headers_that_come_again(requests: list[Headers]) -> None:
    fast, slow = Redactor(), Redactor()
    slow._examined = NeverTheSame()
    for headers in requests:
        for redactor in (fast, slow):
            redactor.learn_request(headers, "https://h/v1")
        assert fast._literals == slow._literals
        assert list(fast._passing) == list(slow._passing)


def test_what_was_forgotten_is_learned_again_when_it_comes_again() -> None:
    redactor, first = Redactor(), (("authorization", "Bearer Tq7aB3xK9aB3xK9aB3"),)
    redactor.learn_request(first, "https://h/")
    for number in range(200):
        redactor.learn_request((("authorization", f"Bearer other{number:03}-aB3xK9aB3x"),), "https://h/")
    assert redactor.scrub(b"Tq7aB3xK9aB3xK9aB3") == b"Tq7aB3xK9aB3xK9aB3"
    redactor.learn_request(first, "https://h/")
    assert redactor.scrub(b"Tq7aB3xK9aB3xK9aB3") == b"[REDACTED]"


SENT = st.lists(
    st.tuples(
        st.sampled_from(["Content-Type", "content-type", "accept", "openai-beta", "X-Custom", "x-custom", "api-key"]),
        st.sampled_from(["application/json", "application/json; charset=utf-8", "a", "b"]),
    ),
    max_size=6,
).map(tuple)


@given(SENT, st.sets(st.integers(0, 5)))
def test_a_header_of_the_key_that_is_not_stored_leaves_its_digest(sent: Headers, left_out: set[int]) -> None:
    """Some may be left out of what is sent, because their credential turned out to be None."""
    canonical = canonical_request("POST", "https://h/v1", sent, b"{}")
    filled = tuple(pair for at, pair in enumerate(sent) if at not in left_out)
    made = Exchange(
        "c.1", RequestHead("POST", "https://h/v1", filled), b"{}", Claim("p", "V", "chat"), "t", datetime.now(UTC)
    )
    stored = stored_request(made, canonical, b"k" * 32, Redactor())
    shown = {name.lower() for name, _ in redact.request_headers(filled)}
    assert stored["header_digests"] == {
        name: header_digest(b"k" * 32, value) for name, value in canonical["headers"] if name not in shown
    }


KEYLIKE = st.sampled_from(["sk-", "xai-", "gsk_", "hf_", "ghp_", "k-", "_", "-", "k_", "f_"])
RUNS = st.text(string.ascii_letters + string.digits + "_-", max_size=45)


@given(st.lists(KEYLIKE | RUNS | st.sampled_from([" ", '"', "\\n"]), max_size=12).map("".join))
def test_a_key_shape_is_seen_wherever_its_pattern_matches(text: str) -> None:
    data = text.encode()
    for last, look in ((b"-", redact._DASHED), (b"_", redact._UNDERSCORED)):
        ours = [pattern for prefix, pattern in redact._PATTERNS if prefix.endswith(last)]
        assert (look(data) is not None) is any(re.search(pattern, data, re.DOTALL) for pattern in ours)
