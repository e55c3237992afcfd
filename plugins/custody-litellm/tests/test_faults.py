"""Errors, timeouts, retries and fallbacks of litellm: the same exceptions, and every attempt on record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from custody.testing.simulator import Fault

ASK: Any = [{"role": "user", "content": "Say something about rivers."}]


def raised(litellm: Any, ask: Callable[[], Any]) -> list[Any]:
    """What a failed call raises, as far as it does not depend on the answer's ids."""
    try:
        ask()
    except Exception as error:
        return [type(error).__name__, getattr(error, "status_code", None), getattr(error, "llm_provider", None)]
    raise AssertionError("no error")


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "BadRequestError"),
        (404, "NotFoundError"),
        (429, "RateLimitError"),
        (500, "InternalServerError"),
        (503, "ServiceUnavailableError"),
    ],
)
@pytest.mark.parametrize("vendor", ["openai", "anthropic", "gemini"])
def test_typed_exceptions(litellm: Any, three_ways: Any, led: Any, vendor: str, status: int, name: str) -> None:
    def scenario() -> Any:
        return raised(litellm, lambda: litellm.completion(messages=ASK, max_retries=0, **led(vendor)))

    def before() -> None:
        three_ways.sim.reset()
        three_ways.sim.inject(Fault(status=status), 1)

    recorded = three_ways(scenario, before=before)
    assert recorded[0] == name
    (call,) = three_ways.calls
    assert (call.fields["outcome"], call.fields["status"]) == ("error", status)


def test_a_timeout(litellm: Any, three_ways: Any, led: Any) -> None:
    def scenario() -> Any:
        return raised(litellm, lambda: litellm.completion(messages=ASK, timeout=0.3, max_retries=0, **led("anthropic")))

    three_ways.sim.inject(Fault(delay=2.0), 1)
    recorded = three_ways.record(scenario)
    assert recorded[0] == "Timeout"
    (call,) = three_ways.calls
    assert (call.fields["outcome"], call.fields["ending"]) == ("no_response", "no_response")
    assert call.fields["attempts"][0]["error"]


def test_retries_are_attempts_of_one_call(litellm: Any, three_ways: Any, led: Any, told: Any) -> None:
    def scenario() -> Any:
        return told(litellm.completion(messages=ASK, num_retries=2, max_retries=0, **led("openai")))

    def before() -> None:
        three_ways.sim.reset()
        three_ways.sim.inject(Fault(status=503), 1)

    three_ways(scenario, before=before)
    (call,) = three_ways.calls
    assert [one["status"] for one in call.fields["attempts"]] == [503, 200]
    assert call.success


def test_async_retries(litellm: Any, three_ways: Any, led: Any, told: Any) -> None:
    async def scenario() -> Any:
        return told(await litellm.acompletion(messages=ASK, num_retries=2, max_retries=0, **led("mistral")))

    def before() -> None:
        three_ways.sim.reset()
        three_ways.sim.inject(Fault(status=503), 1)

    three_ways(scenario, before=before)
    (call,) = three_ways.calls
    assert [one["status"] for one in call.fields["attempts"]] == [503, 200]


@pytest.mark.parametrize("running", [False, True], ids=["no loop", "in a running loop"])
def test_fallbacks_across_vendors(litellm: Any, three_ways: Any, led: Any, told: Any, running: bool) -> None:
    def ask() -> Any:
        fallback = [led("anthropic")]
        return told(litellm.completion(messages=ASK, fallbacks=fallback, max_retries=0, **led("openai")))

    async def in_loop() -> Any:
        return ask()

    def before() -> None:
        three_ways.sim.reset()
        three_ways.sim.inject(Fault(status=503, path="/chat/completions"), 9)

    three_ways(in_loop if running else ask, before=before)
    (call,) = three_ways.calls
    assert [one["status"] for one in call.fields["attempts"]][-1] == 200
    assert call.fields["attempts"][0]["status"] == 503
    assert call.fields["model_forensics"]["actual_model"].startswith("claude")


def test_async_fallbacks_across_vendors(litellm: Any, three_ways: Any, led: Any, told: Any) -> None:
    async def scenario() -> Any:
        fallback = [led("gemini")]
        return told(await litellm.acompletion(messages=ASK, fallbacks=fallback, max_retries=0, **led("anthropic")))

    def before() -> None:
        three_ways.sim.reset()
        three_ways.sim.inject(Fault(status=503, path="/v1/messages"), 9)

    three_ways(scenario, before=before)
    (call,) = three_ways.calls
    assert [one["status"] for one in call.fields["attempts"]] == [503, 200]
    assert call.fields["operation"]


def test_a_stream_that_breaks_off(litellm: Any, three_ways: Any, led: Any, told: Any) -> None:
    def scenario() -> Any:
        return raised(litellm, lambda: list(litellm.completion(messages=ASK, stream=True, **led("mistral"))))

    three_ways.sim.inject(Fault(cut_after=3), 1)
    three_ways.record(scenario)
    (call,) = three_ways.calls
    assert not call.success
    assert not call.fields["answers"]


def test_a_stream_that_the_program_leaves(litellm: Any, three_ways: Any, led: Any, told: Any) -> None:
    def scenario() -> Any:
        chunks = litellm.completion(messages=ASK, stream=True, **led("openai"))
        first = [told(next(chunks)) for _ in range(3)]
        chunks.completion_stream.close()
        return first

    three_ways(scenario)
    (call,) = three_ways.calls
    assert call.fields["ending"] == "closed_early"


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "gemini"])
def test_the_first_chunk_is_not_kept_back(litellm: Any, three_ways: Any, led: Any, vendor: str) -> None:
    """It comes while the vendor is writing, who waits for it with the rest."""
    three_ways.sim.inject(Fault(hold_after=4))  # litellm puts the first events together

    def scenario() -> Any:
        chunks = iter(litellm.completion(messages=ASK, stream=True, **led(vendor)))
        first = next(chunks)
        assert three_ways.sim.answered() == 0
        three_ways.sim.release(1000)
        return [first, *chunks]

    assert len(three_ways.record(scenario)) > 3
