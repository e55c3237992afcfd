"""A Router's calls: one call with all its attempts, and the same choice again without the network."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

import custody
from custody.report.flags import judge
from custody.sessions import starting
from custody.testing.simulator import Fault

ASK: Any = [{"role": "user", "content": "Say something about rivers."}]
TWO = "openai/gpt-4o", "openai/gpt-4o-mini"


@pytest.fixture
def make(litellm: Any, led: Any) -> Any:
    """A Router with a group of two deployments, and another vendor's to fall back on."""

    def router(keys: str = "sk-simulator", **settings: Any) -> Any:
        fast = [{"model_name": "fast", "litellm_params": {**led("openai", model), "api_key": keys}} for model in TWO]
        backup = [{"model_name": "backup", "litellm_params": {**led("anthropic"), "api_key": keys}}]
        given = {"fallbacks": [{"fast": ["backup"]}], "num_retries": 0, **settings}
        return litellm.Router(model_list=[*fast, *backup], **given)

    return router


def down(three_ways: Any, path: str = "/v1/chat/completions", times: int = 9) -> None:
    three_ways.sim.reset()
    three_ways.sim.inject(Fault(status=503, path=path), times)


def check_fallback(three_ways: Any) -> None:
    """Both vendors were asked within one call, and the call line says so."""
    (call,) = three_ways.calls
    fields = call.fields
    assert [one["status"] for one in fields["attempts"]] == [503, 200]
    assert len({one["request_key"] for one in fields["attempts"]}) == 2
    assert fields["model_forensics"]["actual_model"].startswith("claude")
    assert len(fields["annotations"]["deployments"]) == 2
    assert fields["annotations"]["deployments"][0].startswith("fast:")
    assert fields["annotations"]["deployments"][-1].startswith("backup:")
    assert fields["sdk"]["plugin"] == "litellm"
    (judgement,) = judge([fields])
    assert {"retried", "fallback"} <= set(judgement.flags)


def test_a_fallback_across_vendors(three_ways: Any, make: Any, told: Any) -> None:
    def scenario() -> Any:
        return told(make().completion(model="fast", messages=ASK))

    three_ways(scenario, before=lambda: down(three_ways))
    check_fallback(three_ways)


def test_an_async_fallback_across_vendors(three_ways: Any, make: Any, told: Any) -> None:
    async def scenario() -> Any:
        return told(await make().acompletion(model="fast", messages=ASK))

    three_ways(scenario, before=lambda: down(three_ways))
    check_fallback(three_ways)


def test_a_streamed_fallback_across_vendors(three_ways: Any, make: Any, told: Any) -> None:
    async def scenario() -> Any:
        made = await make().acompletion(model="fast", messages=ASK, stream=True)
        return [told(chunk) async for chunk in made]

    three_ways(scenario, before=lambda: down(three_ways))
    check_fallback(three_ways)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The long sleeps that somebody wanted, in seconds; nobody gets one."""
    wanted: list[float] = []

    def noting(sleep: Any) -> Any:
        def noted(seconds: float, *more: Any) -> Any:
            if seconds >= 0.5:
                wanted.append(seconds)
            return sleep(seconds if seconds < 0.5 else 0, *more)

        return noted

    monkeypatch.setattr(time, "sleep", noting(time.sleep))
    monkeypatch.setattr(asyncio, "sleep", noting(asyncio.sleep))
    return wanted


def test_the_replay_sends_nothing_and_waits_for_nothing(
    three_ways: Any, make: Any, told: Any, slept: list[float]
) -> None:
    """The deployment that answered is asked at once: the archive's failures need no second look."""

    def scenario() -> Any:
        router = make(fallbacks=[], num_retries=2, retry_after=2)
        return told(router.completion(model="backup", messages=ASK))

    down(three_ways, "/v1/messages", times=1)
    recorded = three_ways.record(scenario)
    assert sum(slept) >= 2
    slept.clear()
    assert three_ways.replay(scenario) == recorded
    assert not slept
    (call,) = three_ways.calls
    assert [one["status"] for one in call.fields["attempts"]] == [503, 200]


def test_choices_at_random_are_made_again(three_ways: Any, make: Any, told: Any) -> None:
    """Twelve runs, each with a deployment of its own choice, replayed in another order."""
    runs = list(range(12))

    def scenario(order: list[int]) -> Any:
        router, answers = make(), {}
        for run in order:
            with starting.active().scope(run=run):
                answers[run] = told(router.completion(model="fast", messages=ASK))
        return answers

    recorded = three_ways.record(lambda: scenario(runs))
    assert len({answer["model"] for answer in recorded.values()}) == 2
    replayed = three_ways.replay(lambda: scenario(runs[::-1]))
    assert replayed == recorded


def test_a_router_in_a_running_loop(three_ways: Any, make: Any, told: Any) -> None:
    """litellm then runs the call in a thread of its own, as in a notebook."""

    async def scenario() -> Any:
        return told(make().completion(model="fast", messages=ASK))

    three_ways(scenario, before=lambda: down(three_ways))
    check_fallback(three_ways)


def test_other_credentials_are_the_same_deployment(three_ways: Any, make: Any, told: Any) -> None:
    def scenario(key: str) -> Any:
        return told(make(key).completion(model="fast", messages=ASK))

    recorded = three_ways.record(lambda: scenario("sk-first"))
    assert three_ways.replay(lambda: scenario("sk-another")) == recorded


def test_a_deployment_that_is_gone_is_a_miss(three_ways: Any, litellm: Any, led: Any) -> None:
    """The group means another model by now: the archived answer is not its answer."""

    def scenario(model: str) -> Any:
        held = [{"model_name": "fast", "litellm_params": led("openai", model)}]
        return litellm.Router(model_list=held, num_retries=0).completion(model="fast", messages=ASK)

    three_ways.record(lambda: scenario("openai/gpt-4o"))
    with pytest.raises(custody.CustodyError):
        three_ways.replay(lambda: scenario("openai/gpt-4o-mini"))


def test_all_failed(three_ways: Any, make: Any, slept: list[float]) -> None:
    """The same exception, bare, recorded and replayed, and the replay sleeps no second."""

    def scenario() -> Any:
        try:
            make(fallbacks=[], num_retries=1, retry_after=1).completion(model="backup", messages=ASK)
        except Exception as error:
            return [type(error).__name__, getattr(error, "status_code", None)]
        raise AssertionError("no error")

    down(three_ways, "/v1/messages")
    recorded = three_ways.record(scenario)
    assert slept
    slept.clear()
    assert three_ways.replay(scenario) == recorded
    assert not slept
    (call,) = three_ways.calls
    assert [one["status"] for one in call.fields["attempts"]] == [503, 503]
    assert not call.fields["answers"]


def test_other_operations(three_ways: Any, litellm: Any, led: Any, told: Any) -> None:
    def router() -> Any:
        models = {"chat": "openai/gpt-4o", "vectors": "openai/text-embedding-3-small"}
        held = [{"model_name": name, "litellm_params": led("openai", model)} for name, model in models.items()]
        return litellm.Router(model_list=held, num_retries=0)

    async def scenario() -> Any:
        one = router()
        return [
            told(await one.aembedding(model="vectors", input=["one"])),
            told(one.embedding(model="vectors", input=["two"])),
            told(await one.aresponses(model="chat", input="Say something.")),
            [told(event) async for event in await one.aresponses(model="chat", input="And?", stream=True)],
        ]

    three_ways(scenario)
    assert len(three_ways.calls) == 4
    assert {call.fields["sdk"]["plugin"] for call in three_ways.calls} == {"litellm"}
    assert all(len(call.fields["annotations"]["deployments"]) == 1 for call in three_ways.calls)


def test_tools_in_two_turns_with_ids_that_litellm_made_up(
    three_ways: Any, litellm: Any, led: Any, at_least: Any
) -> None:
    """The first turn is Ollama's, which has no ids of its own; the second hands litellm's to another vendor."""
    at_least("1.106", "asks Ollama for its tools' calls in another form")
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]

    def router() -> Any:
        held = [
            {"model_name": "local", "litellm_params": led("ollama_chat")},
            {"model_name": "openai", "litellm_params": led("openai")},
        ]
        return litellm.Router(model_list=held, num_retries=0)

    def scenario() -> Any:
        one = router()
        first = one.completion(model="local", messages=ASK, tools=tools)
        message = first.choices[0].message
        made_up = message.tool_calls[0].id
        result = {"role": "tool", "tool_call_id": made_up, "content": json.dumps({"degrees": 21})}
        turns = [*ASK, message, result]
        by_router = one.completion(model="openai", messages=turns, tools=tools)
        return [made_up, by_router.id, litellm.completion(messages=turns, tools=tools, **led("openai")).id]

    recorded = three_ways.record(scenario)
    replayed = three_ways.replay(scenario)
    assert recorded[1:] == replayed[1:]
    assert recorded[0] != replayed[0]


def test_many_at_once(three_ways: Any, make: Any, told: Any) -> None:
    async def scenario() -> Any:
        router = make()

        async def one(number: int) -> Any:
            asked = [{"role": "user", "content": f"Say something about river {number}."}]
            return told(await router.acompletion(model="fast", messages=asked))

        return await asyncio.gather(*(one(number) for number in range(8)))

    three_ways(scenario)
    assert len(three_ways.calls) == 8
    assert all(len(call.fields["annotations"]["deployments"]) == 1 for call in three_ways.calls)
