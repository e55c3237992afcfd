"""Google's SDKs: google-genai for both of its hosts, and google-cloud-aiplatform over REST."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

from wireplay.drivers.base import CannotAsk, Driver, is_asynchronous, module
from wireplay.recordings import Recorded

_MODEL = re.compile(
    r"/(?P<version>v1\w*)/(?:projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)/publishers/google/)?"
    r"models/(?P<model>[^:/]+):(?P<verb>\w+)"
)


class GenAI(Driver):
    """The method with typed arguments; where the recorded body is not what the types allow, the SDK's own
    ``request`` with the body as it is."""

    sdk = "google-genai"
    plugin = "google"
    hosts = r"generativelanguage\.googleapis\.com|.+-aiplatform\.googleapis\.com"

    @classmethod
    def takes(cls, recorded: Recorded) -> bool:
        """Not those that asked for enums as numbers, as only google-cloud-aiplatform does and understands."""
        return super().takes(recorded) and "$alt" not in recorded.query

    def drive(self, recorded: Recorded) -> Any:
        import pydantic

        asynchronous = is_asynchronous(recorded)
        client = self._client(recorded)
        self.way = "method"
        try:
            result = self._asked(client.aio if asynchronous else client, recorded)
        except pydantic.ValidationError:
            self.way = "request"
            result = self._requested(client, recorded, asynchronous=asynchronous)
        return self.wait(_drained(result)) if asynchronous else _read(result)

    def _client(self, recorded: Recorded) -> Any:
        genai, credentials = module("google.genai"), module("google.oauth2.credentials")
        match = _MODEL.fullmatch(recorded.path)
        options = {"api_version": recorded.path.split("/")[1]}
        if match is None or match["project"] is None:
            return self.client(options["api_version"], lambda: genai.Client(api_key="played", http_options=options))
        where = {"project": match["project"], "location": match["location"]}
        return self.client(
            (*where.values(), *options.values()),
            lambda: genai.Client(
                vertexai=True, credentials=credentials.Credentials(token="played"), http_options=options, **where
            ),
        )

    def _asked(self, client: Any, recorded: Recorded) -> Any:
        from google.genai import types

        body = dict(recorded.request_json)
        if recorded.path.endswith("/interactions"):
            return client.interactions.create(**body)
        if recorded.path.endswith("/cachedContents"):
            model = body.pop("model")
            return client.caches.create(model=model, config=_typed(types.CreateCachedContentConfig, body))
        match = _MODEL.fullmatch(recorded.path)
        if match is None:
            raise CannotAsk(f"no method for {recorded.path}")
        if match["verb"] == "batchEmbedContents":
            contents = [_typed(types.Content, one.pop("content")) for one in map(dict, body["requests"])]
            config = {k: v for k, v in body["requests"][0].items() if k not in ("content", "model")}
            config = _typed(types.EmbedContentConfig, config)
            return client.models.embed_content(model=match["model"], contents=contents, config=config)
        contents = [_typed(types.Content, content) for content in body.pop("contents")]
        config = _typed(types.GenerateContentConfig, {**body.pop("generationConfig", {}), **body})
        verb = {"generateContent": "generate_content", "streamGenerateContent": "generate_content_stream"}[
            match["verb"]
        ]
        return getattr(client.models, verb)(model=match["model"], contents=contents, config=config)

    def _requested(self, client: Any, recorded: Recorded, *, asynchronous: bool) -> Any:
        path = recorded.path.split("/", 2)[2]
        stream = "stream" in path or bool(recorded.request_json.get("stream"))
        name = f"{'async_' if asynchronous else ''}request{'_streamed' if stream else ''}"
        return getattr(client._api_client, name)("post", f"{path}?alt=sse" if stream else path, recorded.request_json)

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
            self.wait(client.aio.aclose())
        self._clients.clear()


class AIPlatform(Driver):
    """``vertexai.generative_models`` over REST."""

    sdk = "google-cloud-aiplatform"
    plugin = "vertexai"
    hosts = r".+-aiplatform\.googleapis\.com"

    @classmethod
    def takes(cls, recorded: Recorded) -> bool:
        """Those that asked for enums as numbers. A stream is one JSON array there, and no SSE."""
        return super().takes(recorded) and "$alt" in recorded.query

    def drive(self, recorded: Recorded) -> Any:
        vertexai, credentials = module("vertexai"), module("google.oauth2.credentials")
        match = _MODEL.fullmatch(recorded.path)
        if match is None or match["project"] is None:
            raise CannotAsk(f"no method for {recorded.path}")
        vertexai.init(
            project=match["project"],
            location=match["location"],
            credentials=credentials.Credentials(token="played"),
            api_transport="rest",
            api_endpoint=recorded.host,
        )
        models = module(f"vertexai{'' if match['version'] == 'v1' else '.preview'}.generative_models")
        body = dict(recorded.request_json)
        system = body.pop("systemInstruction", None)
        model = models.GenerativeModel(
            match["model"], system_instruction=models.Content.from_dict(system) if system else None
        )
        config = body.pop("generationConfig", None)
        stream = match["verb"] == "streamGenerateContent"
        contents = [models.Content.from_dict(content) for content in body.pop("contents")]
        tools = [models.Tool.from_dict(_snake(_named_types(tool))) for tool in body.pop("tools", [])]
        if body:
            raise CannotAsk(f"no argument for {', '.join(body)}")
        result = model.generate_content(
            contents,
            generation_config=models.GenerationConfig.from_dict(_snake(config)) if config else None,
            tools=tools or None,
            stream=stream,
        )
        return list(result) if stream else result


def _typed(kind: Any, value: Any) -> Any:
    return kind.model_validate_json(json.dumps(value))


def _named_types(value: Any) -> Any:
    """Schemas with the names of their types: the SDK takes no numbers, though it sends them."""
    names = ("TYPE_UNSPECIFIED", "STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT")
    if isinstance(value, dict):
        return {k: names[v] if k == "type" and isinstance(v, int) else _named_types(v) for k, v in value.items()}
    return [_named_types(one) for one in value] if isinstance(value, list) else value


def _snake(value: Any) -> Any:
    """Names as protocol buffers write them."""
    if isinstance(value, dict):
        return {re.sub("[A-Z]", lambda m: f"_{m[0].lower()}", k): _snake(v) for k, v in value.items()}
    return [_snake(one) for one in value] if isinstance(value, list) else value


def _read(result: Any) -> Any:
    return list(result) if isinstance(result, Iterator) or hasattr(result, "__next__") else result


async def _drained(awaitable: Any) -> Any:
    result = await awaitable
    is_stream = isinstance(result, AsyncIterator) or hasattr(result, "__anext__")
    return [item async for item in result] if is_stream else result
