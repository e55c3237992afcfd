"""One driver for each SDK: it makes the recorded request with the SDK, as a user would."""

from __future__ import annotations

from wireplay.drivers import anthropic, bedrock, cohere, compatible, google, litellm, mistral, openai
from wireplay.drivers.base import Driver

ALL: list[type[Driver]] = [
    openai.OpenAI,
    openai.Azure,
    anthropic.Anthropic,
    google.GenAI,
    google.AIPlatform,
    bedrock.Boto3,
    bedrock.AnthropicBedrock,
    mistral.Mistral,
    cohere.Cohere,
    compatible.Groq,
    compatible.Together,
    compatible.Voyage,
    litellm.LiteLLM,
]
