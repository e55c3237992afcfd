"""The difference of two requests: every leaf that the key depends on, under a name that a reader knows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.exchange import Headers
from custody.identity.difference import ABSENT, Difference, Leaves, differences, leaves, likeness
from custody.identity.key import canonical_request

URL = "https://api.example/v1/chat?b=2&a=1"
JSON: Headers = (("content-type", "application/json"), ("accept", "text/event-stream"))


def of(url: str = URL, headers: Headers = JSON, body: Any = None, digests: Any = None, **kwargs: Any) -> Leaves:
    return leaves("POST", url, headers, b"" if body is None else json.dumps(body).encode(), digests or {}, **kwargs)


def found(archived: Leaves, asked: Leaves) -> list[Difference]:
    return list(differences(archived, asked))


def test_leaves_have_names_that_a_reader_knows() -> None:
    named = of(body={"messages": [{"content": "Hi"}], "n": 1, "tools": []}, digests={"x-odd": "ab"})
    assert named == {
        "method": "POST", "scheme": "https", "host": "api.example", "port": 443, "path": "/v1/chat",
        "query.a": "1", "query.b": "2", "header accept": "text/event-stream",
        "header content-type": "application/json", "header x-odd": "(not stored, digest ab)",
        "body.messages[0].content": "Hi", "body.n": 1, "body.tools": [],
    }  # fmt: skip


def test_differences_are_changed_new_and_gone() -> None:
    one, other = of(body={"a": 1, "b": "x"}), of(body={"a": 1.0, "c": None})
    assert found(one, other) == [
        Difference("body.a", 1, 1.0),
        Difference("body.b", "x", ABSENT),
        Difference("body.c", ABSENT, None),
    ]
    assert found(one, other)[2].as_dict() == {"path": "body.c", "asked": None}


def test_a_header_that_is_not_stored_differs_by_its_digest() -> None:
    (difference,) = found(of(digests={"x-odd": "ab"}), of(digests={"x-odd": "cd"}))
    assert difference.path == "header x-odd"


def test_of_two_values_with_one_name_none_is_lost() -> None:
    assert found(of("https://h/?a=1&a=2"), of("https://h/?a=1&a=3")) == [Difference("query.a #2", "2", "3")]


@pytest.mark.parametrize(
    ("parts", "names"),
    [
        (("body",), {"body"}),
        (("path",), {"path", "query"}),
        (("url",), {"scheme", "host", "port", "path", "query"}),
        (("stored headers",), {"header accept", "header content-type"}),
        (("method", "headers"), {"method", "header accept", "header content-type"}),
    ],
)
def test_parts(parts: tuple[str, ...], names: set[str]) -> None:
    assert {path.partition(".")[0] for path in of(body={"a": 1}, parts=parts)} == names


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, json_values)
def test_no_difference_means_the_same_request(one: Any, other: Any) -> None:
    a, b = {"body": one}, {"body": other}
    same = canonical_request("POST", URL, JSON, json.dumps(a).encode()) == canonical_request(
        "POST", URL, JSON, json.dumps(b).encode()
    )
    if same:
        # Python calls 1 and True equal; JSON and the key do not.
        same = json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
    assert (not found(of(body=a), of(body=b))) == same


def test_names_with_dots_are_not_mistaken_for_paths() -> None:
    assert found(of(body={"a.b": 1}), of(body={"a": {"b": 1}})) == [
        Difference('body.["a.b"]', 1, ABSENT),
        Difference("body.a.b", ABSENT, 1),
    ]


def test_likeness_prefers_the_text_that_is_nearer() -> None:
    asked = of(body={"content": "Say hello to the harbour"})
    near, far = of(body={"content": "Say hello to the harbor"}), of(body={"content": "Tell me a story"})
    assert likeness(near, asked) > likeness(far, asked)
