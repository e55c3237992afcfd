"""Groq's, Together's and Voyage's own SDKs."""

from __future__ import annotations

import os
from typing import Any

from wireplay.drivers.base import CannotAsk, Driver, is_asynchronous, module
from wireplay.drivers.stainless import Stainless
from wireplay.recordings import Recorded

_COMPLETIONS = {
    ("POST", "/chat/completions"): "chat.completions.create",
    ("POST", "/completions"): "completions.create",
}


class Groq(Stainless):
    sdk = "groq"
    plugin = "groq"
    hosts = r"api\.groq\.com"
    base = "/openai/v1"
    methods = _COMPLETIONS

    def make_client(self, recorded: Recorded, *, asynchronous: bool) -> Any:
        import groq

        kind = groq.AsyncGroq if asynchronous else groq.Groq
        return self.client(kind, lambda: kind(api_key="played"))


class Together(Stainless):
    sdk = "together"
    plugin = "together"
    hosts = r"api\.together\.(ai|xyz)"
    base = "/v1"
    methods = _COMPLETIONS

    def make_client(self, recorded: Recorded, *, asynchronous: bool) -> Any:
        import together

        kind = together.AsyncTogether if asynchronous else together.Together
        base = f"https://{recorded.host}"
        return self.client((kind, base), lambda: kind(api_key="played", base_url=base))


class Voyage(Driver):
    sdk = "voyageai"
    plugin = "voyage"
    hosts = r"api\.voyageai\.com"

    def drive(self, recorded: Recorded) -> Any:
        voyageai = module("voyageai")
        asynchronous = is_asynchronous(recorded)
        kind = voyageai.AsyncClient if asynchronous else voyageai.Client
        client = self.client(kind, lambda: kind(api_key="played", max_retries=1))
        voyageai.proxy = os.environ["HTTPS_PROXY"]  # its asynchronous client does not look at the environment
        body = dict(recorded.request_json)
        body.pop("encoding_format", None)  # the SDK's own choice
        if recorded.path == "/v1/embeddings":
            result = client.embed(body.pop("input"), **body)
        elif recorded.path == "/v1/rerank":
            result = client.rerank(**body)
        else:
            raise CannotAsk(f"no method for {recorded.path}")
        return self.wait(result) if asynchronous else result
