"""What an exchange's URL says of the model, in words that a price list knows."""

from __future__ import annotations

import pytest
from custody_litellm.claims import claim
from custody_litellm.reading import read

from custody.plugin import RequestHead, hookimpl
from custody.testing import sample_exchange


class Everything:
    @hookimpl
    def claim_exchange(self, request: RequestHead) -> object:
        return claim(request)


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse", "anthropic.claude-3-haiku-20240307-v1:0"),
        ("/model/anthropic.claude-3-haiku-20240307-v1:0:48k/invoke", "anthropic.claude-3-haiku-20240307-v1:0:48k"),
        (
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fm/converse",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/m",
        ),
        ("/v1beta/models/gemini-x:generateContent", "gemini-x"),
        ("/openai/deployments/gpt%204o/chat/completions", "gpt 4o"),
    ],
)
def test_the_model_in_a_path_is_decoded(path: str, model: str) -> None:
    exchange = sample_exchange(Everything(), f"https://models.example{path}", request={"messages": []}, body=b"{}")
    requested = read(exchange).findings["requested_model"]
    assert (requested.value, requested.evidence) == (model, "url:path")
