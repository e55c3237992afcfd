"""Each vendor's dialect answers its own SDK's requests and nobody else's, in the vendor's own form."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from custody.testing.simulator import Fault, Simulator

MISTRAL = {"user-agent": "mistral-client-python/3.7.0", "authorization": "Bearer some-key"}
COHERE = {"x-fern-sdk-name": "cohere", "authorization": "Bearer some-key"}
GROQ = {"user-agent": "Groq/Python 1.7.0", "authorization": "Bearer some-key"}
AZURE = {"user-agent": "AzureOpenAI/Python 3.54.0", "api-key": "some-key"}
CHAT = {"model": "some-model", "messages": [{"role": "user", "content": "Something."}]}
DEPLOYMENT = "/openai/deployments/mine/chat/completions?api-version=2024-10-21"


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def ask(sim: Simulator, path: str, body: Any, headers: dict[str, str]) -> tuple[int, dict[str, str], str]:
    """Status, headers in lower case, and body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(sim.url + path, data, {"content-type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read().decode()


@pytest.mark.parametrize(
    ("path", "headers", "own"),
    [
        ("/v1/chat/completions", MISTRAL, "mistral-correlation-id"),
        ("/v2/chat", COHERE, "x-debug-trace-id"),
        ("/openai/v1/chat/completions", GROQ, "x-groq-region"),
        ("/openai/v1/chat/completions", AZURE, "x-ms-region"),
        (DEPLOYMENT, AZURE, "apim-request-id"),
        ("/v1/chat/completions", {"authorization": "Bearer some-key"}, "openai-version"),
    ],
)
def test_a_vendor_answers_with_its_own_headers(sim: Simulator, path: str, headers: dict[str, str], own: str) -> None:
    status, told, body = ask(sim, path, CHAT, headers)
    assert status == 200
    assert told[own]
    assert sim.answers[-1] in json.dumps(json.loads(body), ensure_ascii=False)


@pytest.mark.parametrize(
    ("path", "headers", "field"),
    [
        ("/v1/chat/completions", MISTRAL, "object"),
        ("/v2/chat", COHERE, "message"),
        (DEPLOYMENT, AZURE, "error"),
        ("/openai/v1/chat/completions", GROQ, "error"),
    ],
)
def test_a_vendor_fails_in_its_own_form(sim: Simulator, path: str, headers: dict[str, str], field: str) -> None:
    keyless = {k: v for k, v in headers.items() if k not in ("authorization", "api-key")}
    status, _, body = ask(sim, path, CHAT, keyless)
    assert (status, field in json.loads(body)) == (401, True)
    sim.inject(Fault(status=429))
    status, _, body = ask(sim, path, CHAT, headers)
    assert (status, field in json.loads(body)) == (429, True)


def test_cohere_streams_lines_in_version_1_and_events_in_version_2(sim: Simulator) -> None:
    _, told, body = ask(sim, "/v1/chat", {"message": "Something.", "stream": True}, COHERE)
    assert told["content-type"] == "application/stream+json"
    lines = [json.loads(line) for line in body.splitlines()]
    assert [line["is_finished"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert "".join(line.get("text", "") for line in lines) == sim.answers[-1]
    _, told, body = ask(sim, "/v2/chat", {**CHAT, "stream": True}, COHERE)
    assert told["content-type"].startswith("text/event-stream")
    assert body.endswith("data: [DONE]\n\n")


def test_mistral_ends_a_conversation_with_an_event(sim: Simulator) -> None:
    _, _, body = ask(sim, "/v1/conversations", {"inputs": "Something.", "stream": True}, MISTRAL)
    last = json.loads(body.rstrip().splitlines()[-1].removeprefix("data: "))
    usage = last["usage"]
    assert last["type"] == "conversation.response.done"
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] + usage["connector_tokens"]


@pytest.mark.parametrize("stream", [False, True])
def test_azure_filters_an_unseemly_answer(sim: Simulator, stream: bool) -> None:
    asked = {"messages": [{"role": "user", "content": "UNSEEMLY"}], "stream": stream}
    _, _, body = ask(sim, DEPLOYMENT, asked, AZURE)
    assert '"finish_reason":"content_filter"' in body
    assert "prompt_filter_results" in body
    assert sim.answers[-1] not in body


def test_azure_wants_an_api_version_and_a_deployment_that_exists(sim: Simulator) -> None:
    assert ask(sim, DEPLOYMENT.partition("?")[0], CHAT, AZURE)[0] == 404
    assert ask(sim, DEPLOYMENT.replace("mine", "missing"), CHAT, AZURE)[0] == 404


def test_voyage_ranks(sim: Simulator) -> None:
    asked = {"query": "river", "documents": ["one", "two"], "model": "rerank-2.5", "top_k": 1}
    _, _, body = ask(sim, "/v1/rerank", asked, {"authorization": "Bearer some-key"})
    assert len(json.loads(body)["data"]) == 1
