"""What a stage depends on: a comment is no change, a line of code is one."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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


SCRIPT = """
import re, time
from pathlib import Path
import own
PROMPT = "old {text}"
TABLE = {"a": 1}
START = time.time()
HALF = 0.5
seen = []
count = 0
def helper(text):
    return deeper(text)
def deeper(text):
    return len(text)
class Judge:
    tone = "kind"
def work(text):
    global count
    count += 1
    seen.append(text)
    print(time.time() - START, Path("x"), own.WORDS)
    return [PROMPT, TABLE, HALF, helper(text), Judge().tone]
def other(text):
    return text
"""


def digests(folder: Path, script: str, own: str = "WORDS = ('a', 'b')\n") -> str:
    (folder / "script.py").write_text(script)
    (folder / "own.py").write_text(own)
    say = (
        "import script; from custody.research import fingerprint as f; a = f.of_code([script.work])\n"
        "script.work('x'); assert a == f.of_code([script.work]); print(a)"
    )
    # Without a .pyc: one of the same second and size would pass for the new text's.
    done = subprocess.run([sys.executable, "-B", "-c", say], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("old {text}", "new {text}", False),
        ('{"a": 1}', '{"a": 2}', False),
        ("HALF = 0.5", "HALF = 0.6", False),
        ("return len(text)", "return len(text) + 1", False),
        ('"kind"', '"stern"', False),
        ("    return text", "    return text + text", True),
        ("count = 0", "count = 7", True),
        ("import re, time", "import time", True),
    ],
)
def test_what_a_function_reads_counts(tmp_path: Path, old: str, new: str, same: bool) -> None:
    first = digests(tmp_path, SCRIPT)
    assert first == digests(tmp_path, SCRIPT), "it is another one in each process"
    assert (first == digests(tmp_path, SCRIPT.replace(old, new))) is same


def test_constants_of_own_modules_count(tmp_path: Path) -> None:
    assert digests(tmp_path, SCRIPT) != digests(tmp_path, SCRIPT, "WORDS = ('a', 'c')\n")


def test_what_stands_around_a_function_counts() -> None:
    def made(prompt: str) -> Callable[..., object]:
        def work(text: str) -> str:
            return prompt + text

        return work

    assert fingerprint.of_code([made("a")]) == fingerprint.of_code([made("a")]) != fingerprint.of_code([made("b")])


def test_a_prompt_of_a_notebook_counts() -> None:
    said = []
    for prompt in ("old", "old", "new"):
        made: dict[str, Any] = {"__name__": "__main__"}
        exec(f"PROMPT = {prompt!r}\ndef work(text):\n    return PROMPT + text", made)
        said.append(fingerprint.of_code([made["work"]]))
    assert said[0] == said[1] != said[2]
