"""Anthropic's clients for Amazon Bedrock and Vertex AI: bare, recorded, and replayed with no credentials at all."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic import AnthropicBedrock, AnthropicVertex, AsyncAnthropicBedrock, AsyncAnthropicVertex

import custody
from custody.testing.simulator import Fault, Seen

pytest.importorskip("boto3", reason="the extra anthropic[bedrock] is not installed")
credentials = pytest.importorskip("google.auth.credentials", reason="the extra anthropic[vertex] is not installed")

ASK: Any = {
    "model": "claude-sonnet-4-6",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Say something about rivers."}],
}
TOOLS: Any = [
    {
        "name": "weather",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]
KEY, SECRET, TOKEN = "AKIDCANARY0000000001", "canary-secret-access-key-000000000002", "canary-session-token-00000003"
GOOGLE = "canary-google-token-0000000000000004"


class Google(credentials.Credentials):  # type: ignore[misc, name-defined]
    """Credentials that have to be fetched; ``fetched`` counts it."""

    fetched = 0
    works = True

    def refresh(self, request: Any) -> None:
        type(self).fetched += 1
        if not type(self).works:
            raise RuntimeError("there are no credentials of Google's")
        self.token = GOOGLE


@pytest.fixture(autouse=True)
def google() -> type[Google]:
    Google.fetched, Google.works = 0, True
    return Google


KEYS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": TOKEN}


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch, sdk_env: Any) -> pytest.MonkeyPatch:
    for name in ("HOME", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    # boto3 sessions are kept for the life of the process, with the credentials that they found.
    with contextlib.suppress(ImportError):
        from anthropic.lib.aws import _auth

        _auth._get_session.cache_clear()
    with contextlib.suppress(ImportError):
        from anthropic.lib.bedrock import _auth as older

        older._get_session.cache_clear()
    return monkeypatch


def gone(aws: pytest.MonkeyPatch) -> None:
    """Take all credentials away."""
    Google.works = False
    for name in KEYS:
        aws.delenv(name)
    with contextlib.suppress(ImportError):
        from anthropic.lib.aws import _auth

        _auth._get_session.cache_clear()


def bedrock(kind: Any, url: str, **options: Any) -> Any:
    return kind(aws_region="us-east-1", base_url=url, max_retries=2, **options)


def vertex(kind: Any, url: str, **options: Any) -> Any:
    return kind(
        region="us-east5", project_id="my-project", base_url=url + "/v1", credentials=Google(), max_retries=2, **options
    )


SYNC = {"bedrock": (bedrock, AnthropicBedrock), "vertex": (vertex, AnthropicVertex)}
ASYNC = {"bedrock": (bedrock, AsyncAnthropicBedrock), "vertex": (vertex, AsyncAnthropicVertex)}


# -- sync ---------------------------------------------------------------------------------------------


def message(client: Any) -> Any:
    return [client.messages.create(**ASK, system="Be brief."), client.messages.create(**{**ASK, "max_tokens": 3})]


def beta(client: Any) -> Any:
    return client.beta.messages.create(**ASK, betas=["token-efficient-tools-2025-02-19"])


def stream(client: Any) -> Any:
    with client.messages.create(**ASK, stream=True) as events:
        return list(events)


def stream_helper(client: Any) -> Any:
    with client.messages.stream(**ASK) as one:
        texts = list(one.text_stream)
        return [texts, one.get_final_message()]


def stream_closed_early(client: Any) -> Any:
    with client.messages.create(**ASK, stream=True) as events:
        return next(iter(events))


def tools(client: Any) -> Any:
    first = client.messages.create(**ASK, tools=TOOLS)
    (used,) = [block for block in first.content if block.type == "tool_use"]
    said = {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in first.content]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": used.id, "content": "21"}]}
    second = client.messages.create(**{**ASK, "messages": [*ASK["messages"], said, result]}, tools=TOOLS)
    with client.messages.create(**ASK, tools=TOOLS, stream=True) as events:
        return [first, second, list(events)]


def raw(client: Any) -> Any:
    answer = client.messages.with_raw_response.create(**ASK)
    with client.messages.with_streaming_response.create(**ASK) as open_answer:
        return [answer.parse(), answer.status_code, answer.headers, open_answer.parse()]


def options(client: Any) -> Any:
    return client.with_options(max_retries=0, timeout=20).messages.create(**ASK, extra_headers={"x-study": "rivers"})


def in_threads(client: Any) -> Any:
    def ask(number: int) -> Any:
        return client.messages.create(**{**ASK, "messages": [{"role": "user", "content": f"Number {number}"}]})

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(ask, range(6)))


def refused(client: Any) -> Any:
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(**{**ASK, "model": "does-not-exist", "messages": [{"role": "user", "content": ""}]})
    return [type(caught.value).__name__, str(caught.value), caught.value.body]


# -- async --------------------------------------------------------------------------------------------


async def async_message(client: Any) -> Any:
    return await client.messages.create(**ASK, system="Be brief.")


async def async_stream(client: Any) -> Any:
    async with await client.messages.create(**ASK, stream=True) as events:
        return [event async for event in events]


async def async_stream_helper(client: Any) -> Any:
    async with client.messages.stream(**ASK) as one:
        return [[text async for text in one.text_stream], await one.get_final_message()]


async def async_stream_closed_early(client: Any) -> Any:
    async with await client.messages.create(**ASK, stream=True) as events:
        return await anext(aiter(events))


async def async_gathered(client: Any) -> Any:
    def ask(number: int) -> Any:
        return client.messages.create(**{**ASK, "messages": [{"role": "user", "content": f"Number {number}"}]})

    return await asyncio.gather(*(ask(number) for number in range(6)))


async def async_raw(client: Any) -> Any:
    answer = await client.messages.with_raw_response.create(**ASK)
    parsed = answer.parse()
    return [await parsed if hasattr(parsed, "__await__") else parsed, answer.status_code, answer.headers]


SYNC_SCENARIOS = [message, beta, stream, stream_helper, stream_closed_early, tools, raw, options, in_threads]
ASYNC_SCENARIOS = [
    async_message,
    async_stream,
    async_stream_helper,
    async_stream_closed_early,
    async_gathered,
    async_raw,
]


@pytest.fixture
def ways(three_ways: Any, aws: pytest.MonkeyPatch) -> Any:
    """three_ways; when it replays there are no credentials."""
    replay = three_ways.replay

    def without(scenario: Callable[[], Any]) -> Any:
        gone(aws)
        fetched = Google.fetched
        result = replay(scenario)
        assert Google.fetched == fetched
        return result

    three_ways.replay = without
    return three_ways


@pytest.mark.parametrize("platform", SYNC)
@pytest.mark.parametrize("scenario", SYNC_SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_scenario_is_the_same_three_ways(scenario: Callable[[Any], Any], platform: str, ways: Any) -> None:
    def run() -> Any:
        make, kind = SYNC[platform]
        with make(kind, ways.sim.url) as client:
            return scenario(client)

    ways(run)
    assert {call.fields["operation"] for call in ways.calls} == {"chat"}


@pytest.mark.parametrize("platform", ASYNC)
@pytest.mark.parametrize("scenario", ASYNC_SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_an_async_scenario_is_the_same_three_ways(scenario: Callable[[Any], Any], platform: str, ways: Any) -> None:
    async def run() -> Any:
        make, kind = ASYNC[platform]
        async with make(kind, ways.sim.url) as client:
            return await scenario(client)

    ways(run)
    assert {call.fields["operation"] for call in ways.calls} == {"chat"}


@pytest.mark.parametrize("platform", SYNC)
@pytest.mark.parametrize("status", [400, 403, 429, 500, 503])
def test_an_error_is_the_same_three_ways(platform: str, status: int, ways: Any) -> None:
    def run() -> Any:
        make, kind = SYNC[platform]
        with make(kind, ways.sim.url).with_options(max_retries=0) as client:
            with pytest.raises(anthropic.APIStatusError) as caught:
                client.messages.create(**ASK)
            return [type(caught.value).__name__, str(caught.value), caught.value.body]

    ways(run, before=lambda: ways.sim.inject(Fault(status=status)))


@pytest.mark.parametrize("platform", SYNC)
def test_a_throttled_call_is_one_call_of_two_attempts(platform: str, ways: Any) -> None:
    def run() -> Any:
        make, kind = SYNC[platform]
        with make(kind, ways.sim.url) as client:
            return client.messages.create(**ASK)

    ways(run, before=lambda: ways.sim.inject(Fault(status=429, retry_after=0.01)))
    (call,) = ways.calls
    assert [a["status"] for a in call.fields["attempts"]] == [429, 200]


def test_an_error_inside_of_a_stream_of_bedrocks(ways: Any) -> None:
    def run() -> Any:
        with bedrock(AnthropicBedrock, ways.sim.url) as client:
            events, seen = client.messages.create(**{**ASK, "model": "anthropic.breaks-v1:0"}, stream=True), []
            with events, pytest.raises(Exception) as caught:
                seen.extend(event.type for event in events)
            return [seen, type(caught.value).__name__, str(caught.value)]

    ways(run)
    (call,) = ways.calls
    assert call.fields["outcome"] == "error"


def test_tokens_are_counted_on_vertex(ways: Any) -> None:
    def run() -> Any:
        with vertex(AnthropicVertex, ways.sim.url) as client:
            return client.messages.count_tokens(model=ASK["model"], messages=ASK["messages"])

    ways(run)
    assert [call.fields["operation"] for call in ways.calls] == ["count_tokens"]


# -- credentials --------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [TOKEN, None], ids=["temporary", "permanent"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_request_is_signed_as_without_custody(
    three_ways: Any, aws: pytest.MonkeyPatch, token: str | None, asynchronous: bool
) -> None:
    if token is None:
        aws.delenv("AWS_SESSION_TOKEN")

    def run() -> Any:
        with bedrock(AnthropicBedrock, three_ways.sim.url) as client:
            return client.messages.create(**ASK)

    async def run_async() -> Any:
        async with bedrock(AsyncAnthropicBedrock, three_ways.sim.url) as client:
            return await client.messages.create(**ASK)

    ask: Any = run_async if asynchronous else run
    asyncio.run(run_async()) if asynchronous else run()
    three_ways.record(ask)
    bare, recorded = three_ways.sim.requests
    assert recorded.headers.get("x-amz-security-token") == token
    assert bare.headers.keys() == recorded.headers.keys()
    assert _signed(bare) == _signed(recorded)
    differing = {name for name, value in bare.headers.items() if recorded.headers[name] != value}
    assert differing <= {"authorization", "x-amz-date"}


def _signed(seen: Seen) -> str:
    return seen.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]


def test_nothing_secret_is_on_disk(three_ways: Any) -> None:
    def run() -> None:
        with bedrock(AnthropicBedrock, three_ways.sim.url) as one, vertex(AnthropicVertex, three_ways.sim.url) as two:
            for client in (one, two):
                client.messages.create(**ASK)

    three_ways.record(run)
    first, second = three_ways.sim.requests
    assert second.headers["authorization"] == f"Bearer {GOOGLE}"
    assert first.headers["x-amz-security-token"] == TOKEN
    secrets = [KEY, SECRET, TOKEN, GOOGLE, first.headers["authorization"].rpartition("Signature=")[2]]
    for secret in secrets:
        assert [file for file in _files(three_ways.root) if secret.encode() in file.read_bytes()] == []


def _files(root: Path) -> list[Path]:
    found = [path for path in root.rglob("*") if path.is_file()]
    assert found
    return found


def test_a_miss_without_aws_credentials_is_the_sdks_own_error(three_ways: Any, aws: pytest.MonkeyPatch) -> None:
    gone(aws)

    def run() -> Any:
        with bedrock(AnthropicBedrock, three_ways.sim.url) as client, pytest.raises(Exception) as caught:
            client.messages.create(**ASK)
        return [type(caught.value).__name__, str(caught.value)]

    assert three_ways.record(run) == run()
    assert three_ways.sim.count() == 0
    assert three_ways.calls == []


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_miss_without_google_credentials_is_the_sdks_own_error(three_ways: Any, asynchronous: bool) -> None:
    Google.works = False

    def run() -> Any:
        with vertex(AnthropicVertex, three_ways.sim.url) as client, pytest.raises(RuntimeError) as caught:
            client.messages.create(**ASK)
        return [type(caught.value).__name__, str(caught.value)]

    async def run_async() -> Any:
        async with vertex(AsyncAnthropicVertex, three_ways.sim.url) as client:
            with pytest.raises(RuntimeError) as caught:
                await client.messages.create(**ASK)
        return [type(caught.value).__name__, str(caught.value)]

    bare = asyncio.run(run_async()) if asynchronous else run()
    assert three_ways.record(run_async if asynchronous else run) == bare
    assert three_ways.sim.count() == 0


def test_a_token_of_googles_is_fetched_once(three_ways: Any) -> None:
    def run() -> Any:
        with vertex(AnthropicVertex, three_ways.sim.url) as client:
            return [client.messages.create(**ASK).id, client.messages.create(**{**ASK, "max_tokens": 50}).id]

    three_ways.record(run)
    assert Google.fetched == 1


# -- forensics ----------------------------------------------------------------------------------------


def test_bedrock_is_read(ways: Any) -> None:
    model = "us.anthropic.claude-3-5-haiku-20241022-v1:0"

    def run() -> Any:
        with bedrock(AnthropicBedrock, ways.sim.url) as client:
            client.messages.create(**{**ASK, "model": model})
            with client.messages.create(**{**ASK, "model": model}, stream=True) as events:
                list(events)

    ways.record(run)
    for call in ways.calls:
        assert call.success
        forensics, metadata = call.fields["model_forensics"], call.fields["response_metadata"]
        assert forensics["requested_model"] == model
        assert forensics["actual_model"] == "claude-3-5-haiku-20241022"
        assert forensics["model_build_date"] == "2024-10-22"
        assert forensics["api_version"] == json.loads(call.request_body)["anthropic_version"]
        assert forensics["deployment_region"] == "us"
        assert metadata["vendor_processing_ms"] == 321
        assert len(metadata["provider_request_id"]) == 36
        assert call.fields["usage"]["output"] > 0
        assert call.fields["evidence"]["requested_model"] == "url:model"


def test_vertex_is_read(ways: Any) -> None:
    def run() -> Any:
        with vertex(AnthropicVertex, ways.sim.url) as client:
            client.messages.create(**{**ASK, "model": "claude-sonnet-4-5@20250929"})

    ways.record(run)
    (call,) = ways.calls
    forensics, metadata = call.fields["model_forensics"], call.fields["response_metadata"]
    assert forensics["requested_model"] == "claude-sonnet-4-5@20250929"
    assert forensics["api_version"] == json.loads(call.request_body)["anthropic_version"]
    assert metadata["project"] == "my-project"
    assert metadata["provider_request_id"].startswith("req_vrtx_")


def test_a_client_in_a_session_that_is_not_open_is_untouched(three_ways: Any) -> None:
    with bedrock(AnthropicBedrock, three_ways.sim.url) as client:
        three_ways.record(lambda: None)
        assert custody.open(three_ways.path).calls() == []
        assert client.messages.create(**ASK).content


# -- the newer platforms ------------------------------------------------------------------------------


def _aws(url: str) -> Any:
    kind = getattr(anthropic, "AnthropicAWS", None) or pytest.skip("this SDK is older than its client for AWS")
    return kind(aws_region="us-east-1", workspace_id="wrk-1", base_url=url)


def _mantle(url: str) -> Any:
    kind = getattr(anthropic, "AnthropicBedrockMantle", None) or pytest.skip("this SDK is older than Mantle")
    return kind(aws_region="us-east-1", base_url=url)


def _google_cloud(url: str) -> Any:
    kind = getattr(anthropic, "AnthropicGoogleCloud", None) or pytest.skip("this SDK is older than Google Cloud's")
    return kind(project="p-1", location="us", workspace_id="wrk-1", base_url=url, credentials=Google())


def _foundry(url: str) -> Any:
    kind = getattr(anthropic, "AnthropicFoundry", None) or pytest.skip("this SDK is older than Foundry")

    def token() -> str:
        Google.fetched += 1
        if not Google.works:
            raise RuntimeError("there is no Azure AD")
        return GOOGLE

    return kind(base_url=url, azure_ad_token_provider=token)


@pytest.mark.parametrize("make", [_aws, _mantle, _google_cloud, _foundry], ids=["aws", "mantle", "google", "foundry"])
def test_the_newer_platforms_replay_without_credentials(make: Callable[[str], Any], ways: Any) -> None:
    def run() -> Any:
        with make(ways.sim.url) as client:
            return client.messages.create(**ASK)

    ways(run)
    (call,) = ways.calls
    assert call.success
    assert call.fields["operation"] == "chat"
    sent = ways.sim.requests[-1].headers["authorization"]
    assert "custody-deferred" not in sent
    assert sent == f"Bearer {GOOGLE}" or sent.startswith("AWS4-HMAC-SHA256 Credential=" + KEY)
