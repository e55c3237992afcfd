"""What an implementation is given, and that no order of parameters and no failure changes it."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import pytest

import custody
from custody.hooks.discovery import Found
from custody.hooks.manager import HookFailure, PluginManager
from custody.identity import Identity
from custody.plugin import Claim, Replay, RequestHead, Vendor

HEAD = RequestHead("POST", "https://h/v1", ())
GIVEN = {"identity": Identity("s", "k", 1), "request": HEAD, "labels": {"run": 1}, "body": b"{}"}


def plugin(hook: str, *names: str, then: Callable[[dict[str, Any]], Any]) -> object:
    """A plugin that implements one hook with these parameters."""
    space: dict[str, Any] = {"then": then}
    exec(f"def {hook}(self, {', '.join(names)}): return then(dict({', '.join(f'{n}={n}' for n in names)}))", space)
    return type("Plugin", (), {hook: custody.hookimpl(space[hook])})()


def manager(*plugins: object) -> PluginManager:
    made = PluginManager([Found(f"p{number}", "loaded", one) for number, one in enumerate(plugins)])
    made.raise_errors = False
    assert [found.problem for found in made.found if found.problem] == []
    return made


@pytest.mark.parametrize("count", range(len(GIVEN) + 1))
def test_parameters_may_be_left_out_and_stand_in_any_order(count: int) -> None:
    for names in itertools.permutations(GIVEN, count):
        seen: list[dict[str, Any]] = []
        assert manager(plugin("before_send", *names, then=seen.append)).before_send(**GIVEN) is None  # type: ignore[arg-type]
        assert seen == [{name: GIVEN[name] for name in names}]


def test_the_only_parameter_of_a_hook_may_be_left_out() -> None:
    claim = Claim("p", "V", "chat")
    for names in ((), ("request",)):
        assert manager(plugin("claim_exchange", *names, then=lambda given: claim)).claim_exchange(HEAD) is claim
    vendor = Vendor("sdk")
    assert manager(plugin("vendor", then=lambda given: vendor)).vendors() == [("p0", vendor)]


@pytest.mark.parametrize("raised", [ValueError, StopIteration, SystemExit, GeneratorExit, KeyboardInterrupt])
def test_who_fails_is_named_and_costs_nobody_else_their_turn(raised: type[BaseException]) -> None:
    def fail(given: object) -> Any:
        raise raised

    claim, failures = Claim("p", "V", "chat"), list[HookFailure]()
    hooks = manager(
        plugin("claim_exchange", then=lambda given: claim),  # the last registered is asked first
        plugin("claim_exchange", "request", then=fail),
        plugin("claim_exchange", "request", then=lambda given: None),
    )
    if raised in (GeneratorExit, KeyboardInterrupt):
        with pytest.raises(raised):
            hooks.claim_exchange(HEAD)
        return
    with hooks.collecting(failures):
        assert hooks.claim_exchange(HEAD) is claim
    assert failures == [HookFailure("p1", "claim_exchange", raised.__name__)]


def test_who_is_asked_last_is_asked_last_only_where_that_is_said() -> None:
    asked: list[str] = []
    then = [functools.partial(lambda name, given: asked.append(name), f"p{number}") for number in range(3)]
    hooks = manager(*(plugin("claim_exchange", then=one) for one in then))
    for through, order in ((None, "p2 p1 p0"), ("p1", "p2 p0 p1"), ("p2", "p1 p0 p2"), (None, "p2 p1 p0")):
        hooks.claim_exchange(RequestHead("POST", "https://h/v1", (), None, through))
        assert asked == order.split()
        asked.clear()


def test_an_answer_that_is_false_is_an_answer() -> None:
    given: dict[str, Any] = {"session": {}, "name": "n"}
    hooks = manager(plugin("state_load", then=lambda given: b"late"), plugin("state_load", then=lambda given: b""))
    assert hooks.state_load(**given) == b""


def test_a_replay_reaches_the_caller() -> None:
    replay = Replay("c", None, ())
    assert manager(plugin("before_send", "body", then=lambda given: replay)).before_send(**GIVEN) is replay  # type: ignore[arg-type]
