"""What goes wrong between boto3 and Bedrock: throttling, timeouts, cuts, missing credentials."""

from __future__ import annotations

import contextlib
import json
import types
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError

import custody
from custody.testing.simulator import Fault

ASK: Any = {
    "modelId": "amazon.nova-micro-v1:0",
    "messages": [{"role": "user", "content": [{"text": "Say something about rivers."}]}],
}
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in KEYS:
        monkeypatch.setenv(name, "AKIDSIMULATED")
    sleeping(monkeypatch, lambda seconds: None)


def sleeping(monkeypatch: pytest.MonkeyPatch, sleep: Callable[[float], None]) -> None:
    """What botocore sleeps with between two attempts; no other thread's sleep."""
    monkeypatch.setattr("botocore.endpoint.time", types.SimpleNamespace(sleep=sleep))


@contextlib.contextmanager
def client(url: str, attempts: int = 1, **options: Any) -> Any:
    config = Config(retries={"total_max_attempts": attempts, "mode": "standard"}, **options)
    one = boto3.session.Session().client("bedrock-runtime", region_name="us-east-1", endpoint_url=url, config=config)
    try:
        yield one
    finally:
        one.close()


def converse(url: str, attempts: int = 1, **options: Any) -> Any:
    with client(url, attempts, **options) as one:
        return one.converse(**ASK)


def failure(url: str, attempts: int = 1, **options: Any) -> list[str]:
    with pytest.raises(Exception) as caught:
        converse(url, attempts, **options)
    return [type(caught.value).__name__, str(caught.value)]


def test_a_throttled_call_is_one_call_of_three_attempts(three_ways: Any) -> None:
    def ask() -> Any:
        return converse(three_ways.sim.url, 4)["output"]

    three_ways(ask, before=lambda: three_ways.sim.inject(Fault(status=429), times=2))
    (call,) = three_ways.calls
    assert [a["status"] for a in call.fields["attempts"]] == [429, 429, 200]
    assert call.success
    assert call.fields["sdk"]["plugin"] == "bedrock"


def test_the_retries_of_a_call_are_counted_as_without_custody(three_ways: Any) -> None:
    three_ways.sim.inject(Fault(status=503), times=1)
    recorded = three_ways.record(lambda: converse(three_ways.sim.url, 3))
    assert recorded["ResponseMetadata"]["RetryAttempts"] == 1


@pytest.mark.parametrize("mode", ["legacy", "standard"])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_error_reads_the_same_after_all_retries(three_ways: Any, status: int, mode: str) -> None:
    """The message has the count of retries in it; on replay botocore's handler counts them, and does not sleep."""
    config = {"retries": {"total_max_attempts": 3, "mode": mode}}

    def ask() -> Any:
        with (
            contextlib.closing(
                boto3.session.Session().client(
                    "bedrock-runtime", region_name="us-east-1", endpoint_url=three_ways.sim.url, config=Config(**config)
                )
            ) as one,
            pytest.raises(ClientError) as caught,
        ):
            one.converse(**ASK)
        return [str(caught.value), caught.value.response["Error"]]

    message, _ = three_ways(ask, before=lambda: three_ways.sim.inject(Fault(status=status), times=3))
    assert "reached max retries: 2" in message
    (call,) = three_ways.calls
    assert len(call.fields["attempts"]) == 3
    assert call.fields["outcome"] == "error"


def test_a_replayed_failure_does_not_sleep(three_ways: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    sleeping(monkeypatch, slept.append)
    three_ways.sim.inject(Fault(status=429), times=3)
    recorded = three_ways.record(lambda: failure(three_ways.sim.url, 3))
    assert len(slept) == 2
    assert three_ways.replay(lambda: failure(three_ways.sim.url, 3)) == recorded
    assert len(slept) == 2


@pytest.mark.parametrize("status", [403, 404, 408, 424])
def test_an_error_is_the_same_three_ways(three_ways: Any, status: int) -> None:
    three_ways(lambda: failure(three_ways.sim.url), before=lambda: three_ways.sim.inject(Fault(status=status)))


def test_a_read_timeout_is_botocores_own(three_ways: Any) -> None:
    """Not replayed: there is no answer to replay, and a resumed run asks again."""

    def ask() -> list[str]:
        three_ways.sim.inject(Fault(delay=2.0))
        return failure(three_ways.sim.url, read_timeout=0.2)

    bare = ask()
    assert bare[0] == ReadTimeoutError.__name__
    assert three_ways.record(ask) == bare
    (call,) = three_ways.calls
    assert [call.fields["outcome"], call.fields["error"]] == ["no_response", "ReadTimeoutError"]


def test_a_read_timeout_in_a_stream_is_urllib3s_own(three_ways: Any) -> None:
    three_ways.sim.chunk_delay = 20  # the head and the first event must come in time, on a busy machine too

    def ask() -> list[str]:
        with client(three_ways.sim.url, read_timeout=1.0) as one:
            answer = one.converse_stream(**ASK)["stream"]
            with contextlib.closing(answer), pytest.raises(Exception) as caught:
                list(answer)
        return [type(caught.value).__module__, type(caught.value).__name__]

    bare = ask()
    assert three_ways.record(ask) == bare
    (call,) = three_ways.calls
    assert [call.fields["ending"], call.fields["outcome"]] == ["broken", "incomplete"]


def test_a_timeout_then_an_answer_is_one_call(three_ways: Any) -> None:
    three_ways.sim.inject(Fault(delay=20.0))
    three_ways.record(lambda: converse(three_ways.sim.url, 2, read_timeout=1.0))
    (call,) = three_ways.calls
    assert [(a["status"], a["error"]) for a in call.fields["attempts"]] == [(None, "ReadTimeoutError"), (200, None)]


def test_a_dropped_connection_is_botocores_own(three_ways: Any) -> None:
    def ask() -> Any:
        three_ways.sim.inject(Fault(drop=True))
        return failure(three_ways.sim.url)[0]

    assert three_ways.record(ask) == ask() == "ConnectionClosedError"


def test_nobody_at_home(three_ways: Any) -> None:
    three_ways.sim.stop()

    def ask() -> Any:
        return failure(three_ways.sim.url)[0]

    assert three_ways.record(ask) == ask() == EndpointConnectionError.__name__


def test_a_body_that_is_cut_is_no_success(three_ways: Any) -> None:
    """botocore does not count the bytes; it fails to read the JSON, or gives half an InvokeModel body."""

    def ask() -> Any:
        three_ways.sim.inject(Fault(cut_after=30))
        with client(three_ways.sim.url) as one:
            body = json.dumps({"prompt": "Rivers?"})
            answer = one.invoke_model(modelId="meta.llama3-70b-instruct-v1:0", body=body)
            with pytest.raises(Exception) as caught:
                answer["body"].read()
        return type(caught.value).__name__

    assert three_ways.record(ask) == ask()
    (call,) = three_ways.calls
    assert [call.fields["ending"], call.success] == ["broken", False]


def test_a_stream_that_is_cut_is_asked_again(three_ways: Any) -> None:
    def ask() -> Any:
        with client(three_ways.sim.url) as one, contextlib.closing(one.converse_stream(**ASK)["stream"]) as answer:
            try:
                return len(list(answer))
            except Exception as error:
                return type(error).__name__

    three_ways.sim.inject(Fault(cut_after=3, path="converse-stream"))
    three_ways.record(ask)
    assert [call.success for call in three_ways.calls] == [False]
    asked = three_ways.sim.count()
    with custody.session(project="P", experiment="E", root=three_ways.root, session=three_ways.session):
        assert isinstance(ask(), int)
    assert three_ways.sim.count() == asked + 1


def test_the_first_event_is_not_held_back(three_ways: Any) -> None:
    """The vendor writes an event when the program has the one before: what is held back is never followed."""
    three_ways.sim.inject(Fault(hold_after=1))

    def ask() -> int:
        came = 0
        with client(three_ways.sim.url) as one:
            for _ in one.converse_stream(**ASK)["stream"]:
                came += 1
                three_ways.sim.release()
        return came

    assert three_ways.record(ask) > 8


def test_a_stream_left_unread_is_closed_early(three_ways: Any) -> None:
    def ask() -> None:
        with client(three_ways.sim.url) as one:
            one.converse_stream(**ASK)["stream"].close()

    three_ways.record(ask)
    (call,) = three_ways.calls
    assert call.fields["ending"] == "closed_early"
    three_ways.replay(ask)


def test_reading_past_an_early_close_says_so(three_ways: Any) -> None:
    def ask(most: int) -> int:
        with client(three_ways.sim.url) as one, contextlib.closing(one.converse_stream(**ASK)["stream"]) as answer:
            return sum(1 for _, event in zip(range(most), answer, strict=False))

    three_ways.sim.chunk_delay = 0.02
    three_ways.record(lambda: ask(2))
    with pytest.raises(custody.ReplayExhausted):
        three_ways.replay(lambda: ask(500))


def test_a_miss_without_credentials_is_botocores_own(three_ways: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name)

    def ask() -> list[str]:
        return failure(three_ways.sim.url, 3)

    bare = ask()
    assert bare[0] == NoCredentialsError.__name__
    assert three_ways.record(ask) == bare
    assert three_ways.calls == []
    assert three_ways.sim.count() == 0


def test_a_strict_miss_is_raised_past_botocore(three_ways: Any) -> None:
    three_ways.record(lambda: converse(three_ways.sim.url))
    with pytest.raises(custody.ReplayMiss):
        three_ways.replay(lambda: [converse(three_ways.sim.url), converse(three_ways.sim.url, 3)])
