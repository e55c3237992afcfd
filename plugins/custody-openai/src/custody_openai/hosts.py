"""Who answers at a host. A host that nobody knows is named by itself, not guessed."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from custody.plugin import RequestHead

_BY_SUFFIX = {
    "api.openai.com": "OpenAI",
    "openai.azure.com": "Azure OpenAI",
    "cognitiveservices.azure.com": "Azure OpenAI",
    "services.ai.azure.com": "Azure OpenAI",
    "api.groq.com": "Groq",
    "api.deepseek.com": "DeepSeek",
    "api.together.xyz": "Together",
    "api.together.ai": "Together",
    "openrouter.ai": "OpenRouter",
    "api.x.ai": "xAI",
    "api.mistral.ai": "Mistral",
    "api.fireworks.ai": "Fireworks",
    "api.perplexity.ai": "Perplexity",
    "api.cerebras.ai": "Cerebras",
    "api.sambanova.ai": "SambaNova",
    "api.voyageai.com": "Voyage AI",
    "router.huggingface.co": "Hugging Face",
    "integrate.api.nvidia.com": "NVIDIA",
}

# Vendors with a protocol of their own that serve this one too: only its paths are claimed there.
_SERVES_TOO = (
    (re.compile(r"bedrock-(?:runtime|mantle)(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com|api\.aws)"), "Amazon Bedrock"),
    (re.compile(r"(?:[a-z0-9-]+-)?aiplatform\.googleapis\.com"), "Google Vertex AI"),
    (re.compile(r"generativelanguage\.googleapis\.com"), "Google Gemini API"),
)
_LOCATION = re.compile(r"/locations/([a-z0-9-]+)/")
_OLLAMA_PORT = 11434


class Host(NamedTuple):
    """``known``: everything there is of this protocol, and may be claimed."""

    vendor: str
    known: bool


def name(request: RequestHead) -> Host:
    """The vendor at a request's host."""
    return _named(request.parts.netloc.rpartition("@")[2])


@lru_cache(maxsize=256)
def _named(netloc: str) -> Host:
    parts = urlsplit(f"//{netloc}")
    host = (parts.hostname or "").lower()
    for suffix, vendor in _BY_SUFFIX.items():
        if host == suffix or host.endswith("." + suffix):
            return Host(vendor, True)
    for pattern, vendor in _SERVES_TOO:
        if pattern.fullmatch(host):
            return Host(vendor, False)
    if parts.port == _OLLAMA_PORT:
        return Host("Ollama", True)
    return Host(netloc, False)


def region(request: RequestHead) -> tuple[str, str] | None:
    """The region that a URL names, and where in the URL: OpenAI's, Amazon's and Google's do."""
    parts = request.parts
    return _region(parts.netloc.rpartition("@")[2], parts.path)


@lru_cache(maxsize=256)
def _region(netloc: str, path: str) -> tuple[str, str] | None:
    host = (urlsplit(f"//{netloc}").hostname or "").lower()
    if host in ("us.api.openai.com", "eu.api.openai.com"):
        return host[:2], "host"
    for pattern, vendor in _SERVES_TOO:
        match = pattern.fullmatch(host)
        if match and match.groups():
            return match[1], "host"
        location = _LOCATION.search(path) if match else None
        if location and vendor == "Google Vertex AI":
            return location[1], "path locations"
    return None
