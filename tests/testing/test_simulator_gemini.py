"""The simulator's Gemini dialect, seen over plain HTTP: shapes, streams, errors, both APIs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from custody.testing.simulator import Fault, Simulator

MODEL = "/v1beta/models/gemini-2.5-flash"
VERTEX = "/v1beta1/projects/p/locations/l/publishers/google/models/gemini-2.5-flash"
ASK: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "Name three rivers."}]}]}


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


@pytest.fixture
def http(sim: Simulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sim.url, headers={"x-goog-api-key": "simulated-key"}) as client:
        yield client


def ask(http: httpx.Client, path: str = f"{MODEL}:generateContent", **more: Any) -> Any:
    response = http.post(path, json={**ASK, **more})
    assert response.status_code == 200, response.text
    return response.json()


def chunks(http: httpx.Client, path: str = f"{MODEL}:streamGenerateContent?alt=sse", **more: Any) -> list[Any]:
    response = http.post(path, json={**ASK, **more})
    assert response.headers["content-type"] == "text/event-stream"
    assert response.content.endswith(b"\r\n\r\n")
    return [json.loads(line[6:]) for line in response.text.split("\r\n\r\n") if line]


def text_of(document: Any) -> str:
    return "".join(part.get("text", "") for part in document["candidates"][0]["content"]["parts"])


def test_an_answer(sim: Simulator, http: httpx.Client) -> None:
    response = http.post(f"{MODEL}:generateContent", json=ASK)
    made = response.json()
    assert text_of(made) == sim.answers[0]
    assert (made["modelVersion"], made["candidates"][0]["finishReason"]) == ("gemini-2.5-flash", "STOP")
    usage = made["usageMetadata"]
    parts = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
    assert usage["totalTokenCount"] == sum(usage[name] for name in parts)
    assert usage["serviceTier"] == response.headers["x-gemini-service-tier"] == "standard"
    assert response.headers["server-timing"].startswith("gfet4t7; dur=")
    assert made["responseId"] != ask(http)["responseId"]
    assert len(set(sim.answers)) == 2


def test_a_stream_adds_up(sim: Simulator, http: httpx.Client) -> None:
    seen = chunks(http)
    assert len(seen) > 3
    assert "".join(map(text_of, seen)) == sim.answers[0]
    assert ["finishReason" in chunk["candidates"][0] for chunk in seen] == [False] * (len(seen) - 1) + [True]
    assert "candidatesTokenCount" not in seen[0]["usageMetadata"]
    assert {chunk["responseId"] for chunk in seen} == {seen[0]["responseId"]}


def test_vertex_says_what_vertex_says(http: httpx.Client) -> None:
    made = ask(http, f"{VERTEX}:generateContent")
    assert made["usageMetadata"]["trafficType"] == "ON_DEMAND" and made["createTime"]
    numbered = ask(http, f"{VERTEX}:generateContent?%24alt=json%3Benum-encoding%3Dint")
    assert numbered["candidates"][0]["finishReason"] == 1
    assert numbered["usageMetadata"]["trafficType"] == 1
    array = http.post(f"{VERTEX}:streamGenerateContent?%24alt=json%3Benum-encoding%3Dint", json=ASK)
    assert array.headers["content-type"] == "application/json; charset=UTF-8"
    assert len(array.json()) > 3 and array.json()[-1]["candidates"][0]["finishReason"] == 1


def test_odd_endings(http: httpx.Client) -> None:
    def said(word: str) -> Any:
        return ask(http, contents=[{"parts": [{"text": word}]}])

    assert said("simulate:block")["promptFeedback"] == {"blockReason": "SAFETY"}
    assert said("simulate:safety")["candidates"][0]["finishReason"] == "SAFETY"
    assert "parts" not in said("simulate:empty")["candidates"][0]["content"]
    assert ask(http, generationConfig={"maxOutputTokens": 3})["candidates"][0]["finishReason"] == "MAX_TOKENS"
    failed = chunks(http, contents=[{"parts": [{"text": "simulate:error"}]}])
    assert failed[-1]["error"]["status"] == "UNAVAILABLE" and "candidates" in failed[0]


def test_thoughts_caches_and_tools_are_counted(http: httpx.Client) -> None:
    thinking = {"thinkingConfig": {"includeThoughts": True, "thinkingBudget": 20}}
    made = ask(http, generationConfig=thinking, cachedContent="cachedContents/1", tools=[{"codeExecution": {}}])
    assert made["candidates"][0]["content"]["parts"][0]["thought"] is True
    usage = made["usageMetadata"]
    assert (usage["thoughtsTokenCount"], usage["cachedContentTokenCount"]) == (20, 1024)
    assert usage["promptTokenCount"] > 1024 and usage["toolUsePromptTokenCount"] == 21
    assert "thoughtsTokenCount" not in ask(http, "/v1beta/models/gemini-2.0-flash:generateContent")["usageMetadata"]


def test_functions_and_schemas(http: httpx.Client) -> None:
    schema = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]}
    tools = [{"functionDeclarations": [{"name": "clock", "parameters": schema}]}]
    made = ask(http, tools=tools)
    call = made["candidates"][0]["content"]["parts"][0]["functionCall"]
    assert call["name"] == "clock" and set(call["args"]) == {"city"}
    result = {"functionResponse": {"name": "clock", "response": {"time": "noon"}}}
    turns = [*ASK["contents"], made["candidates"][0]["content"], {"role": "user", "parts": [result]}]
    assert text_of(ask(http, tools=tools, contents=turns))
    never = {"functionCallingConfig": {"mode": "NONE"}}
    assert text_of(ask(http, tools=tools, toolConfig=never))
    config = {"responseMimeType": "application/json", "responseSchema": schema}
    assert set(json.loads(text_of(ask(http, generationConfig=config)))) == {"city"}


@pytest.mark.parametrize(
    ("status", "name"), [(400, "INVALID_ARGUMENT"), (429, "RESOURCE_EXHAUSTED"), (503, "UNAVAILABLE")]
)
def test_errors_have_googles_form(sim: Simulator, http: httpx.Client, status: int, name: str) -> None:
    sim.inject(Fault(status=status))
    response = http.post(f"{MODEL}:generateContent", json=ASK)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["status"]) == (status, status, name)
    assert error["details"][0]["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"


def test_refusals(sim: Simulator, http: httpx.Client) -> None:
    def status(path: str, body: Any, **headers: str) -> int:
        return http.post(path, json=body, headers=headers).status_code

    path = f"{MODEL}:generateContent"
    assert status(path, {"contents": []}) == 400
    assert status(path, {"contents": [{"role": "narrator", "parts": []}]}) == 400
    assert status("/v1beta/models/gemini-does-not-exist:generateContent", ASK) == 404
    assert status(f"{MODEL}:paint", ASK) == 404
    assert http.post(path, content=b"not JSON").status_code == 400
    assert httpx.post(sim.url + path, json=ASK).status_code == 403
    assert httpx.post(sim.url + path, json=ASK, headers={"x-goog-api-key": "invalid"}).status_code == 400
    bearer = {"authorization": "Bearer invalid"}
    assert httpx.post(f"{sim.url}{VERTEX}:generateContent", json=ASK, headers=bearer).status_code == 401


def test_counts_and_embeddings(http: httpx.Client) -> None:
    assert ask(http, f"{MODEL}:countTokens")["totalTokens"] > 0
    assert ask(http, f"{VERTEX}:countTokens")["totalBillableCharacters"] > 0
    content = {"parts": [{"text": "one"}]}
    embed = "/v1beta/models/gemini-embedding-001"
    one = http.post(f"{embed}:embedContent", json={"content": content, "outputDimensionality": 4}).json()
    many = http.post(f"{embed}:batchEmbedContents", json={"requests": [{"content": content}] * 3}).json()
    assert len(one["embedding"]["values"]) == 4 and len(many["embeddings"]) == 3
    instances = {"instances": [{"content": "one"}, {"content": "two"}]}
    predicted = http.post(VERTEX.replace("gemini-2.5-flash", "text-embedding-005:predict"), json=instances).json()
    assert [p["embeddings"]["statistics"]["token_count"] for p in predicted["predictions"]] == [1, 1]


def test_a_file_in_two_chunks(http: httpx.Client) -> None:
    start = {
        "x-goog-upload-protocol": "resumable",
        "x-goog-upload-command": "start",
        "x-goog-upload-header-content-type": "text/csv",
    }
    begun = http.post("/upload/v1beta/files", json={"file": {"displayName": "rows"}}, headers=start)
    assert begun.headers["x-goog-upload-status"] == "active"
    address = begun.headers["x-goog-upload-url"]
    more = {"x-goog-upload-command": "upload", "x-goog-upload-offset": "0"}
    assert http.post(address, content=b"a,b\n", headers=more).headers["x-goog-upload-status"] == "active"
    last = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "4"}
    ended = http.post(address, content=b"1,2\n", headers=last)
    assert ended.headers["x-goog-upload-status"] == "final"
    file = ended.json()["file"]
    assert (file["mimeType"], file["sizeBytes"], file["displayName"]) == ("text/csv", "8", "rows")


def test_resources(http: httpx.Client) -> None:
    assert len(http.get("/v1beta/models").json()["models"]) > 3
    assert http.get(MODEL).json()["name"] == "models/gemini-2.5-flash"
    assert http.get("/v1beta/files/missing").status_code == 404
    first = http.get("/v1beta/files?pageSize=1").json()
    assert len(http.get(f"/v1beta/files?pageSize=1&pageToken={first['nextPageToken']}").json()["files"]) == 1
    cache = http.post("/v1beta/cachedContents", json={"model": "models/gemini-2.5-flash"}).json()
    assert http.get(f"/v1beta/{cache['name']}").json()["name"] == cache["name"]
    batch = http.post(f"{MODEL}:batchGenerateContent", json={"batch": {"displayName": "b"}}).json()
    assert batch["metadata"]["state"] == "BATCH_STATE_PENDING"
    done = http.get(f"/v1beta/{batch['name']}").json()
    assert done["done"] and done["response"]["inlinedResponses"]["inlinedResponses"]
    assert http.delete(f"/v1beta/{cache['name']}").json() == {}


def test_interactions(http: httpx.Client) -> None:
    asked = {"model": "gemini-2.5-flash", "input": "Hello"}
    made = http.post("/v1beta/interactions", json=asked).json()
    assert made["status"] == "completed" and made["steps"][0]["content"][0]["text"]
    streamed = http.post("/v1beta/interactions", json={**asked, "stream": True}).text
    assert streamed.endswith("event: done\ndata: [DONE]\n\n")
    assert "event: interaction.completed" in streamed


def test_other_vendors_are_left_alone(sim: Simulator) -> None:
    """Paths that the vendors share: who has no key of Google's is none of Google's."""
    listed = httpx.get(f"{sim.url}/v1/models", headers={"authorization": "Bearer sk-simulator"})
    assert listed.json()["object"] == "list"
