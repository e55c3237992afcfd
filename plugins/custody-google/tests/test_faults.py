"""The SDK when the vendor fails, the network breaks, or the program stops waiting."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

import custody
from custody.testing.simulator import Fault

# The SDK makes a subclass of aiohttp's session, which aiohttp does not like.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")

MODEL = "gemini-2.5-flash"
ASK: Any = {"model": MODEL, "contents": "Say something about rivers."}
RETRYING = types.HttpRetryOptions(attempts=3, initial_delay=0.01, max_delay=0.02, jitter=0)
ONCE = types.HttpRetryOptions(attempts=1)


def whole(client: genai.Client) -> Any:
    return client.models.generate_content(**ASK)


def streamed(client: genai.Client) -> Any:
    return list(client.models.generate_content_stream(**ASK))


async def a_whole(client: Any) -> Any:
    return await client.models.generate_content(**ASK)


async def a_streamed(client: Any) -> Any:
    return [chunk async for chunk in await client.models.generate_content_stream(**ASK)]


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
@pytest.mark.parametrize("ask", [whole, streamed], ids=["whole", "stream"])
def test_an_error_is_the_same_error(google: Any, sync_library: str, status: int, ask: Any) -> None:
    seen = google.sync(ask, before=lambda: google.sim.inject(Fault(status=status)))
    assert seen[0] == ("ServerError" if status >= 500 else "ClientError")
    assert seen[1] == status
    (call,) = google.calls
    assert (call.outcome, call.fields["answers"], len(call.fields["attempts"])) == ("error", False, 1)


@pytest.mark.parametrize("status", [400, 429, 500])
@pytest.mark.parametrize("ask", [a_whole, a_streamed], ids=["whole", "stream"])
def test_an_error_is_the_same_error_async(google: Any, async_library: str, status: int, ask: Any) -> None:
    seen = google.asynchronous(ask, before=lambda: google.sim.inject(Fault(status=status)))
    assert seen[:2] == ["ServerError" if status >= 500 else "ClientError", status]
    (call,) = google.calls
    assert (call.outcome, call.fields["status"]) == ("error", status)


def test_the_vendors_own_refusals(google: Any) -> None:
    """An unknown model, a key that is not accepted, a prompt with a wrong role."""

    def ask(client: genai.Client) -> Any:
        seen = []
        wrong = types.Content(role="narrator", parts=[types.Part(text="Hello")])
        for model, contents in (("gemini-does-not-exist", "Hello"), (MODEL, [wrong])):
            try:
                client.models.generate_content(model=model, contents=contents)
            except errors.APIError as error:
                seen.append(error)
        return seen

    seen = google.sync(ask)
    assert [error[1:3] for error in seen] == [[404, "NOT_FOUND"], [400, "INVALID_ARGUMENT"]]


@pytest.mark.parametrize(("status", "times"), [(429, 1), (503, 2)])
@pytest.mark.parametrize("ask", [whole, streamed], ids=["whole", "stream"])
def test_a_success_after_failures_is_one_call(google: Any, ask: Any, status: int, times: int) -> None:
    google.sync(ask, retry_options=RETRYING, before=lambda: google.sim.inject(Fault(status=status), times))
    (call,) = google.calls
    assert call.success
    assert [a["status"] for a in call.fields["attempts"]] == [status] * times + [200]


@pytest.mark.parametrize("ask", [a_whole, a_streamed], ids=["whole", "stream"])
def test_a_success_after_failures_is_one_call_async(google: Any, async_library: str, ask: Any) -> None:
    google.asynchronous(ask, retry_options=RETRYING, before=lambda: google.sim.inject(Fault(status=503), 2))
    (call,) = google.calls
    assert [a["status"] for a in call.fields["attempts"]] == [503, 503, 200]


def test_retries_that_all_fail_replay_as_one_error(google: Any) -> None:
    seen = google.sync(whole, retry_options=RETRYING, before=lambda: google.sim.inject(Fault(status=500), 3))
    assert seen[1] == 500
    (call,) = google.calls
    assert [a["status"] for a in call.fields["attempts"]] == [500] * 3


@pytest.mark.parametrize("ask", [whole, a_whole], ids=["sync", "async"])
def test_an_error_inside_a_stream(google: Any, ask: Any) -> None:
    """A 200 whose stream says an error: the program gets it after the chunks before it, and it is no answer."""
    asked: Any = {"model": MODEL, "contents": "simulate:error"}

    def sync(client: genai.Client) -> Any:
        seen: list[Any] = []
        try:
            seen += [chunk.text for chunk in client.models.generate_content_stream(**asked)]
        except errors.APIError as error:
            seen.append(error)
        return seen

    async def asynchronous(client: Any) -> Any:
        seen: list[Any] = []
        try:
            async for chunk in await client.models.generate_content_stream(**asked):
                seen.append(chunk.text)  # noqa: PERF401 what came before the error counts
        except errors.APIError as error:
            seen.append(error)
        return seen

    seen = google.sync(sync) if ask is whole else google.asynchronous(asynchronous)
    assert seen[-1][:2] == ["ServerError", 503]
    (call,) = google.calls
    assert (call.outcome, call.fields["answers"]) == ("error", False)


def _bare_and_recorded(google: Any, scenario: Any) -> Any:
    """For what leaves no answer to replay."""
    bare = asyncio.run(scenario()) if asyncio.iscoroutinefunction(scenario) else scenario()
    recorded = google.three_ways.record(scenario)
    assert recorded == bare
    return recorded


@pytest.mark.parametrize("ask", [whole, streamed], ids=["whole", "stream"])
def test_a_time_limit_is_the_librarys_error(google: Any, sync_library: str, ask: Any) -> None:
    google.sim.latency = 0.6

    def scenario() -> Any:
        with google.client(timeout=150) as client, pytest.raises(Exception) as raised:
            ask(client)
        return [type(raised.value).__module__, type(raised.value).__name__, str(raised.value)]

    module, name, _ = _bare_and_recorded(google, scenario)
    assert (module, name) == (sync_library, "ReadTimeout")
    (call,) = google.calls
    assert (call.outcome, call.fields["error"]) == ("no_response", "ReadTimeout")


@pytest.mark.parametrize("ask", [a_whole, a_streamed], ids=["whole", "stream"])
def test_a_time_limit_is_the_librarys_error_async(google: Any, async_library: str, ask: Any) -> None:
    google.sim.latency = 0.6

    async def scenario() -> Any:
        async with google.client(timeout=150, retry_options=ONCE).aio as client:
            with pytest.raises(Exception) as raised:
                await ask(client)
        return [type(raised.value).__name__, str(raised.value)]

    name, _ = _bare_and_recorded(google, scenario)
    assert name == ("TimeoutError" if async_library == "aiohttp" else "ReadTimeout")
    assert google.calls[0].outcome == "no_response"


def test_nobody_there(google: Any, async_library: str) -> None:
    google.sim.stop()

    async def scenario() -> Any:
        async with google.client(retry_options=ONCE).aio as client:
            with pytest.raises(Exception) as raised:
                await a_whole(client)
        return type(raised.value).__name__

    name = _bare_and_recorded(google, scenario)
    assert name == ("ClientConnectorError" if async_library == "aiohttp" else "ConnectError")
    assert [call.outcome for call in google.calls] == ["no_response"]


def cut_stream(google: Any) -> Any:
    """What a program gets of a stream that breaks off: its chunks, then the error."""
    chunks = []
    with google.client() as client:
        try:
            for chunk in client.models.generate_content_stream(**ASK):
                chunks.append(chunk.text)  # noqa: PERF401 what came before the error counts
        except Exception as error:
            return [chunks, type(error).__name__]
    return [chunks, None]


async def cut_stream_async(google: Any) -> Any:
    chunks = []
    async with google.client(retry_options=ONCE).aio as client:
        try:
            async for chunk in await client.models.generate_content_stream(**ASK):
                chunks.append(chunk.text)  # noqa: PERF401 what came before the error counts
        except Exception as error:
            return [chunks, type(error).__name__]
    return [chunks, None]


def test_a_cut_stream_is_no_answer_and_is_sent_again(google: Any, sync_library: str) -> None:
    google.sim.inject(Fault(cut_after=3))
    chunks, error = google.three_ways.record(lambda: cut_stream(google))
    assert len(chunks) == 3 and error == "RemoteProtocolError"
    (call,) = google.calls
    assert (call.outcome, call.fields["answers"]) == ("incomplete", False)
    with custody.session("P", "E", root=google.three_ways.root, session=google.three_ways.session):
        again, error = cut_stream(google)
    assert error is None and len(again) > 4
    assert [call.outcome for call in google.calls] == ["incomplete", "success"]


def test_a_cut_stream_is_no_answer_and_is_sent_again_async(google: Any, async_library: str) -> None:
    google.sim.inject(Fault(cut_after=3))
    chunks, error = google.three_ways.record(lambda: asyncio.run(cut_stream_async(google)))
    assert chunks and error == ("ClientPayloadError" if async_library == "aiohttp" else "RemoteProtocolError")
    (call,) = google.calls
    assert (call.outcome, call.fields["answers"]) == ("incomplete", False)
    with custody.session("P", "E", root=google.three_ways.root, session=google.three_ways.session):
        again, error = asyncio.run(cut_stream_async(google))
    assert error is None and len(again) > 4


def test_a_stream_that_ends_before_its_finish_reason_is_no_answer(google: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection ends in peace and the protocol does not: nothing of HTTP shows that something is missing."""
    from custody.testing.simulator import gemini

    answered = gemini.answer

    def short(*given: Any) -> Any:
        reply = answered(*given)
        return type(reply)(frames=reply.frames[:-1], headers=reply.headers) if reply.frames else reply

    monkeypatch.setattr(gemini, "answer", short)
    chunks = google.three_ways.record(lambda: cut_stream(google))
    assert chunks[1] is None
    (call,) = google.calls
    assert (call.outcome, call.fields["ending"], call.fields["answers"]) == ("incomplete", "broken", False)


@pytest.mark.parametrize("drain", [False, True], ids=["left", "drained"])
def test_a_program_that_stops_at_the_finish_reason(google: Any, async_library: str, drain: bool) -> None:
    """Whoever leaves at the last chunk has closed early or seen all, and gets the same again."""

    async def ask(client: Any) -> Any:
        seen = []
        chunks = await client.models.generate_content_stream(**ASK)
        async for chunk in chunks:
            seen.append(chunk)
            if chunk.candidates[0].finish_reason and not drain:
                await chunks.aclose()
                break
        return seen

    google.asynchronous(ask)
    (call,) = google.calls
    assert call.fields["ending"] in (("complete",) if drain else ("complete", "closed_early"))
    assert call.fields["response_metadata"]["finish_reason"] == "STOP"
    assert call.fields["usage"]["output"] > 0
