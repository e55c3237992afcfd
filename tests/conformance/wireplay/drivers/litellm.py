"""litellm: the same questions through its own functions, where they can be put in OpenAI's words."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

from wireplay.drivers.base import CannotAsk, Driver, is_asynchronous, module
from wireplay.recordings import Recorded

# Host -> litellm's name of the vendor. Bodies of these are OpenAI's.
_PROVIDERS = {
    "api.openai.com": "openai",
    "api.groq.com": "groq",
    "api.deepseek.com": "deepseek",
    "api.together.ai": "together_ai",
    "api.together.xyz": "together_ai",
    "api.mistral.ai": "mistral",
}
_MADE = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}|(?<=created=)[0-9]+")
_FUNCTIONS = {
    "chat/completions": "completion",
    "completions": "text_completion",
    "embeddings": "embedding",
    "responses": "responses",
}


class LiteLLM(Driver):
    """Takes the OpenAI-shaped vendors and Azure by their bodies, and of the other vendors' recordings those whose
    messages are plain text. What litellm sends is not always what was recorded; the answer is."""

    sdk = "litellm"
    plugin = "litellm"
    leaves_early = True
    hosts = (
        r"api\.(openai|groq|deepseek|mistral|anthropic|cohere)\.(com|ai)|api\.together\.(ai|xyz)|.*\.openai\.azure\.com|"
        r"generativelanguage\.googleapis\.com|bedrock-runtime\..*\.amazonaws\.com"
    )

    @classmethod
    def takes(cls, recorded: Recorded) -> bool:
        return super().takes(recorded) and _arguments(recorded) is not None

    def drive(self, recorded: Recorded) -> Any:
        os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else the import asks the network for prices
        litellm = module("litellm")
        litellm.suppress_debug_info = True
        litellm.drop_params = True
        found = _arguments(recorded)
        if found is None:
            raise CannotAsk("its words are not OpenAI's")
        name, arguments = found
        asynchronous = is_asynchronous(recorded)
        result = getattr(litellm, f"a{name}" if asynchronous else name)(api_key="played", max_retries=0, **arguments)
        return self.wait(_drained(result)) if asynchronous else _read(result)

    def result(self, picture: Any) -> Any:
        """It dates what it returns, and names messages and tool calls whose vendor's ids it does not take over."""
        if isinstance(picture, dict):
            return {k: "made" if k == "created" else self.result(v) for k, v in picture.items()}
        if isinstance(picture, list):
            return [self.result(one) for one in picture]
        return _MADE.sub("made", picture) if isinstance(picture, str) else picture


def _arguments(recorded: Recorded) -> tuple[str, dict[str, Any]] | None:
    body = recorded.request_json
    if recorded.method != "POST" or not isinstance(body, dict):
        return None
    body = {k: v for k, v in body.items() if v is not None}
    for host, translate in _TRANSLATORS.items():
        if re.fullmatch(host, recorded.host):
            return translate(recorded, body)
    azure = re.fullmatch("/openai/deployments/([^/]+)/(.+)", recorded.path)
    if azure:
        name = _FUNCTIONS.get(azure[2])
        where = {"api_base": f"https://{recorded.host}", "api_version": recorded.query["api-version"]}
        return (name, {**body, **where, "model": f"azure/{azure[1]}"}) if name else None
    path = re.fullmatch("(/openai)?(/v1|/beta)/(.+)", recorded.path)
    provider = _PROVIDERS[recorded.host]
    name = _FUNCTIONS.get(path[3]) if path else None
    if path is None or name is None or (provider != "openai" and name in ("responses", "text_completion")):
        return None
    base = f"https://{recorded.host}{path[1] or ''}{path[2]}"
    return name, {**body, "api_base": base, "model": f"{provider}/{body['model']}"}


_Asked = tuple[str, dict[str, Any]]


def _of_gemini(recorded: Recorded, body: dict[str, Any]) -> _Asked | None:
    path = re.fullmatch("/v1beta/models/([^:]+):(generateContent|streamGenerateContent)", recorded.path)
    if path is None or set(body) - {"contents", "generationConfig"} or body.get("generationConfig"):
        return None
    messages = []
    for content in body["contents"]:
        parts = content["parts"]
        if len(parts) != 1 or set(parts[0]) != {"text"}:
            return None
        role = "assistant" if content.get("role") == "model" else "user"
        messages.append({"role": role, "content": parts[0]["text"]})
    stream = path[2].startswith("stream")
    return "completion", {"model": f"gemini/{path[1]}", "messages": messages, "stream": stream}


def _of_cohere(recorded: Recorded, body: dict[str, Any]) -> _Asked | None:
    plain = all(isinstance(message.get("content"), str) for message in body.get("messages", []))
    if recorded.path != "/v2/chat" or not plain or set(body) - {"model", "messages", "temperature", "stream"}:
        return None
    if body.get("stream"):
        return None  # litellm 1.106.2 cannot read the events of version 2
    return "completion", {**body, "model": f"cohere_chat/v2/{body['model']}"}


def _of_bedrock(recorded: Recorded, body: dict[str, Any]) -> _Asked | None:
    path = re.fullmatch("/model/([^/]+)/(converse|converse-stream)", recorded.path)
    if path is None or set(body) - {"messages", "inferenceConfig"}:
        return None
    messages = []
    for message in body["messages"]:
        if len(message["content"]) != 1 or set(message["content"][0]) != {"text"}:
            return None
        messages.append({"role": message["role"], "content": message["content"][0]["text"]})
    keys = {"aws_access_key_id": "played", "aws_secret_access_key": "played", "aws_region_name": "us-east-1"}
    stream = path[2] == "converse-stream"
    return "completion", {"model": f"bedrock/converse/{path[1]}", "messages": messages, "stream": stream, **keys}


def _of_anthropic(recorded: Recorded, body: dict[str, Any]) -> _Asked | None:
    plain = all(isinstance(message["content"], str) for message in body.get("messages", []))
    known = {"model", "messages", "max_tokens", "temperature", "stream", "top_p", "stop_sequences"}
    if recorded.path != "/v1/messages" or not plain or set(body) - known:
        return None
    stop = {"stop": body.pop("stop_sequences")} if "stop_sequences" in body else {}
    return "completion", {**body, **stop, "model": f"anthropic/{body['model']}"}


_TRANSLATORS = {
    r"api\.anthropic\.com": _of_anthropic,
    r"generativelanguage\.googleapis\.com": _of_gemini,
    r"api\.cohere\.com": _of_cohere,
    r"bedrock-runtime\..*\.amazonaws\.com": _of_bedrock,
}


def _read(result: Any) -> Any:
    return list(result) if isinstance(result, Iterator) or hasattr(result, "__next__") else result


async def _drained(awaitable: Any) -> Any:
    result = await awaitable
    is_stream = isinstance(result, AsyncIterator) or hasattr(result, "__anext__")
    return [item async for item in result] if is_stream else result
