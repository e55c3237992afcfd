"""The OpenAI SDK: against OpenAI, Azure, and the vendors that only speak its protocol."""

from __future__ import annotations

import re
from typing import Any

from wireplay.drivers.base import CannotAsk
from wireplay.drivers.stainless import Stainless
from wireplay.recordings import Recorded

_METHODS = {
    ("POST", "/chat/completions"): "chat.completions.create",
    ("POST", "/completions"): "completions.create",
    ("POST", "/responses"): "responses.create",
    ("POST", "/embeddings"): "embeddings.create",
    ("POST", "/images/generations"): "images.generate",
    ("POST", "/assistants"): "beta.assistants.create",
    ("GET", "/assistants/(?P<assistant_id>[^/]+)"): "beta.assistants.retrieve",
    ("POST", "/threads"): "beta.threads.create",
    ("POST", "/threads/(?P<thread_id>[^/]+)/messages"): "beta.threads.messages.create",
    ("GET", "/threads/(?P<thread_id>[^/]+)/messages"): "beta.threads.messages.list",
    ("POST", "/threads/(?P<thread_id>[^/]+)/runs"): "beta.threads.runs.create",
    ("GET", "/threads/(?P<thread_id>[^/]+)/runs/(?P<run_id>[^/]+)"): "beta.threads.runs.retrieve",
    (
        "POST",
        "/threads/(?P<thread_id>[^/]+)/runs/(?P<run_id>[^/]+)/submit_tool_outputs",
    ): "beta.threads.runs.submit_tool_outputs",
}


class OpenAI(Stainless):
    sdk = "openai"
    plugin = "openai"
    hosts = r"api\.(openai|deepseek|groq)\.com|api\.together\.(ai|xyz)"
    methods = _METHODS

    def path(self, recorded: Recorded) -> str:
        return re.sub("^(/openai)?/(v1|beta)(?=/)", "", recorded.path)

    def make_client(self, recorded: Recorded, *, asynchronous: bool) -> Any:
        import openai

        base = recorded.parts._replace(path=recorded.path.removesuffix(self.path(recorded)), query="").geturl()
        kind = openai.AsyncOpenAI if asynchronous else openai.OpenAI
        return self.client((kind, base), lambda: kind(api_key="played", base_url=base))


class Azure(Stainless):
    sdk = "openai"
    plugin = "openai"
    hosts = r".*\.openai\.azure\.com"
    methods = _METHODS

    def path(self, recorded: Recorded) -> str:
        return re.sub("^/openai/deployments/[^/]+", "", recorded.path)

    def make_client(self, recorded: Recorded, *, asynchronous: bool) -> Any:
        import openai

        kind = openai.AsyncAzureOpenAI if asynchronous else openai.AzureOpenAI
        deployment = re.match("/openai/deployments/([^/]+)/", recorded.path)
        if deployment is None:
            raise CannotAsk("no deployment in the path")
        asked = (recorded.host, recorded.query["api-version"], deployment[1])
        return self.client(
            (kind, asked),
            lambda: kind(
                azure_endpoint=f"https://{asked[0]}", api_version=asked[1], azure_deployment=asked[2], api_key="played"
            ),
        )
