"""A tour of what goes wrong with the OpenAI SDK: every typed error, retries, timeouts, bad answers, early ends.

A result is a mapping by the exception's class, so that a bare and a recorded run must raise the same one.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Generator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

import custody
from custody.testing import both
from custody.testing.both import entered, every
from custody.testing.simulator import Fault

Tour = Generator[Any, Any, Any]
Steps = Callable[[Any], Tour]

ASK: Any = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Say something about rivers."}]}
SAY: Any = {"model": "gpt-4o", "input": "Say something about rivers."}
KINDS = pytest.mark.parametrize("kind", [OpenAI, AsyncOpenAI], ids=["sync", "async"])


def patient(retries: int = 0, timeout: float = 30) -> Callable[[], dict[str, Any]]:
    return lambda: {"max_retries": retries, "timeout": timeout}


def said(error: BaseException) -> dict[str, Any]:
    """All that a program can see of an exception."""
    seen: list[Any] = [str(error)]
    if isinstance(error, openai.APIError):
        seen += [error.message, error.body, error.code, error.type, error.param, error.request.method]
    if isinstance(error, openai.APIStatusError):
        seen += [error.status_code, error.request_id, error.response.headers, error.response.text]
    cause = type(error.__cause__).__name__
    return {type(error).__name__: seen, "cause": {cause: None}, "of": [c.__name__ for c in type(error).__mro__]}


def caught(ask: Steps) -> Steps:
    """The scenario's error, or what it gave."""

    def steps(client: Any) -> Tour:
        try:
            given = yield from ask(client)
        except Exception as error:
            return said(error)
        return {"no error": given}

    return steps


def whole(client: Any) -> Tour:
    return (yield client.chat.completions.create(**ASK))


def streamed(client: Any) -> Tour:
    return (yield every(client.chat.completions.create(**ASK, stream=True)))


def parsed(client: Any) -> Tour:
    return (yield client.chat.completions.parse(**ASK))


def raw(client: Any) -> Tour:
    answer = yield client.chat.completions.with_raw_response.create(**ASK)
    return [answer.parse(), answer.headers]


def streaming(client: Any) -> Tour:
    answer = yield entered(client.chat.completions.with_streaming_response.create(**ASK))
    return (yield answer.json())


def responses(client: Any) -> Tour:
    return (yield client.responses.create(**SAY))


def responses_streamed(client: Any) -> Tour:
    return (yield every(client.responses.create(**SAY, stream=True)))


def helper(client: Any) -> Tour:
    events = yield entered(client.chat.completions.stream(**ASK))
    return [event.type for event in (yield every(events))]


def uploaded(client: Any) -> Tour:
    return (yield client.files.create(file=("a.txt", b"abc"), purpose="user_data"))


# -- statuses -----------------------------------------------------------------------------------------

ERRORS = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    409: "ConflictError",
    418: "APIStatusError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    500: "InternalServerError",
    503: "InternalServerError",
}


@KINDS
@pytest.mark.parametrize("status", ERRORS)
@pytest.mark.parametrize("ask", [whole, streamed], ids=lambda ask: ask.__name__)
def test_every_typed_error(three_ways: Any, status: int, ask: Steps, kind: type[Any]) -> None:
    steps = both.scenario(kind, caught(ask), patient())
    seen = three_ways(steps, before=lambda: three_ways.sim.inject(Fault(status=status)))
    assert ERRORS[status] in seen
    (call,) = three_ways.calls
    assert (call.outcome, [a["status"] for a in call.fields["attempts"]]) == ("error", [status])


@KINDS
@pytest.mark.parametrize("ask", [parsed, raw, streaming, responses, helper, uploaded], ids=lambda ask: ask.__name__)
def test_an_error_of_every_way_to_ask(three_ways: Any, ask: Steps, kind: type[Any]) -> None:
    steps = both.scenario(kind, caught(ask), patient(1))
    seen = three_ways(steps, before=lambda: three_ways.sim.inject(Fault(status=429, retry_after=0.01), 2))
    assert "RateLimitError" in seen
    (call,) = three_ways.calls
    assert [a["status"] for a in call.fields["attempts"]] == [429, 429]


RETRIED: dict[str, tuple[Fault, ...]] = {
    "rate_limit": (Fault(status=429, retry_after=0.01),),
    "timeout_of_the_vendor": (Fault(status=408, headers={"retry-after-ms": "1"}),),
    "conflict": (Fault(status=409, headers={"retry-after-ms": "1"}),),
    "server_error_and_overload": (
        Fault(status=500, headers={"retry-after-ms": "1"}),
        Fault(status=503, retry_after=0.01),
    ),
    "by_the_vendors_word": (Fault(status=400, headers={"x-should-retry": "true", "retry-after-ms": "1"}),),
    "cut_and_refused": (Fault(cut_after=30), Fault(status=500, headers={"retry-after-ms": "1"})),
}


@KINDS
@pytest.mark.parametrize("name", RETRIED)
@pytest.mark.parametrize("ask", [raw, responses_streamed, uploaded], ids=lambda ask: ask.__name__)
def test_a_retried_success_is_one_call(three_ways: Any, name: str, ask: Steps, kind: type[Any]) -> None:
    if name == "cut_and_refused" and ask is responses_streamed:
        pytest.skip("a stream that began is not asked for again")

    def arm() -> None:
        for fault in RETRIED[name]:
            three_ways.sim.inject(fault)

    seen = three_ways(both.scenario(kind, caught(ask), patient(2)), before=arm)
    assert "no error" in seen
    (call,) = three_ways.calls
    assert call.success and len(call.fields["attempts"]) == 1 + len(RETRIED[name])


@KINDS
def test_no_retry_where_the_vendor_says_so(three_ways: Any, kind: type[Any]) -> None:
    fault = Fault(status=500, headers={"x-should-retry": "false"})
    steps = both.scenario(kind, caught(whole), patient(2))
    assert "InternalServerError" in three_ways(steps, before=lambda: three_ways.sim.inject(fault))
    assert len(three_ways.calls[0].fields["attempts"]) == 1


# -- answers that are wrong ---------------------------------------------------------------------------

CHUNK = 'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[]}\n\n'
WRONG: dict[str, tuple[Steps, Fault]] = {
    "malformed_json": (whole, Fault(cut_after=0, tail='{"id": "chatcmpl-')),
    "malformed_json_raw": (raw, Fault(cut_after=0, tail='{"id": "chatcmpl-')),
    "malformed_json_responses": (responses, Fault(cut_after=0, tail="[1, 2")),
    "not_an_object": (whole, Fault(cut_after=0, tail='"just a text"')),
    "html_with_200": (whole, Fault(cut_after=0, tail="<html>", headers={"content-type": "text/html"})),
    "html_with_502": (whole, Fault(status=502, cut_after=0, tail="<html>", headers={"content-type": "text/html"})),
    "empty_answer": (whole, Fault(cut_after=0, tail="")),
    "empty_stream": (streamed, Fault(cut_after=0, tail="")),
    "error_in_a_stream": (streamed, Fault(cut_after=3, tail='data: {"error": {"message": "over", "code": "x"}}\n\n')),
    "error_event_in_a_stream": (
        streamed,
        Fault(cut_after=3, tail='event: error\ndata: {"error": {"message": "over", "type": "server_error"}}\n\n'),
    ),
    "error_in_a_helper": (helper, Fault(cut_after=3, tail='data: {"error": {"message": "over"}}\n\n')),
    "error_in_responses": (
        responses_streamed,
        Fault(
            cut_after=3,
            tail='event: error\ndata: {"type":"error","code":"x","message":"over","sequence_number":3}\n\n',
        ),
    ),
    "malformed_event": (streamed, Fault(cut_after=3, tail='data: {"id": \n\ndata: [DONE]\n\n')),
    "stream_without_done": (
        streamed,
        Fault(cut_after=0, tail=CHUNK.replace("[]", '[{"index":0,"delta":{},"finish_reason":"stop"}]')),
    ),
    "unknown_events": (
        streamed,
        Fault(cut_after=0, tail=": a comment\n\nevent: odd\nid: 7\nretry: 10\n" + CHUNK + "data: [DONE]\n\n"),
    ),
}


@KINDS
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_wrong_three_ways(three_ways: Any, name: str, kind: type[Any]) -> None:
    ask, fault = WRONG[name]
    three_ways(both.scenario(kind, caught(ask), patient()), before=lambda: three_ways.sim.inject(fault))
    assert len(three_ways.calls) == 1


# -- no answer ----------------------------------------------------------------------------------------


def closed_port() -> int:
    """A port where nobody listens."""
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def as_bare(three_ways: Any, scenario: Callable[[], Any], arm: Callable[[], None]) -> Any:
    """Bare and recorded give the same. Returns the recorded one."""
    arm()
    bare = asyncio.run(scenario()) if asyncio.iscoroutinefunction(scenario) else scenario()
    arm()
    recorded = three_ways.record(scenario)
    assert recorded.keys() == bare.keys()
    assert (recorded["of"], recorded["cause"]) == (bare["of"], bare["cause"])
    return recorded


NO_ANSWER: dict[str, tuple[Steps, Fault | None, str]] = {
    "timeout": (whole, Fault(delay=2), "APITimeoutError"),
    "timeout_of_a_stream": (streamed, Fault(delay=2), "APITimeoutError"),
    "timeout_within_a_stream": (streamed, Fault(hold_after=2), ""),
    "dropped": (whole, Fault(drop=True), "APIConnectionError"),
    "cut": (whole, Fault(cut_after=30), "APIConnectionError"),
    "cut_stream": (streamed, Fault(cut_after=3), ""),
    "refused": (whole, None, "APIConnectionError"),
}


@KINDS
@pytest.mark.parametrize("name", NO_ANSWER)
def test_no_answer_is_the_same_exception(three_ways: Any, name: str, kind: type[Any]) -> None:
    ask, fault, expected = NO_ANSWER[name]
    port = closed_port()

    def options() -> dict[str, Any]:
        more = {"base_url": f"http://127.0.0.1:{port}/v1"} if fault is None else {}
        return {**patient(1 if ask is whole else 0, 0.3)(), **more}

    def arm() -> None:
        if fault is not None:
            three_ways.sim.inject(fault, 2 if ask is whole else 1)

    scenario = both.scenario(kind, caught(ask), options)
    recorded = as_bare(three_ways, scenario, arm)
    assert expected in recorded or not expected
    (call,) = three_ways.calls
    assert not call.fields["answers"] and len(call.fields["attempts"]) == (2 if ask is whole else 1)
    if call.outcome == "no_response":
        assert three_ways.replay(scenario) == recorded
    else:  # what would have come after the break is not on record, and its exception neither
        with pytest.raises(custody.ReplayError):
            three_ways.replay(both.scenario(kind, ask, options))


# -- left early ---------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("count", [0, 1, 4])
@pytest.mark.parametrize("ask", ["chat", "responses", "bytes"])
def test_a_stream_closed_early(three_ways: Any, ask: str, count: int, kind: type[Any]) -> None:
    def steps(client: Any) -> Tour:
        if ask == "bytes":
            answer = yield entered(client.chat.completions.with_streaming_response.create(**ASK, stream=True))
            got = yield every(answer.iter_bytes(), count, seen=lambda _: three_ways.sim.release())
        else:
            made = client.responses.create(**SAY, stream=True) if ask == "responses" else None
            stream = yield made or client.chat.completions.create(**ASK, stream=True)
            got = yield every(stream, count, seen=lambda _: three_ways.sim.release())
            yield stream.close()
        return got

    three_ways(both.scenario(kind, steps, patient()), before=lambda: three_ways.sim.inject(Fault(hold_after=1)))
    (call,) = three_ways.calls
    assert (call.outcome, call.fields["answers"]) == ("closed_early", True)


def cancelled_task(three_ways: Any, streamed: bool) -> Callable[[], Any]:
    """A task that is cancelled while the vendor keeps it waiting; in a stream, after three chunks."""

    async def scenario() -> Any:
        async with AsyncOpenAI(max_retries=0) as client:
            got: list[Any] = []

            async def ask() -> None:
                made: Any = await client.chat.completions.create(**ASK, stream=streamed)
                async for chunk in made:
                    got.append(chunk)  # noqa: PERF401 what came before the end counts

            task = asyncio.create_task(ask())
            while len(got) < 3 if streamed else not three_ways.sim.count():
                await asyncio.sleep(0.01)
                three_ways.sim.release()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        return {"of": len(got) >= 3, "cause": {}, "CancelledError": None}

    return scenario


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_a_cancelled_task(three_ways: Any, streamed: bool) -> None:
    def arm() -> None:
        three_ways.sim.reset()
        three_ways.sim.inject(Fault(hold_after=1) if streamed else Fault(delay=5))

    as_bare(three_ways, cancelled_task(three_ways, streamed), arm)
    (call,) = three_ways.calls
    assert call.fields["ending"] in ("cancelled", "closed_early") and call.outcome == call.fields["ending"]


def test_a_deadline_of_asyncio(three_ways: Any) -> None:
    async def scenario() -> Any:
        async with AsyncOpenAI(max_retries=0) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await client.chat.completions.create(**ASK)
        return {"of": [], "cause": {}, "TimeoutError": None}

    as_bare(three_ways, scenario, lambda: three_ways.sim.inject(Fault(delay=5)))
    (call,) = three_ways.calls
    assert (call.outcome, call.fields["answers"]) == ("cancelled", False)


@KINDS
def test_a_program_that_fails_within_a_stream(three_ways: Any, kind: type[Any]) -> None:
    """Its own exception comes through, and what it had read is on record."""

    def steps(client: Any) -> Tour:
        def fail(_: Any) -> None:
            raise ZeroDivisionError("of the program")

        stream = yield entered((yield client.chat.completions.create(**ASK, stream=True)))
        try:
            yield every(stream, seen=fail)
        except ZeroDivisionError as error:
            return said(error)
        return {}

    arm = lambda: three_ways.sim.inject(Fault(hold_after=1))  # noqa: E731
    assert "ZeroDivisionError" in as_bare(three_ways, both.scenario(kind, steps, patient()), arm)
    (call,) = three_ways.calls
    assert call.response is not None and call.response.raw.startswith(b"data:")
