"""Which names and which parts of a URL are secrets."""

from __future__ import annotations

import pytest
from custody_litellm.withheld import address, is_withheld, without_secrets


@pytest.mark.parametrize(
    "name",
    "max_tokens max_completion_tokens max_tokens_per_doc stop_token_ids eos_token keywords compass author "
    "prompt_cache_key langfuse_prompt_version api_version region_name temperature address dimensions".split(),
)
def test_names_of_no_secrets(name: str) -> None:
    assert not is_withheld(name)


@pytest.mark.parametrize(
    "name",
    "pw userPass PASSWORD X-Api-Key APIKey accesskey azure_ad_token_provider auth oauth s3_key jwt cookies".split(),
)
def test_names_of_secrets(name: str) -> None:
    assert is_withheld(name)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://gate.example/v1", "https://gate.example/v1"),
        ("https://u:canary@gate.example/v1/?key=canary&alt=sse", "https://gate.example/v1/?key=&alt=sse"),
        ("https://canary@[::1]:8080/v1?canary", "https://[::1]:8080/v1"),
        ("u:canary@gate.example/v1", "gate.example/v1"),
        ("https://u:canary/canary@gate.example/v1", "https://"),  # no valid URL: where the password ends is unknown
        ("https://u:canary#canary@gate.example", "https://"),
        ("https://[canary", "https://"),
    ],
)
def test_a_url_keeps_what_says_who_is_asked(url: str, kept: str) -> None:
    assert address(url) == kept


def test_urls_inside_of_a_text() -> None:
    said = "huggingface/https://u:canary@a.example/x and redis://:canary@b.example:6379/0"
    assert without_secrets(said) == "huggingface/https://a.example/x and redis://b.example:6379/0"
    assert without_secrets("key=value: no URL") == "key=value: no URL"
