"""In which order a plan is walked: shards are a partition, and workers divide the items among themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.research import matrix
from custody.research.order import Order

PLAN = matrix.made(["a", "b", "c", "d", "e"], 3, None)


def keys(order: Order) -> list[str]:
    return [item.key for _, item in order.walk(PLAN)]


def test_one_alone_walks_the_matrix_as_it_is() -> None:
    assert keys(Order()) == [item.key for item in PLAN]
    assert [place for place, _ in Order().walk(PLAN)] == list(range(len(PLAN)))


@pytest.mark.parametrize("parts", [1, 2, 4, 15, 20])
def test_shards_are_a_partition(parts: int) -> None:
    walked = [key for part in range(1, parts + 1) for key in keys(Order((part, parts)))]
    assert sorted(walked) == sorted(item.key for item in PLAN)
    assert len(walked) == len(PLAN)


@given(start=st.floats(0, 1, exclude_max=True), taken=st.sets(st.sampled_from([item.key for item in PLAN])))
def test_a_worker_walks_everything_once_and_what_others_have_last(start: float, taken: set[str]) -> None:
    order = Order((1, 1), start, lambda key: key.partition("\0")[2] not in taken)
    walked = keys(order)
    assert sorted(walked) == sorted(item.key for item in PLAN)
    own = len(PLAN) - len(taken)
    assert taken == set(walked[own:])


def test_workers_share_the_items_between_them() -> None:
    claimed: set[str] = set()

    def claim(key: str) -> bool:
        fresh = key not in claimed
        claimed.add(key)
        return fresh

    workers = [Order((1, 1), start, claim).walk(PLAN) for start in (0.0, 0.5)]
    first = [next(worker)[1].key for _ in range(7) for worker in workers]
    assert len(set(first)) == 14, "two workers, and no item twice, as long as there are others"


def test_items_of_another_scope_are_others() -> None:
    claimed: list[str] = []
    order = Order((1, 1), 0.0, lambda key: not claimed.append(key))
    list(order.walk(PLAN, "one"))
    list(order.walk(PLAN, "two"))
    assert len(set(claimed)) == 2 * len(PLAN)
