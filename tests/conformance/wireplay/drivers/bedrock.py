"""Amazon Bedrock: boto3, and Anthropic's SDK for it."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from typing import Any

from wireplay.drivers.base import CannotAsk, Driver, module
from wireplay.recordings import Recorded

_HOSTS = r"bedrock-runtime\.[a-z0-9-]+\.amazonaws\.com"
_MODEL = re.compile("/model/(?P<model>.+)/(?P<verb>converse|converse-stream|invoke|invoke-with-response-stream)")
_GUARDRAIL = re.compile("/guardrail/(?P<guardrail>[^/]+)/version/(?P<version>[^/]+)/apply")
_KEYS = {"aws_access_key_id": "played", "aws_secret_access_key": "played"}

# Headers of the request that are arguments of the methods.
_CONVERSE = {"x-amzn-bedrock-guardrailidentifier": "guardrailIdentifier"}
_INVOKE = {
    "content-type": "contentType",
    "x-amzn-bedrock-accept": "accept",
    "accept": "accept",
    "x-amzn-bedrock-guardrailidentifier": "guardrailIdentifier",
    "x-amzn-bedrock-guardrailversion": "guardrailVersion",
    "x-amzn-bedrock-trace": "trace",
}


def _is_anthropics(recorded: Recorded) -> bool:
    return "AnthropicBedrock" in recorded.request_headers.get("user-agent", "")


class Boto3(Driver):
    sdk = "boto3"
    plugin = "bedrock"
    hosts = _HOSTS

    @classmethod
    def takes(cls, recorded: Recorded) -> bool:
        return super().takes(recorded) and not _is_anthropics(recorded)

    def drive(self, recorded: Recorded) -> Any:
        boto3 = module("boto3")
        region = recorded.host.split(".")[1]
        client = self.client(region, lambda: boto3.client("bedrock-runtime", region_name=region, **_KEYS))
        guardrail = _GUARDRAIL.fullmatch(recorded.path)
        if guardrail:
            return client.apply_guardrail(
                guardrailIdentifier=guardrail["guardrail"],
                guardrailVersion=guardrail["version"],
                **recorded.request_json,
            )
        match = _MODEL.fullmatch(recorded.path)
        if match is None:
            raise CannotAsk(f"no method for {recorded.path}")
        if match["verb"].startswith("converse"):
            method = client.converse if match["verb"] == "converse" else client.converse_stream
            result = method(modelId=match["model"], **_blobs(recorded.request_json))
            return _read(result, "stream")
        method = client.invoke_model if match["verb"] == "invoke" else client.invoke_model_with_response_stream
        arguments: dict[str, Any] = {
            name: recorded.request_headers[header]
            for header, name in reversed(_INVOKE.items())
            if header in recorded.request_headers
        }
        if recorded.request_body:
            arguments["body"] = recorded.request_body
        return _read(method(modelId=match["model"], **arguments), "body")


def _read(result: dict[str, Any], name: str) -> Any:
    body: Any = result.get(name)
    if hasattr(body, "read"):
        return {**result, name: body.read()}
    return {**result, name: list(body)} if body is not None else result


def _blobs(value: Any) -> Any:
    """Binary members are base64 on the wire and bytes in boto3."""
    if isinstance(value, dict):
        return {k: base64.b64decode(v) if k == "bytes" and isinstance(v, str) else _blobs(v) for k, v in value.items()}
    return [_blobs(one) for one in value] if isinstance(value, list) else value


class AnthropicBedrock(Driver):
    sdk = "anthropic"
    plugin = "anthropic"
    needs = ("boto3",)
    hosts = _HOSTS

    @classmethod
    def takes(cls, recorded: Recorded) -> bool:
        return super().takes(recorded) and _is_anthropics(recorded)

    def drive(self, recorded: Recorded) -> Any:
        match = _MODEL.fullmatch(recorded.path)
        if match is None:
            raise CannotAsk(f"no method for {recorded.path}")
        kind = module("anthropic").AsyncAnthropicBedrock
        region = recorded.host.split(".")[1]
        client = self.client(region, lambda: kind(aws_region=region, aws_access_key="played", aws_secret_key="played"))
        body = {k: v for k, v in recorded.request_json.items() if k != "anthropic_version"}
        stream = match["verb"] == "invoke-with-response-stream"
        if recorded.request_headers.get("x-stainless-raw-response") == "true":
            return self.wait(
                _raw(client.messages.with_raw_response.create(model=match["model"], stream=stream, **body))
            )
        return self.wait(_drained(client.messages.create(model=match["model"], stream=stream, **body)))


async def _raw(awaitable: Any) -> Any:
    response = await awaitable
    return await _value(await response.parse())


async def _drained(awaitable: Any) -> Any:
    return await _value(await awaitable)


async def _value(value: Any) -> Any:
    return [item async for item in value] if isinstance(value, AsyncIterator) else value
