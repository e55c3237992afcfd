"""Values come back as what they were, and nothing in a file runs or imports anything."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from custody import codecs
from custody.codecs import CannotKeep, CannotRestore, Codec, Codecs
from custody.errors import UsageError


class Colour(Enum):
    RED = "red"


class Frame(BaseModel):
    name: str = Field(alias="frameName")
    score: Decimal
    when: datetime | None = None


@dataclass
class Analysis:
    document: str
    frames: list[Frame]
    seen: set[int] = field(default_factory=set)
    total: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.total = len(self.frames)


VALUES = [
    None, True, 7, 1.5, "text", [1, [2]], {"a": {"b": 1}}, (1, ("x",)), {1: "one", (2, 3): "pair"},
    {"$custody": "mine"},
    {3, 1}, frozenset({"a"}), b"\xff\0", datetime(2026, 1, 2, tzinfo=UTC), timedelta(days=-1, microseconds=3),
    Decimal("0.10"), math.inf, Path("corpus/a.txt"), Colour.RED, Frame(frameName="pop", score=Decimal("1.50")),
    Analysis("a.txt", [Frame(frameName="x", score=Decimal(1), when=datetime(2026, 1, 2, tzinfo=UTC))], {1}),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_what_is_kept_comes_back(value: Any) -> None:
    made = Codecs().encode(value)
    back = Codecs().decode(json.loads(json.dumps(made)))
    assert back == value
    assert type(back) is type(value)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
    max_leaves=10,
)


@given(PLAIN)
def test_any_plain_value_comes_back(value: Any) -> None:
    back = Codecs().decode(json.loads(json.dumps(Codecs().encode(value))))
    assert back == value
    assert repr(back) == repr(value)


def test_what_no_codec_knows_is_named_by_its_place() -> None:
    with pytest.raises(CannotKeep, match=r"value\['rows'\]\[1\] is a .*object.*custody.register_codec"):
        Codecs().encode({"rows": [1, object()]})
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(CannotKeep, match="contains itself"):
        Codecs().encode(loop)


def test_a_file_cannot_name_what_is_no_kept_class(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("os:system", "subprocess:Popen", "no_such_module:Thing", "antigravity:fly"):
        for codec in ("dataclass", "pydantic", "enum"):
            value = {"$custody": codec, "value": {"class": name, "fields": {"args": "id"}, "name": "X"}}
            with pytest.raises(CannotRestore):
                Codecs().decode(value)
    with pytest.raises(CannotRestore, match="no codec 'pickle'"):
        Codecs().decode({"$custody": "pickle", "value": ""})
    import sys

    assert "antigravity" not in sys.modules


class Matrix:
    def __init__(self, rows: list[list[float]]) -> None:
        self.rows = rows


def test_a_codec_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "_registered", [])
    mine = Codec("lab.matrix", lambda v: isinstance(v, Matrix), lambda v: v.rows, Matrix)
    codecs.register_codec(mine)
    made = Codecs().encode([Matrix([[1.0]])])
    assert made == [{"$custody": "lab.matrix", "value": [[1.0]]}]
    assert Codecs().decode(made)[0].rows == [[1.0]]
    monkeypatch.setattr(codecs, "_registered", [])
    assert Codecs([mine]).decode(made)[0].rows == [[1.0]], "a plugin's"
    with pytest.raises(CannotRestore, match=r"lab\.matrix"):
        Codecs().decode(made)
    with pytest.raises(UsageError, match="custody's own"):
        codecs.register_codec(Codec("tuple", lambda v: True, list, tuple))
