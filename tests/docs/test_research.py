"""docs/research.md: its code is code, its codecs keep what they promise."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from custody import codecs

PAGE = (Path(__file__).parents[2] / "docs" / "research.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_blocks_are_python() -> None:
    assert len(BLOCKS) > 8
    for block in BLOCKS:
        compile(block, "docs/research.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_codecs_work(monkeypatch: pytest.MonkeyPatch) -> None:
    numpy = pytest.importorskip("numpy")
    monkeypatch.setattr(codecs, "_registered", [])
    exec(next(block for block in BLOCKS if block.startswith("# codecs.py")), {})
    for value in (numpy.arange(6.0).reshape(2, 3), numpy.array([], dtype="int8"), numpy.array(["é", "xx"])):
        back = codecs.Codecs().decode(json.loads(json.dumps(codecs.Codecs().encode([value]))))[0]
        assert (back.dtype, back.shape) == (value.dtype, value.shape)
        assert (back == value).all()
        back[...] = value  # it can be written to


def test_the_pandas_codec_works(monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not among the tests' requirements")
    monkeypatch.setattr(codecs, "_registered", [])
    import custody

    exec(next(block for block in BLOCKS if "pandas.DataFrame" in block), {"custody": custody})
    frame = pandas.DataFrame({"document": ["a", "b"], "score": [1.5, 2.0], "run": [1, 2]})
    back = codecs.Codecs().decode(json.loads(json.dumps(codecs.Codecs().encode(frame))))
    assert back.equals(frame)
