"""The OpenAI SDK when the vendor fails, the program stops early, or the client is no ordinary one."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, AzureOpenAI, OpenAI

import custody
from custody.testing.simulator import Fault

ASK: Any = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Say something about rivers."}]}
WRONG_KEY = "invalid-key-of-somebody"
http: Any = importlib.import_module("httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx")


def said(error: openai.APIError) -> Any:
    """All that a program can see of an error. The vendor repeats a wrong key; the archive does not keep it."""
    extra: list[Any] = []
    if isinstance(error, openai.APIStatusError):
        response = error.response
        kept = response.content.replace(WRONG_KEY.encode(), b"[REDACTED]")
        response.headers["content-length"] = str(len(kept))  # a replay's is that of what is stored
        extra = [error.status_code, error.request_id, response.headers]
    text = str(error).replace(WRONG_KEY, "[REDACTED]")
    body = json.loads(json.dumps(error.body).replace(WRONG_KEY, "[REDACTED]"))
    return [type(error).__name__, text, body, error.code, *extra]


def failing(ask: Callable[[OpenAI], Any]) -> Callable[[], Any]:
    def scenario() -> Any:
        with OpenAI(max_retries=2) as client, pytest.raises(openai.APIError) as caught:
            ask(client)
        return said(caught.value)

    return scenario


def failing_async(ask: Callable[[AsyncOpenAI], Any]) -> Callable[[], Any]:
    async def scenario() -> Any:
        async with AsyncOpenAI(max_retries=2) as client:
            with pytest.raises(openai.APIError) as caught:
                await ask(client)
        return said(caught.value)

    return scenario


ERRORS: dict[str, tuple[int, Any]] = {
    "bad_request": (400, {**ASK, "messages": []}),
    "unauthorised": (401, {**ASK, "extra_headers": {"authorization": "Bearer " + WRONG_KEY}}),
    "not_found": (404, None),
}


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_error_is_the_same_error(three_ways: Any, name: str, kind: str) -> None:
    status, body = ERRORS[name]

    def ask(client: Any) -> Any:
        return client.models.retrieve("no-such-model") if body is None else client.chat.completions.create(**body)

    seen = three_ways(failing(ask) if kind == "sync" else failing_async(ask))
    assert seen[4] == status
    (call,) = three_ways.calls
    assert (call.outcome, call.fields["answers"], len(call.fields["attempts"])) == ("error", False, 1)


@pytest.mark.parametrize("status", [429, 500])
def test_retries_that_all_fail_replay_as_one_error(three_ways: Any, status: int) -> None:
    fault = Fault(status=status, retry_after=0.01)
    seen = three_ways(
        failing(lambda client: client.chat.completions.create(**ASK)), before=lambda: three_ways.sim.inject(fault, 3)
    )
    assert seen[4] == status
    (call,) = three_ways.calls
    assert [a["status"] for a in call.fields["attempts"]] == [status] * 3


@pytest.mark.parametrize(("status", "times"), [(429, 1), (500, 2)])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_a_success_after_failures_is_one_call(three_ways: Any, status: int, times: int, streamed: bool) -> None:
    def scenario() -> Any:
        with OpenAI(max_retries=2) as client:
            made: Any = client.chat.completions.create(**ASK, stream=streamed)
            return list(made) if streamed else made

    fault = Fault(status=status, retry_after=0.01)
    three_ways(scenario, before=lambda: three_ways.sim.inject(fault, times))
    (call,) = three_ways.calls
    assert call.success
    assert [a["status"] for a in call.fields["attempts"]] == [status] * times + [200]


def test_a_cut_answer_is_asked_for_again(three_ways: Any) -> None:
    def scenario() -> Any:
        with OpenAI(max_retries=2) as client:
            return client.chat.completions.create(**ASK)

    three_ways(scenario, before=lambda: three_ways.sim.inject(Fault(cut_after=40)))
    (call,) = three_ways.calls
    assert [a["ending"] for a in call.fields["attempts"]] == ["broken", "complete"]


def cut_stream() -> Any:
    """What a program gets of a stream that breaks off: its chunks, then the error."""
    chunks = []
    with OpenAI(max_retries=0) as client:
        try:
            for chunk in client.chat.completions.create(**ASK, stream=True):
                chunks.append(chunk)  # noqa: PERF402 what came before the error counts
        except Exception as error:  # httpx's own or the SDK's, by version
            return [chunks, type(error).__name__]
    return [chunks, None]


def test_a_cut_stream_is_no_answer_and_is_sent_again(three_ways: Any) -> None:
    three_ways.sim.inject(Fault(cut_after=5))
    chunks, error = three_ways.record(cut_stream)
    assert len(chunks) == 5 and error is not None
    (call,) = three_ways.calls
    assert (call.outcome, call.fields["answers"]) == ("incomplete", False)
    assert call.response is not None and call.response.raw.count(b"data:") == 5
    with custody.session(project="P", experiment="E", root=three_ways.root, session=three_ways.session):
        again, error = cut_stream()
    assert error is None and len(again) > 20
    assert [c.outcome for c in three_ways.calls] == ["incomplete", "success"]


def test_a_cut_stream_does_not_end_quietly_on_replay(three_ways: Any) -> None:
    """Strictly replayed, a stream that broke off may not look like one that ended."""
    three_ways.sim.inject(Fault(cut_after=5))
    recorded = three_ways.record(cut_stream)
    asked, replayed = three_ways.sim.count(), []
    with (
        custody.session(project="P", experiment="E", root=three_ways.root, session=three_ways.session, strict=True),
        OpenAI(max_retries=0) as client,
        pytest.raises((custody.ReplayError, openai.APIError, http.HTTPError)),
    ):
        replayed.extend(client.chat.completions.create(**ASK, stream=True))
    assert three_ways.sim.count() == asked
    assert [c.model_dump() for c in replayed] in ([], [c.model_dump() for c in recorded[0]])


def test_an_answer_cut_every_time_is_not_replayed_as_a_whole_one(three_ways: Any) -> None:
    def scenario() -> Any:
        with OpenAI(max_retries=1) as client:
            return client.chat.completions.create(**ASK)

    three_ways.sim.inject(Fault(cut_after=40), 2)
    with pytest.raises(openai.APIConnectionError):
        three_ways.record(scenario)
    (call,) = three_ways.calls
    assert (call.outcome, call.fields["answers"]) == ("incomplete", False)
    with pytest.raises((custody.ReplayError, openai.APIConnectionError)):
        three_ways.replay(scenario)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_dropped_connection_is_dropped_again(three_ways: Any, kind: str) -> None:
    """The same exception while recording, and in a strict replay, where nothing may be sent."""

    def sync() -> Any:
        with OpenAI(max_retries=1) as client:
            return client.chat.completions.create(**ASK)

    async def asynchronous() -> Any:
        async with AsyncOpenAI(max_retries=1) as client:
            return await client.chat.completions.create(**ASK)

    scenario = sync if kind == "sync" else asynchronous
    three_ways.sim.inject(Fault(drop=True), 2)
    with pytest.raises(openai.APIConnectionError):
        three_ways.record(scenario)
    (call,) = three_ways.calls
    assert (call.outcome, [a["ending"] for a in call.fields["attempts"]]) == ("no_response", ["no_response"] * 2)
    with pytest.raises(openai.APIConnectionError):
        three_ways.replay(scenario)


def first_chunks(count: int) -> Callable[[], Any]:
    def scenario() -> Any:
        with OpenAI() as client, client.chat.completions.create(**ASK, stream=True) as stream:
            return [chunk for chunk, _ in zip(stream, range(count), strict=False)]

    return scenario


def test_a_stream_left_early_replays_as_far_as_it_was_read(three_ways: Any) -> None:
    three_ways.sim.chunk_delay = 0.02
    three_ways(first_chunks(3))
    (call,) = three_ways.calls
    assert (call.outcome, call.fields["answers"]) == ("closed_early", True)


def test_reading_past_the_end_of_such_a_stream_is_an_error(three_ways: Any) -> None:
    three_ways.sim.chunk_delay = 0.02
    recorded = three_ways.record(first_chunks(3))
    seen = []

    def past_the_end() -> None:
        with OpenAI() as client:
            seen.extend(client.chat.completions.create(**ASK, stream=True))

    with pytest.raises(custody.ReplayExhausted, match="closed early"):
        three_ways.replay(past_the_end)
    assert [chunk.model_dump() for chunk in seen[:3]] == [chunk.model_dump() for chunk in recorded]


def test_a_partial_read_of_a_streaming_response(three_ways: Any) -> None:
    def scenario() -> Any:
        made = OpenAI().chat.completions.with_streaming_response
        with made.create(**ASK, stream=True) as response:
            return next(response.iter_lines())

    three_ways.sim.chunk_delay = 0.02
    three_ways(scenario)
    assert [c.outcome for c in three_ways.calls] == ["closed_early"]


# -- clients ------------------------------------------------------------------------------------------


def test_a_client_made_before_custody(three_ways: Any) -> None:
    with OpenAI() as client:
        three_ways(lambda: [client.chat.completions.create(**ASK), client.copy().chat.completions.create(**ASK)])
    assert len(three_ways.calls) == 2


def test_an_http_client_of_the_users_own(three_ways: Any) -> None:
    def scenario() -> Any:
        with OpenAI(http_client=http.Client(timeout=20)) as client:
            return [client.chat.completions.create(**ASK), list(client.chat.completions.create(**ASK, stream=True))]

    three_ways(scenario)
    assert len(three_ways.calls) == 2


def test_a_compressed_answer_is_kept_compressed(three_ways: Any) -> None:
    def scenario() -> Any:
        with OpenAI() as client:
            raw = client.chat.completions.with_raw_response.create(**ASK)
            with client.chat.completions.with_streaming_response.create(**ASK) as streamed:
                return [raw.parse(), raw.headers, b"".join(streamed.iter_bytes()), streamed.headers]

    three_ways.sim.gzip = True
    three_ways(scenario)
    for call in three_ways.calls:
        assert call.response is not None and call.response.raw[:2] == b"\x1f\x8b"
        assert call.response.json["object"] == "chat.completion"
        assert call.response_metadata["tokens_used"] == call.response.json["usage"]["total_tokens"]


def test_the_modules_own_client(three_ways: Any) -> None:
    openai._reset_client()
    try:
        three_ways(lambda: openai.chat.completions.create(**ASK))
    finally:
        openai._reset_client()
    assert len(three_ways.calls) == 1


class Deployments(http.HTTPTransport):  # type: ignore[misc, name-defined]
    """Leads Azure's paths to those that the simulator serves; below custody's seam."""

    def handle_request(self, request: Any) -> Any:
        url = str(request.url).replace("/openai/deployments/mine/", "/v1/")
        moved = http.Request(request.method, url, headers=request.headers, content=request.read())
        moved.headers["authorization"] = "Bearer " + moved.headers["api-key"]
        return super().handle_request(moved)


def test_azure(three_ways: Any) -> None:
    def scenario() -> Any:
        with AzureOpenAI(
            azure_endpoint=three_ways.sim.url,
            azure_deployment="mine",
            api_version="2024-10-21",
            api_key="azure-secret-key",
            http_client=http.Client(transport=Deployments()),
        ) as client:
            made: Any = client.chat.completions.create(**ASK, stream=True)
            return [client.chat.completions.create(**ASK), list(made)]

    three_ways(scenario)
    for call in three_ways.calls:
        assert call.model_forensics["api_version"] == "2024-10-21"
        assert call.fields["evidence"]["api_version"] == "url:query api-version"
    stored = b"".join(path.read_bytes() for path in three_ways.path.rglob("*") if path.is_file())
    assert b"azure-secret-key" not in stored
