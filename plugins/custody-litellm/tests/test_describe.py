"""What a call asks, as JSON: the same in every process, without credentials."""

from __future__ import annotations

import json
from typing import Any

import pytest
from custody_litellm.describe import describer, operation
from custody_litellm.router import name_of, names_of
from pydantic import BaseModel

ASK: Any = [{"role": "user", "content": "api_key=these are the user's own words"}]


class River(BaseModel):
    name: str


def test_by_position_and_by_name_is_the_same() -> None:
    describe = describer("completion")
    assert describe(("m", ASK), {"temperature": 0.5}) == describe(
        (), {"temperature": 0.5, "messages": ASK, "model": "m"}
    )
    assert describer("Router.completion")((object(), "m", ASK), {}) == {
        "call": "litellm.Router.completion",
        "messages": ASK,
        "model": "m",
    }


def test_content_is_kept_word_for_word() -> None:
    tools = [{"type": "function", "function": {"name": "log in", "parameters": {"properties": {"password": {}}}}}]
    given = {
        "model": "m",
        "messages": ASK,
        "tools": tools,
        "prompt_cache_key": "k",
        "mock_response": "https://a.b/?c=d",
    }
    said = describer("completion")((), given)
    assert said["messages"] == ASK
    assert said["tools"] == tools
    assert said["prompt_cache_key"] == "k"
    assert said["mock_response"] == "https://a.b/?c=d"


@pytest.mark.parametrize(
    "name",
    "api_key aws_secret_access_key aws_access_key_id aws_session_token azure_ad_token azure_password client_secret "
    "vertex_credentials token timeout num_retries metadata client".split(),
)
def test_credentials_and_what_leaves_the_answer_alone_are_left_out(name: str) -> None:
    describe = describer("completion")
    assert describe((), {"model": "m", name: "canary"}) == describe((), {"model": "m"})
    nested = describe((), {"model": "m", "fallbacks": [{"model": "n", "api_key": "canary"}]})
    assert "canary" not in json.dumps(nested)


@pytest.mark.parametrize("name", ["headers", "extra_headers", "default_headers", "provider_specific_header"])
def test_headers_are_left_out_altogether(name: str) -> None:
    headers = {"x-gateway": "canary"}
    fallbacks = [{"model": "n", name: headers}]
    said = describer("completion")((), {"model": "m", name: headers, "fallbacks": fallbacks})
    assert said == {"call": "litellm.completion", "model": "m", "fallbacks": [{"model": "n"}]}


@pytest.mark.parametrize("name", ["api_base", "base_url", "aws_bedrock_runtime_endpoint", "custom_endpoint"])
def test_a_url_is_kept_without_its_secrets(name: str) -> None:
    url = "https://user:canary@gate.example:8443/v1?api-version=2024-10-21&key=canary#canary"
    kept = "https://gate.example:8443/v1?api-version=2024-10-21&key="
    describe = describer("completion")
    said = describe((), {"model": "m", name: url, "fallbacks": [{"model": "n", name: url}]})
    assert said[name] == said["fallbacks"][0][name] == kept
    assert describe((), {"model": "m", name: url.replace("/v1", "/v2")})[name] != kept


def test_what_parts_of_a_call_hold_no_secrets() -> None:
    describe = describer("completion")
    names = "key pw pass password token secret apiKey session_token access-token mytoken signature".split()
    body = {"top_k": 5, "stop_token_ids": [1], "min_tokens": 1, **dict.fromkeys(names, "canary")}
    said = describe((), {"extra_body": {**body, "inner": [body]}, "extra_query": {"code": "canary", "version": "2"}})
    kept = {"top_k": 5, "stop_token_ids": [1], "min_tokens": 1}
    assert said["extra_body"] == {**kept, "inner": [kept]}
    assert said["extra_query"] == {"code": "", "version": "2"}


@pytest.mark.parametrize(
    "name", "dynamic_callback_params langfuse_host langfuse_public_key arize_space_id secret_fields".split()
)
def test_where_a_program_logs_to_is_left_out(name: str) -> None:
    assert describer("completion")((), {"model": "m", name: {"lk": "canary"}}) == describer("completion")(
        (), {"model": "m"}
    )


def test_a_tool_that_is_a_server_holds_no_secrets() -> None:
    server = {"type": "mcp", "server_label": "docs", "allowed_tools": ["search"]}
    secret = {
        "server_url": "https://u:canary@gate.example/",
        "authorization": "canary",
        "headers": {"X-Gate": "canary"},
    }
    said = describer("responses")((), {"input": "x", "tools": [{**server, **secret}]})
    assert said["tools"] == [{**server, "server_url": "https://gate.example/"}]


def test_a_credential_by_position_is_left_out(litellm: Any) -> None:
    said = describer("speech")(("m", "Words.", "alloy", "canary", "https://u:canary@gate.example/v1"), {})
    assert said == {
        "call": "litellm.speech",
        "model": "m",
        "input": "Words.",
        "voice": "alloy",
        "api_base": "https://gate.example/v1",
    }
    assert describer("embedding")(("m", ["x"], 8), {})["dimensions"] == 8
    assert describer("Router.completion")((object(), "m", ASK, "canary"), {}).keys() == {"call", "model", "messages"}


@pytest.mark.parametrize(
    "changed", [{"max_tokens": 5}, {"temperature": 0.1}, {"mock_response": "x"}, {"caching": True}, {"model": "n"}]
)
def test_what_changes_the_answer_is_kept(changed: dict[str, Any]) -> None:
    describe = describer("completion")
    assert describe((), {"model": "m", "messages": ASK, **changed}) != describe((), {"model": "m", "messages": ASK})


def test_objects_are_stable_from_run_to_run() -> None:
    describe = describer("completion")
    said = describe((), {"response_format": River, "file": b"bytes", "own": object(), "stop": {"b", "a"}})
    assert json.loads(json.dumps(said)) == said
    assert said["response_format"]["properties"] == {"name": {"title": "Name", "type": "string"}}
    assert said["own"] == {"type": "builtins.object"}
    assert said["stop"] == ["a", "b"]
    assert describe((), {"message": River(name="x")})["message"] == {"name": "x"}


def test_operations_have_the_names_of_the_wire() -> None:
    assert operation("acompletion", (), {}) == operation("Router.completion", (), {}) == "chat"
    assert operation("Router.aembedding", (), {}) == operation("embedding", (), {}) == "embeddings"

    def aresponses() -> None: ...

    given = {"model": "m", "original_function": aresponses}
    assert operation("Router._ageneric_api_call_with_fallbacks", (), given) == "responses"


def test_a_deployments_name_outlives_its_credentials() -> None:
    one: dict[str, Any] = {"model_name": "g", "litellm_params": {"model": "m", "api_base": "b", "api_key": "1"}}
    two: dict[str, Any] = {"model_name": "g", "litellm_params": {"model": "m", "api_base": "b", "api_key": "2"}}
    other: dict[str, Any] = {"model_name": "g", "litellm_params": {"model": "m", "api_base": "c", "api_key": "1"}}
    assert name_of(one) == name_of(two) != name_of(other)
    assert [name for name, _ in names_of([one, two])] == [name_of(one), f"{name_of(one)}#2"]
