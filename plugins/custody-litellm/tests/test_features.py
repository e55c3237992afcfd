"""What litellm has beside chat: pictures, sound, reranking, files, batches; and a replay without AWS credentials."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

import custody

ASK: Any = [{"role": "user", "content": "Say something about rivers."}]
PICTURE = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
SOUND = {"data": base64.b64encode(bytes(60)).decode(), "format": "wav"}
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def content(part: Any) -> Any:
    return [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, part]}]


def pictures_in(litellm: Any, led: Any, told: Any) -> Any:
    seen = content({"type": "image_url", "image_url": {"url": PICTURE}})
    return [told(litellm.completion(messages=seen, **led(vendor))) for vendor in ("openai", "anthropic", "gemini")]


def pictures_out(litellm: Any, led: Any, told: Any) -> Any:
    return told(litellm.image_generation(prompt="a river", **led("openai", "openai/gpt-image-1")))


def sounds_in(litellm: Any, led: Any, told: Any) -> Any:
    heard = content({"type": "input_audio", "input_audio": SOUND})
    written = litellm.transcription(file=("a.wav", bytes(60)), **led("openai", "openai/whisper-1"))
    return [told(litellm.completion(messages=heard, **led("openai"))), told(written)]


def sounds_out(litellm: Any, led: Any, told: Any) -> Any:
    return litellm.speech(input="The river is long.", voice="alloy", **led("openai", "openai/tts-1")).content


def rerank(litellm: Any, led: Any, told: Any) -> Any:
    given = {**led("openai"), "model": "cohere/rerank-v3.5", "api_base": led("anthropic")["api_base"]}
    given["headers"] = {"x-fern-sdk-name": "cohere"}  # by which the simulator knows the vendor
    return told(litellm.rerank(query="river", documents=["one", "two"], **given))


def asked_twice(litellm: Any, led: Any, told: Any) -> Any:
    """Early close and raw headers: `_hidden_params` has them."""
    made = litellm.completion(messages=ASK, **led("openai"))
    headers = made._hidden_params["additional_headers"]
    return [told(made), headers["llm_provider-x-request-id"], headers["llm_provider-openai-version"]]


def built(litellm: Any, led: Any, told: Any) -> Any:
    chunks = list(litellm.completion(messages=ASK, stream=True, **led("openai")))
    return told(litellm.stream_chunk_builder(chunks, messages=ASK))


def parsed(litellm: Any, led: Any, told: Any) -> Any:
    """A schema given as a class of pydantic's."""
    import pydantic

    river = pydantic.create_model("River", name=(str, ...))
    made = litellm.completion(messages=ASK, response_format=river, **led("openai"))
    river.model_validate_json(made.choices[0].message.content)
    return told(made)


OPERATIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "pictures_in": pictures_in,
    "pictures_out": pictures_out,
    "sounds_in": sounds_in,
    "sounds_out": sounds_out,
    "rerank": rerank,
    "headers": asked_twice,
    "stream_chunk_builder": built,
    "parsed": parsed,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_feature(litellm: Any, three_ways: Any, led: Any, told: Any, name: str) -> None:
    three_ways(lambda: OPERATIONS[name](litellm, led, told))
    assert three_ways.calls
    for call in three_ways.calls:
        assert (call.fields["answers"], call.fields["source"], call.fields["hook_failures"]) == (True, "wire", [])
        assert call.fields["sdk"]["plugin"] == "litellm"


def files(litellm: Any, given: Any) -> Any:
    made = litellm.create_file(file=("rivers.jsonl", b'{"a": 1}\n'), purpose="batch", **given)
    kept = litellm.file_retrieve(made.id, **given)
    read = litellm.file_content(made.id, **given)
    return [made.id, kept.filename, read.content, litellm.file_delete(made.id, **given).deleted]


def batches(litellm: Any, given: Any) -> Any:
    line = {"custom_id": "0", "method": "POST", "url": "/v1/chat/completions"}
    data = json.dumps({**line, "body": {"model": "gpt-4o", "messages": ASK}}).encode()
    file = litellm.create_file(file=("in.jsonl", data), purpose="batch", **given)
    batch = litellm.create_batch(
        completion_window="24h", endpoint="/v1/chat/completions", input_file_id=file.id, **given
    )
    looks = [litellm.retrieve_batch(batch.id, **given) for _ in range(2)]
    assert [look.status for look in looks] == ["in_progress", "completed"]
    return [batch.id, looks[-1].output_file_id, litellm.file_content(looks[-1].output_file_id, **given).content]


@pytest.mark.parametrize("ask", [files, batches], ids=lambda f: f.__name__)
def test_files_and_batches(litellm: Any, three_ways: Any, led: Any, ask: Any) -> None:
    """litellm asks the openai SDK for these, whose plugin records them."""
    given = {**led("openai"), "custom_llm_provider": "openai"}
    del given["model"]

    three_ways(lambda: ask(litellm, given))
    assert three_ways.calls
    assert all(call.success and call.fields["hook_failures"] == [] for call in three_ways.calls)
    assert {call.fields["operation"] for call in three_ways.calls} <= {"files", "batches"}


async def counted(litellm: Any, led: Any) -> Any:
    made = await litellm.acount_tokens(messages=ASK, **led("anthropic"))
    return made.total_tokens


def test_counting_tokens(litellm: Any, three_ways: Any, led: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`token_counter` counts by itself; this one asks the vendor."""
    if not hasattr(litellm, "acount_tokens"):
        pytest.skip("this litellm only counts by itself")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-simulator")

    async def scenario() -> Any:
        return await counted(litellm, led)

    three_ways(scenario)
    assert {call.fields["operation"] for call in three_ways.calls} == {"count_tokens"}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_a_replay_needs_no_credentials_of_aws(
    litellm: Any, three_ways: Any, led: Any, told: Any, monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    for name in ("HOME", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in KEYS:
        monkeypatch.setenv(name, "AKIDSIMULATED")
    given = {
        key: value for key, value in led("bedrock").items() if key not in ("aws_access_key_id", "aws_secret_access_key")
    }

    def scenario() -> Any:
        made = litellm.completion(messages=ASK, stream=streamed, **given)
        return [told(chunk) for chunk in made] if streamed else told(made)

    recorded = three_ways.record(scenario)
    for name in KEYS:
        monkeypatch.delenv(name)
    litellm.in_memory_llm_clients_cache.flush_cache()
    assert three_ways.replay(scenario) == recorded
    three_ways.sim.start()
    with custody.session("P", "E", root=three_ways.root, new=True), pytest.raises(litellm.AuthenticationError):
        scenario()


def test_a_replay_needs_no_token_of_azures(litellm: Any, three_ways: Any, led: Any, told: Any) -> None:
    forbidden: list[bool] = []

    def provider() -> str:
        assert not forbidden, "a replay asked for a credential"
        return "a-token-of-azures"

    given = {key: value for key, value in led("azure").items() if key != "api_key"}

    def scenario() -> Any:
        return told(litellm.completion(messages=ASK, azure_ad_token_provider=provider, **given))

    recorded = three_ways.record(scenario)
    forbidden.append(True)
    litellm.in_memory_llm_clients_cache.flush_cache()
    assert three_ways.replay(scenario) == recorded
