"""Redaction patterns that cannot be honoured are refused where they are given, with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from custody.hooks.patterns import checked
from custody.hooks.results import WrongResult


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("secret", "it gave a str, and should give a list of pairs"),
        (5, "it gave an int"),
        (True, "it gave a bool"),
        (b"x", "it gave a bytes"),
        (object(), "it gave an object"),
        ({"a": "b"}, "it gave a dict"),
        (["ab"], "no pair of texts"),
        ([("a", "b", "c")], "no pair of texts"),
        ([(b"lit", b"lit+")], "no pair of texts"),
        ([("a", None)], "no pair of texts"),
        ([("lit", "(")], "'(' is no regular expression: "),
        ([("lit", "\ud800")], "cannot be written as UTF-8"),
        ([("zebra", "z*")], "matches the empty text"),
        ([("", ".*")], "matches the empty text"),
        ([("zebra", "(?=zebra)")], "matches the empty text"),
        ([("zebra", r"\b")], "matches the empty text"),
        ([("zebra", "(?<=zebra)")], "matches the empty text"),
        ([("", ".+")], "matches what custody itself writes"),
        ([("", "[a-z]+")], "matches what custody itself writes"),
        ([("", "[0-9a-f]{32,}")], "matches what custody itself writes"),
        ([('"', '"[^"]+"')], "matches what custody itself writes"),
        ([("request", r"request\w*")], "matches what custody itself writes"),
    ],
)
def test_refused_with_the_reason(given: Any, reason: str) -> None:
    with pytest.raises(WrongResult) as refused:
        checked(given)
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "given",
    [
        [],
        [("hush-", "hush-[a-z]+")],
        (["zk-", "zk-[0-9a-f]{16}"],),
        [("", "zk-[0-9a-f]{16}")],
        [("zebra", "zebra.*")],
        [("tökén", "tökén [a-z]+")],
    ],
)
def test_taken(given: Any) -> None:
    assert checked(given) == [tuple(pair) for pair in given]
