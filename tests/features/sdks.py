"""How each SDK asks one question of the simulator: a client, the question, and the same with asyncio.

Nothing is imported before it is used, so that a program may choose when an SDK comes.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

CLAUDE = "claude-sonnet-4-6"
GEMINI = "gemini-2.5-flash"
NOVA = "amazon.nova-micro-v1:0"
PLACE = "projects/a-project/locations/europe-west4"
KEY = "simulated-key"


class Sdk:
    """One SDK. `timeout` is in seconds; no client asks again by itself."""

    name = ""
    module = ""
    asynchronous = True

    def client(self, url: str, timeout: float) -> Any:
        """A synchronous client that is led to `url`."""
        raise NotImplementedError

    def ask(self, client: Any, text: str) -> str:
        """The text that the vendor answers."""
        raise NotImplementedError

    def aclient(self, url: str, timeout: float) -> Any:
        """A client for asyncio."""
        raise NotImplementedError

    async def aask(self, client: Any, text: str) -> str:
        """The text that the vendor answers."""
        raise NotImplementedError

    def forked(self) -> None:
        """In a child: let go of what it shares with its parent."""

    @contextlib.contextmanager
    def opened(self, url: str, timeout: float = 20.0) -> Iterator[Any]:
        """A client that is closed at the end."""
        with self.client(url, timeout) as client:
            yield client

    @contextlib.asynccontextmanager
    async def aopened(self, url: str, timeout: float = 20.0) -> AsyncIterator[Any]:
        """A client for asyncio that is closed at the end."""
        async with self.aclient(url, timeout) as client:
            yield client


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


class OpenAI(Sdk):
    name = module = "openai"

    def client(self, url: str, timeout: float) -> Any:
        made = importlib.import_module("openai").OpenAI
        return made(base_url=f"{url}/v1", api_key=KEY, timeout=timeout, max_retries=0)

    def ask(self, client: Any, text: str) -> str:
        made = client.chat.completions.create(model="gpt-4o", messages=user(text))
        return str(made.choices[0].message.content)

    def aclient(self, url: str, timeout: float) -> Any:
        made = importlib.import_module("openai").AsyncOpenAI
        return made(base_url=f"{url}/v1", api_key=KEY, timeout=timeout, max_retries=0)

    async def aask(self, client: Any, text: str) -> str:
        made = await client.chat.completions.create(model="gpt-4o", messages=user(text))
        return str(made.choices[0].message.content)


class Anthropic(Sdk):
    name = module = "anthropic"

    def client(self, url: str, timeout: float) -> Any:
        made = importlib.import_module("anthropic").Anthropic
        return made(base_url=url, api_key=KEY, timeout=timeout, max_retries=0)

    def ask(self, client: Any, text: str) -> str:
        return str(client.messages.create(model=CLAUDE, max_tokens=50, messages=user(text)).content[0].text)

    def aclient(self, url: str, timeout: float) -> Any:
        made = importlib.import_module("anthropic").AsyncAnthropic
        return made(base_url=url, api_key=KEY, timeout=timeout, max_retries=0)

    async def aask(self, client: Any, text: str) -> str:
        made = await client.messages.create(model=CLAUDE, max_tokens=50, messages=user(text))
        return str(made.content[0].text)


class GoogleGenAI(Sdk):
    name, module = "google-genai", "google.genai"

    def client(self, url: str, timeout: float) -> Any:
        genai = importlib.import_module("google.genai")
        once = genai.types.HttpRetryOptions(attempts=1)
        options = genai.types.HttpOptions(base_url=url, timeout=int(timeout * 1000), retry_options=once)
        return genai.Client(vertexai=False, api_key=KEY, http_options=options)

    def ask(self, client: Any, text: str) -> str:
        return str(client.models.generate_content(model=GEMINI, contents=text).text)

    def aclient(self, url: str, timeout: float) -> Any:
        return self.client(url, timeout).aio

    async def aask(self, client: Any, text: str) -> str:
        return str((await client.models.generate_content(model=GEMINI, contents=text)).text)


class AIPlatform(Sdk):
    """Over REST: gRPC must not be forked, and its asyncio client is tested with its plugin."""

    name, module = "aiplatform", "google.cloud.aiplatform"
    asynchronous = False

    def client(self, url: str, timeout: float) -> Any:
        base = importlib.import_module("google.cloud.aiplatform_v1.services.prediction_service")
        credentials = importlib.import_module("google.oauth2.credentials").Credentials("a-token-that-is-not-real")
        made = base.PredictionServiceClient(
            transport="rest", credentials=credentials, client_options={"api_endpoint": url}
        )
        made.patience = timeout
        return made

    def ask(self, client: Any, text: str) -> str:
        contents = [{"role": "user", "parts": [{"text": text}]}]
        name = f"{PLACE}/publishers/google/models/{GEMINI}"
        made = client.generate_content(model=name, contents=contents, timeout=client.patience)
        return str(made.candidates[0].content.parts[0].text)


class LiteLLM(Sdk):
    name = module = "litellm"

    def forked(self) -> None:
        """It keeps the clients itself, and with them their connections."""
        importlib.import_module("litellm").in_memory_llm_clients_cache.flush_cache()

    def client(self, url: str, timeout: float) -> Any:
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        given = {"model": "anthropic/claude-sonnet-4-5", "api_base": url, "api_key": KEY}
        return contextlib.nullcontext({**given, "timeout": timeout, "max_retries": 0})

    def ask(self, client: Any, text: str) -> str:
        made = importlib.import_module("litellm").completion(messages=user(text), **client)
        return str(made.choices[0].message.content)

    def aclient(self, url: str, timeout: float) -> Any:
        return self.client(url, timeout)

    async def aask(self, client: Any, text: str) -> str:
        made = await importlib.import_module("litellm").acompletion(messages=user(text), **client)
        return str(made.choices[0].message.content)


class Boto3(Sdk):
    name = module = "boto3"
    asynchronous = False

    def client(self, url: str, timeout: float) -> Any:
        config = importlib.import_module("botocore.config").Config(
            retries={"total_max_attempts": 1}, read_timeout=timeout
        )
        made = importlib.import_module("boto3").session.Session(
            aws_access_key_id="AKIDSIMULATED", aws_secret_access_key="simulated-secret-key"
        )
        client = made.client("bedrock-runtime", region_name="us-east-1", endpoint_url=url, config=config)
        return contextlib.closing(client)

    def ask(self, client: Any, text: str) -> str:
        answer = client.converse(modelId=NOVA, messages=[{"role": "user", "content": [{"text": text}]}])
        return str(answer["output"]["message"]["content"][0]["text"])


class MistralAI(Sdk):
    name = module = "mistralai"

    def client(self, url: str, timeout: float) -> Any:
        try:
            made = importlib.import_module("mistralai.client").Mistral
        except (ImportError, AttributeError):  # before 2.0
            made = importlib.import_module("mistralai").Mistral
        return made(api_key=KEY, server_url=url, timeout_ms=int(timeout * 1000))

    def ask(self, client: Any, text: str) -> str:
        made = client.chat.complete(model="mistral-small-2506", messages=user(text))
        return str(made.choices[0].message.content)

    def aclient(self, url: str, timeout: float) -> Any:
        return self.client(url, timeout)

    async def aask(self, client: Any, text: str) -> str:
        made = await client.chat.complete_async(model="mistral-small-2506", messages=user(text))
        return str(made.choices[0].message.content)


class Cohere(Sdk):
    name = module = "cohere"

    def client(self, url: str, timeout: float) -> Any:
        return importlib.import_module("cohere").ClientV2(api_key=KEY, base_url=url, timeout=timeout)

    def ask(self, client: Any, text: str) -> str:
        made = client.chat(model="command-a-03-2025", messages=user(text), request_options={"max_retries": 0})
        return str(made.message.content[0].text)

    def aclient(self, url: str, timeout: float) -> Any:
        return importlib.import_module("cohere").AsyncClientV2(api_key=KEY, base_url=url, timeout=timeout)

    async def aask(self, client: Any, text: str) -> str:
        made = await client.chat(model="command-a-03-2025", messages=user(text), request_options={"max_retries": 0})
        return str(made.message.content[0].text)


SDKS: dict[str, Sdk] = {
    sdk.name: sdk
    for sdk in (OpenAI(), Anthropic(), GoogleGenAI(), AIPlatform(), LiteLLM(), Boto3(), MistralAI(), Cohere())
}
