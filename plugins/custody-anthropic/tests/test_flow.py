"""The Anthropic SDK against the simulator: bare, recorded, and replayed strictly with the simulator gone."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic

import custody
from custody.testing.simulator import Fault

ASK: Any = {
    "model": "claude-sonnet-4-6",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Say something about rivers."}],
}
TOOLS: Any = [
    {
        "name": "weather",
        "description": "The weather of a city.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]
WRONG_KEY = "invalid-key-of-somebody"
http: Any = importlib.import_module("httpx2" if int(anthropic.__version__.split(".")[0]) >= 1 else "httpx")


def second_turn(first: Any) -> Any:
    """The messages that hand a tool's result back; the vendor made the ids in them."""
    (used,) = [block for block in first.content if block.type == "tool_use"]
    said = {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in first.content]}
    result = {"type": "tool_result", "tool_use_id": used.id, "content": json.dumps({"degrees": 21})}
    return [*ASK["messages"], said, {"role": "user", "content": [result]}]


# -- sync ---------------------------------------------------------------------------------------------


def message(client: Anthropic) -> Any:
    return [client.messages.create(**ASK, system="Be brief."), client.messages.create(**{**ASK, "max_tokens": 3})]


def stream(client: Anthropic) -> Any:
    return list(client.messages.create(**ASK, stream=True))


def stream_as_context(client: Anthropic) -> Any:
    with client.messages.create(**ASK, stream=True) as events:
        return list(events)


def stream_helper(client: Anthropic) -> Any:
    with client.messages.stream(**ASK) as one:
        texts = list(one.text_stream)
        whole = one.get_final_message()
    with client.messages.stream(**ASK) as two:
        kinds = [event.type for event in two]
    with client.messages.stream(**ASK) as three:
        return [texts, whole, kinds, three.get_final_text(), three.request_id]


def tools(client: Anthropic) -> Any:
    first = client.messages.create(**ASK, tools=TOOLS)
    second = client.messages.create(**{**ASK, "messages": second_turn(first)}, tools=TOOLS)
    assert second.content[0].type == "text"
    return [first, second, list(client.messages.create(**ASK, tools=TOOLS, stream=True))]


def count_tokens(client: Anthropic) -> Any:
    return client.messages.count_tokens(model=ASK["model"], messages=ASK["messages"])


def models(client: Anthropic) -> Any:
    return [list(client.models.list()), client.models.retrieve("claude-sonnet-4-6")]


def raw_response(client: Anthropic) -> Any:
    raw = client.messages.with_raw_response.create(**ASK)
    return [raw.parse(), raw.http_response.content, raw.headers, raw.status_code, raw.http_version, raw.request_id]


def raw_response_of_a_stream(client: Anthropic) -> Any:
    raw = client.messages.with_raw_response.create(**ASK, stream=True)
    return [list(raw.parse()), raw.headers]


def streaming_response(client: Anthropic) -> Any:
    made = client.messages.with_streaming_response
    with made.create(**ASK) as one:
        whole = [one.read(), one.json(), one.headers]
    with made.create(**ASK, stream=True) as two:
        lines = list(two.iter_lines())
    with made.create(**ASK, stream=True) as three:
        pieces = b"".join(three.iter_bytes())
    with made.create(**ASK) as four:
        return [whole, lines, pieces, four.parse()]


def derived_clients(client: Anthropic) -> Any:
    other = client.with_options(max_retries=0, timeout=20.0)
    with Anthropic(http_client=http.Client(timeout=20)) as own:
        return [c.messages.create(**ASK) for c in (other, client.copy(max_retries=5), own)]


def beta_messages(client: Anthropic) -> Any:
    return client.beta.messages.create(**ASK, betas=["token-counting-2024-11-01"])


SYNC = [
    message,
    stream,
    stream_as_context,
    stream_helper,
    tools,
    count_tokens,
    models,
    raw_response,
    raw_response_of_a_stream,
    streaming_response,
    derived_clients,
    beta_messages,
]


@pytest.mark.parametrize("ask", SYNC, ids=lambda f: f.__name__)
def test_sync(three_ways: Any, ask: Callable[[Anthropic], Any]) -> None:
    def scenario() -> Any:
        with Anthropic() as client:
            return ask(client)

    three_ways(scenario)
    assert three_ways.calls
    for call in three_ways.calls:
        assert (call.fields["ending"], call.fields["hook_failures"]) == ("complete", [])
        assert call.fields["sdk"] == {"plugin": "anthropic", "version": f"anthropic {anthropic.__version__}"}


# -- async --------------------------------------------------------------------------------------------


async def a_message(client: AsyncAnthropic) -> Any:
    return await client.messages.create(**ASK)


async def a_stream(client: AsyncAnthropic) -> Any:
    return [event async for event in await client.messages.create(**ASK, stream=True)]


async def a_stream_helper(client: AsyncAnthropic) -> Any:
    async with client.messages.stream(**ASK) as one:
        texts = [text async for text in one.text_stream]
        whole = await one.get_final_message()
    async with client.messages.stream(**ASK) as two:
        return [texts, whole, [event.type async for event in two]]


async def a_tools(client: AsyncAnthropic) -> Any:
    first = await client.messages.create(**ASK, tools=TOOLS)
    return [first, await client.messages.create(**{**ASK, "messages": second_turn(first)}, tools=TOOLS)]


async def a_raw_response(client: AsyncAnthropic) -> Any:
    raw = await client.messages.with_raw_response.create(**ASK)
    parsed = raw.parse()
    return [await parsed if hasattr(parsed, "__await__") else parsed, raw.headers, raw.status_code]


async def a_streaming_response(client: AsyncAnthropic) -> Any:
    made = client.messages.with_streaming_response
    async with made.create(**ASK) as one:
        whole = [await one.read(), one.headers]
    async with made.create(**ASK, stream=True) as two:
        lines = [line async for line in two.iter_lines()]
    async with made.create(**ASK, stream=True) as three:
        return [whole, lines, b"".join([piece async for piece in three.iter_bytes()])]


async def a_others(client: AsyncAnthropic) -> Any:
    counted = await client.messages.count_tokens(model=ASK["model"], messages=ASK["messages"])
    derived = await client.with_options(max_retries=0).messages.create(**ASK)
    return [counted, derived, [model async for model in client.models.list()]]


ASYNC = [a_message, a_stream, a_stream_helper, a_tools, a_raw_response, a_streaming_response, a_others]


@pytest.mark.parametrize("ask", ASYNC, ids=lambda f: f.__name__)
def test_async(three_ways: Any, ask: Callable[[AsyncAnthropic], Any]) -> None:
    async def scenario() -> Any:
        async with AsyncAnthropic() as client:
            return await ask(client)

    three_ways(scenario)
    assert three_ways.calls
    for call in three_ways.calls:
        assert (call.fields["ending"], call.fields["hook_failures"]) == ("complete", [])


# -- faults -------------------------------------------------------------------------------------------


def said(error: anthropic.APIError) -> Any:
    """All that a program can see of an error. The vendor repeats a wrong key; the archive does not keep it."""
    text = str(error).replace(WRONG_KEY, "[REDACTED]")
    body = json.loads(json.dumps(error.body).replace(WRONG_KEY, "[REDACTED]"))
    extra: list[Any] = []
    if isinstance(error, anthropic.APIStatusError):
        response = error.response
        kept = response.content.replace(WRONG_KEY.encode(), b"[REDACTED]")
        response.headers["content-length"] = str(len(kept))  # a replay's is that of what is stored
        extra = [error.status_code, error.request_id, response.headers]
    return [type(error).__name__, text, body, *extra]


ERRORS: dict[str, tuple[int, Any]] = {
    "bad_request": (400, {**ASK, "messages": []}),
    "unauthorised": (401, {**ASK, "extra_headers": {"x-api-key": WRONG_KEY}}),
    "not_found": (404, None),
    "rate_limited": (429, ASK),
    "overloaded": (529, ASK),
}


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_error_is_the_same_error(three_ways: Any, name: str, kind: str) -> None:
    status, body = ERRORS[name]

    def ask(client: Any) -> Any:
        return client.models.retrieve("no-such-model") if body is None else client.messages.create(**body)

    def sync() -> Any:
        with Anthropic(max_retries=1) as client, pytest.raises(anthropic.APIStatusError) as caught:
            ask(client)
        return said(caught.value)

    async def asynchronous() -> Any:
        async with AsyncAnthropic(max_retries=1) as client:
            with pytest.raises(anthropic.APIStatusError) as caught:
                await ask(client)
        return said(caught.value)

    def arm() -> None:
        if body is ASK:
            three_ways.sim.inject(Fault(status=status, retry_after=0.01), 2)

    seen = three_ways(sync if kind == "sync" else asynchronous, before=arm)
    assert seen[3] == status
    (call,) = three_ways.calls
    assert (call.outcome, call.fields["answers"]) == ("error", False)
    assert len(call.fields["attempts"]) == (2 if body is ASK else 1)


@pytest.mark.parametrize(("status", "times"), [(429, 1), (500, 2)])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_a_success_after_failures_is_one_call(three_ways: Any, status: int, times: int, streamed: bool) -> None:
    def scenario() -> Any:
        with Anthropic(max_retries=2) as client:
            made: Any = client.messages.create(**ASK, stream=streamed)
            return list(made) if streamed else made

    three_ways(scenario, before=lambda: three_ways.sim.inject(Fault(status=status, retry_after=0.01), times))
    (call,) = three_ways.calls
    assert call.success
    assert [a["status"] for a in call.fields["attempts"]] == [status] * times + [200]


def cut_stream() -> Any:
    """What a program gets of a stream that breaks off: its events, then the error."""
    events = []
    with Anthropic(max_retries=0) as client:
        try:
            for event in client.messages.create(**ASK, stream=True):
                events.append(event)  # noqa: PERF402 what came before the error counts
        except Exception as error:  # httpx's own or the SDK's, by version
            return [events, type(error).__name__]
    return [events, None]


def test_a_cut_stream_is_no_answer_and_is_sent_again(three_ways: Any) -> None:
    three_ways.sim.inject(Fault(cut_after=5))
    events, error = three_ways.record(cut_stream)
    assert events and error is not None
    (call,) = three_ways.calls
    assert (call.outcome, call.fields["answers"]) == ("incomplete", False)
    with custody.session(project="P", experiment="E", root=three_ways.root, session=three_ways.session):
        again, error = cut_stream()
    assert error is None and again[-1].type == "message_stop"
    assert [c.outcome for c in three_ways.calls] == ["incomplete", "success"]


def test_a_cut_stream_does_not_end_quietly_on_replay(three_ways: Any) -> None:
    three_ways.sim.inject(Fault(cut_after=5))
    three_ways.record(cut_stream)
    _, error = three_ways.replay(cut_stream)
    assert error is not None


def test_a_dropped_connection_is_dropped_again(three_ways: Any) -> None:
    def scenario() -> Any:
        with Anthropic(max_retries=1) as client:
            return client.messages.create(**ASK)

    three_ways.sim.inject(Fault(drop=True), 2)
    with pytest.raises(anthropic.APIConnectionError):
        three_ways.record(scenario)
    (call,) = three_ways.calls
    assert (call.outcome, len(call.fields["attempts"])) == ("no_response", 2)
    with pytest.raises(anthropic.APIConnectionError):
        three_ways.replay(scenario)


def first_events(count: int) -> Callable[[], Any]:
    def scenario() -> Any:
        with Anthropic() as client, client.messages.create(**ASK, stream=True) as events:
            return [event for event, _ in zip(events, range(count), strict=False)]

    return scenario


def test_a_stream_left_early(three_ways: Any) -> None:
    three_ways.sim.chunk_delay = 0.02
    three_ways(first_events(3))
    (call,) = three_ways.calls
    assert (call.outcome, call.fields["answers"]) == ("closed_early", True)
    assert call.fields["usage"]["input"] > 0 and call.fields["usage"]["output"] is None


def test_reading_past_the_end_of_such_a_stream_is_an_error(three_ways: Any) -> None:
    three_ways.sim.chunk_delay = 0.02
    recorded, seen = three_ways.record(first_events(3)), []

    def past_the_end() -> None:
        with Anthropic() as client:
            seen.extend(client.messages.create(**ASK, stream=True))

    with pytest.raises(custody.ReplayExhausted, match="closed early"):
        three_ways.replay(past_the_end)
    assert [event.model_dump() for event in seen[:3]] == [event.model_dump() for event in recorded]


def test_a_client_made_before_custody(three_ways: Any) -> None:
    with Anthropic() as client:
        three_ways(lambda: [client.messages.create(**ASK), client.copy().messages.create(**ASK)])
    assert len(three_ways.calls) == 2
