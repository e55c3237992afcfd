"""What a stage depends on: a comment is no change, a line of code is one."""

from __future__ import annotations

import functools
from collections.abc import Callable

from custody.codecs import Codecs
from custody.research import fingerprint


def one(text: str) -> int:
    return len(text)


def commented(text: str) -> int:
    """Says something."""
    # and something else
    return len(text)


def two(text: str) -> int:
    return len(text) + 1


def digest(function: Callable[..., object], name: str) -> str:
    source = fingerprint._source(function)
    return source.replace(f"def {name}(", "def f(")


def test_only_code_counts() -> None:
    assert digest(one, "one") == digest(commented, "commented") != digest(two, "two")
    assert fingerprint.of_code([one]) == fingerprint.of_code([functools.partial(one, "x")])
    assert fingerprint.of_code([one]) != fingerprint.of_code([one, two])


def test_without_source() -> None:
    made: dict[str, Callable[..., object]] = {}
    exec("def a(x):\n    return x + 1\ndef b(x):\n    return x + 2", made)
    assert fingerprint.of_code([made["a"]]) != fingerprint.of_code([made["b"]])
    assert fingerprint.of_code([made["a"]]) == fingerprint.of_code([made["a"]])
    assert fingerprint.of_code([len]) != fingerprint.of_code([max])


def test_inputs_are_keyed() -> None:
    assert fingerprint.of_inputs(b"a", Codecs(), ["x"]) != fingerprint.of_inputs(b"b", Codecs(), ["x"])
    assert fingerprint.of_inputs(b"a", Codecs(), {"b": 1, "a": 2}) == fingerprint.of_inputs(
        b"a", Codecs(), {"a": 2, "b": 1}
    )
