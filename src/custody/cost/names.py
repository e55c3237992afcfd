"""What vendors, tiers and regions are called, and the closed lists that they are resolved to.

Many names for one thing are taken; a thing that is not on the list is None here, and a null with its reason
in the price.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, NamedTuple


class When(NamedTuple):
    """When a call was made, in UTC. ``at`` is None where only the day is known."""

    day: date
    at: datetime | None


_VENDORS = {
    "openai": "openai",
    "azure": "azure azureopenai azureopenaiservice azureaifoundry microsoftfoundry azureaiopenai azureaiinference "
    "azureai microsoft foundry",
    "anthropic": "anthropic claude",
    "google": "google gemini googlegemini googlegeminiapi geminiapi googleai googleaistudio aistudio gcpgemini "
    "googlegenai googlegla",
    "vertexai": "vertexai vertex googlevertex googlevertexai gcpvertexai gcpvertex googlecloudvertexai vertexaibeta",
    "bedrock": "bedrock aws awsbedrock amazonbedrock amazon bedrockruntime bedrockconverse",
    "openrouter": "openrouter",
    "deepseek": "deepseek",
    "groq": "groq",
    "mistral": "mistral mistralai",
    "cohere": "cohere",
    "together": "together togetherai",
    "fireworks": "fireworks fireworksai",
    "x-ai": "xai grok",
    "perplexity": "perplexity perplexityai",
    "voyageai": "voyage voyageai",
    "moonshotai": "moonshot moonshotai kimi",
    "cerebras": "cerebras",
    "novita": "novita novitaai",
    "zai": "zai",
    "minimax": "minimax",
}
_BY_NAME = {alias: vendor for vendor, aliases in _VENDORS.items() for alias in aliases.split()}


def squeezed(text: Any) -> str:
    """Lower case, letters and digits only."""
    word = str(text)
    return _squeezed(word) if len(word) <= 100 else _squeezed.__wrapped__(word)


@lru_cache(maxsize=1024)
def _squeezed(word: str) -> str:
    return re.sub(r"[^a-z0-9]", "", word.lower())


def vendor(name: Any) -> str | None:
    """The vendor by any of its usual names."""
    if not isinstance(name, str):
        return None
    return _vendor(name) if len(name) <= 100 else _vendor.__wrapped__(name)


@lru_cache(maxsize=1024)
def _vendor(name: str) -> str | None:
    return _BY_NAME.get(squeezed(name))


_TIERS = {
    "standard": "standard default ondemand none",
    "flex": "flex ondemandflex",
    "priority": "priority ondemandpriority",
    "fast": "fast",
    "batch": "batch",
    "provisioned": "provisioned provisionedthroughput ptu provisionedmanaged globalprovisionedmanaged "
    "datazoneprovisionedmanaged provisionedmodelthroughput",
    "reserved": "reserved scale",
}
_TIER_BY_NAME = {alias: tier for tier, aliases in _TIERS.items() for alias in aliases.split()}


def tier(name: Any) -> str | None:
    """The served tier; None where the name is not known. ``auto`` is a wish, and no tier."""
    if isinstance(name, dict):  # Bedrock: {"type": "priority"}
        name = name.get("type")
    return _TIER_BY_NAME.get(squeezed(name).removeprefix("servicetier")) if isinstance(name, str) else None


def when(value: Any) -> When | None:
    """A date, a datetime (naive ones are UTC), or either as ISO 8601; None where it is none of these."""
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value) if len(value) <= 10 else datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        at = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return When(at.date(), at)
    return When(value, None) if isinstance(value, date) else None


_PREFIX = re.compile(r"^(?:projects/[^/]+/locations/[^/]+/)?(?:publishers/[^/]+/)?(?:models|tunedModels)/", re.I)
_ROUTED = {
    "openai": ("openai/", "responses/"),
    "azure": ("azure/", "azure_ai/", "openai/"),
    "anthropic": ("anthropic/",),
    "google": ("gemini/", "google/"),
    "vertexai": ("vertex_ai/", "google/", "anthropic/"),
    "bedrock": ("bedrock/", "converse/", "invoke/", "amazon-bedrock/"),
    "openrouter": ("openrouter/",),
    "deepseek": ("deepseek/",),
    "mistral": ("mistral/", "mistralai/"),
    "x-ai": ("xai/", "x-ai/"),
    "cohere": ("cohere/", "cohere_chat/"),
    "perplexity": ("perplexity/",),
}


def model(vendor: str, name: Any) -> str | None:
    """A model's name in lower case, without the path or the router's prefix that it was asked for by."""
    if not isinstance(name, str):
        return None
    return _model(vendor, name) if len(name) <= 100 else _model.__wrapped__(vendor, name)


@lru_cache(maxsize=1024)
def _model(vendor: str, name: str) -> str | None:
    if not name.strip():
        return None
    short = _PREFIX.sub("", name.strip()).lower()
    for prefix in _ROUTED.get(vendor, ()) * 2:
        rest = short.removeprefix(prefix)
        short = rest if rest and not (vendor == "openrouter" and "/" not in rest) else short
    return short


def is_location(region: Any) -> bool:
    """Whether a region is one of Google Cloud's locations ("us-central1")."""
    return isinstance(region, str) and re.fullmatch(r"[a-z]+-[a-z]+\d{1,2}", region.lower()) is not None
