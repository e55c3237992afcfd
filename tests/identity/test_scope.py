"""Scopes: nested, in tasks, threads and generators; labels that can be told apart."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Generator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.errors import ScopeError
from custody.identity import Identity, scope

LABEL = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)


def here() -> dict[str, Any]:
    return dict(scope.current().labels)


def test_nesting() -> None:
    assert here() == {}
    with scope.labelled({"a": 1}):
        with scope.labelled({"a": 2, "b": 3}) as inside:
            assert dict(inside.labels) == here() == {"a": 2, "b": 3}
        assert here() == {"a": 1}
        with pytest.raises(KeyError), scope.labelled({"c": 1}):
            raise KeyError
        assert here() == {"a": 1}
    assert here() == {}


def test_stages() -> None:
    with scope.staged("analysis") as outer, scope.labelled({"run": 1}):
        assert scope.current().used is outer.used
        with scope.staged("second") as inner:
            assert here() == {"stage": "analysis/second", "run": 1}
            assert inner.used is not outer.used
            assert inner.used is not None
            inner.used.append(Identity("{}", "k", 1))
            assert scope.current().used is inner.used
        assert scope.current().used == [Identity("{}", "k", 1)], "who skips the outer stage skips the inner one"
    assert scope.current().used is None


def test_labels_cannot_be_changed_from_outside() -> None:
    given_labels: dict[str, object] = {"a": 1}
    with scope.labelled(given_labels):
        given_labels["a"] = 2
        with pytest.raises(TypeError):
            scope.current().labels["a"] = 3  # type: ignore[index]
        assert here() == {"a": 1}


def test_tasks_keep_the_scope_in_which_they_were_made() -> None:
    async def ask() -> dict[str, Any]:
        await asyncio.sleep(0)
        with scope.labelled({"inner": True}):
            await asyncio.sleep(0)
            return here()

    async def main() -> list[dict[str, Any]]:
        tasks = []
        for run in range(3):
            with scope.labelled({"run": run}):
                tasks.append(asyncio.create_task(ask()))
        assert here() == {}
        return await asyncio.gather(*tasks)  # outside of every block

    assert asyncio.run(main()) == [{"run": n, "inner": True} for n in range(3)]


def labels_of(name: str) -> Generator[int, None, None]:
    with scope.labelled({name: 1}):
        yield 1
        yield 2


def test_a_generator_that_is_left_early_holds_nothing_open() -> None:
    left = labels_of("left")
    next(left)
    with scope.labelled({"mine": 1}):
        left.close()
        assert here()["mine"] == 1, "its end takes nothing from the block that is open now"
        with scope.labelled({"inner": 1}):
            assert here()["inner"] == 1
        assert here()["mine"] == 1
    assert here() == {}


def test_generators_that_end_in_the_order_of_their_beginning() -> None:
    first, second = labels_of("first"), labels_of("second")
    next(first)
    next(second)
    first.close()
    assert "second" in here()
    second.close()
    assert here() == {}


def test_an_asynchronous_generator_that_the_loop_ends() -> None:
    async def numbers() -> AsyncIterator[int]:
        with scope.labelled({"left": 1}):
            yield 1
            yield 2

    async def main() -> dict[str, Any]:
        async for _ in numbers():
            break
        gc.collect()
        await asyncio.sleep(0.01)  # the loop closes it in another context
        with scope.labelled({"mine": 1}):
            pass
        return here()

    assert asyncio.run(main()) == {}


@given(LABEL, LABEL)
def test_two_labels_are_one_only_if_they_are_equal_and_of_one_type(first: Any, second: Any) -> None:
    same = type(first) is type(second) and repr(first) == repr(second)
    assert (scope.canonical({"x": first}) == scope.canonical({"x": second})) is same


def test_labels_that_python_thinks_equal() -> None:
    labels: list[Any] = [True, 1, 1.0, "1", "true", False, 0, 0.0, -0.0, "", None, "null"]
    assert len({scope.canonical({"x": label}) for label in labels}) == len(labels)


@given(st.dictionaries(st.text(), LABEL))
def test_canonical_labels_are_sorted_json_that_can_be_written(labels: dict[str, Any]) -> None:
    text = scope.canonical(labels)
    assert text == scope.canonical(dict(reversed(labels.items())))
    assert json.loads(text.encode()) == labels


def test_the_name_of_a_file_that_is_no_utf8() -> None:
    first, second = (scope.canonical({"corpus_file": name}) for name in ("a\udce9.txt", "a\udcea.txt"))
    assert first.encode() != second.encode()
    assert first != scope.canonical({"corpus_file": "a\\udce9.txt"})


class Name(str):
    pass


@pytest.mark.parametrize("value", [[], {}, b"x", object(), Name("x"), float("nan"), float("inf"), -float("inf"), 1j])
def test_labels_that_are_none(value: Any) -> None:
    with pytest.raises(ScopeError, match=r"^scope label x"), scope.labelled({"x": value}):
        pass
    assert here() == {}


def test_an_integer_that_cannot_be_written() -> None:
    with pytest.raises(ScopeError, match="an integer of 3322"), scope.labelled({"x": 10**1000}):
        pass


def test_the_stage_is_no_label_of_the_users() -> None:
    with pytest.raises(ScopeError, match=r"set by session\.stage"), scope.labelled({"stage": "x"}):
        pass
