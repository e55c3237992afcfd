"""Callable keys of the Mistral SDK, asked on a miss only; and its clients for Azure and Vertex AI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from custody.testing.simulator import Fault

try:
    from mistralai.client.utils import BackoffStrategy, RetryConfig
except ImportError:  # before 2.0
    from mistralai.utils import BackoffStrategy, RetryConfig  # type: ignore[no-redef]

MODEL = "mistral-small-2506"
ASK: Any = {"model": MODEL, "messages": [{"role": "user", "content": "Say something about rivers."}]}
CANARY = "canary-51c0ffee-token"
AT_ONCE = RetryConfig("backoff", BackoffStrategy(1, 2, 1.0, 1000), False)


def chat_stream(client: Any) -> Any:
    with client.chat.stream(**ASK) as events:
        return list(events)


def test_a_callable_key_is_asked_on_a_miss_only(three_ways: Any, client_of: Any, root: Path) -> None:
    asked: list[str] = []
    forbidden: list[bool] = []

    def provider() -> str:
        assert not forbidden, "a replay asked for a credential"
        asked.append(f"{CANARY}-{len(asked) + 1}")
        return asked[-1]

    def scenario() -> Any:
        with client_of(api_key=provider, retry_config=AT_ONCE) as client:
            return [client.chat.complete(**ASK), chat_stream(client)]

    three_ways.sim.inject(Fault(status=503))
    recorded = three_ways.record(scenario)
    sent = [seen.headers["authorization"] for seen in three_ways.sim.requests]
    assert sent == [f"Bearer {CANARY}-1", f"Bearer {CANARY}-1", f"Bearer {CANARY}-2"]
    forbidden.append(True)
    replayed = three_ways.replay(scenario)
    assert [replayed[0], *replayed[1]] == [recorded[0], *recorded[1]]
    for path in [path for path in root.rglob("*") if path.is_file()]:
        data = path.read_bytes()
        assert CANARY.encode() not in data, path
        assert b"asked-when-sent" not in data, path


def test_a_callable_key_of_an_async_call(three_ways: Any, client_of: Any) -> None:
    forbidden: list[bool] = []

    def provider() -> str:
        assert not forbidden, "a replay asked for a credential"
        return CANARY

    async def scenario() -> Any:
        async with client_of(api_key=provider) as client:
            return await client.chat.complete_async(**ASK)

    recorded = three_ways.record(scenario)
    assert [seen.headers["authorization"] for seen in three_ways.sim.requests] == [f"Bearer {CANARY}"]
    forbidden.append(True)
    assert three_ways.replay(scenario) == recorded


def test_what_a_provider_raises_reaches_the_program_as_it_is(three_ways: Any, client_of: Any) -> None:
    class Expired(Exception):
        pass

    def provider() -> str:
        raise Expired("log in again")

    def scenario() -> Any:
        with client_of(api_key=provider) as client, pytest.raises(Expired, match="log in again"):
            client.chat.complete(**ASK)

    scenario()
    three_ways.record(scenario)
    assert three_ways.sim.count() == 0


# -- other hosts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True])
def test_mistral_on_azure(three_ways: Any, streamed: bool) -> None:
    azure = pytest.importorskip("mistralai.azure.client")

    def scenario() -> Any:
        client = azure.MistralAzure(api_key="azure-key", server_url=three_ways.sim.url)
        return chat_stream(client) if streamed else client.chat.complete(**ASK)

    three_ways(scenario)
    (call,) = three_ways.calls
    assert call.fields["sdk"]["plugin"] == "mistral"
    assert call.fields["model_forensics"]["requested_model"] == MODEL


def test_mistral_on_vertex(three_ways: Any, root: Path) -> None:
    gcp = pytest.importorskip("mistralai.gcp.client")

    def scenario() -> Any:
        client = gcp.MistralGCP(project_id="p", region="eu", access_token=CANARY)
        client.sdk_configuration.server_url = three_ways.sim.url
        return client.chat.complete(**ASK)

    three_ways(scenario)
    assert {seen.headers["authorization"] for seen in three_ways.sim.requests} == {f"Bearer {CANARY}"}
    (call,) = three_ways.calls
    assert call.fields["operation"] == "chat"
    for path in [path for path in root.rglob("*") if path.is_file()]:
        assert CANARY.encode() not in path.read_bytes(), path
