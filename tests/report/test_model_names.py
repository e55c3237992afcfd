"""Names of one model, written in many ways, are one family; names of two models are two."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.report.model_names import parse, same_family, same_snapshot

ONE_FAMILY = [
    ("gpt-4o", "gpt-4o-2024-08-06"),
    ("gpt-4", "gpt-4-0613"),
    ("gpt-3.5-turbo", "gpt-3.5-turbo-0125"),
    ("gpt-35-turbo", "gpt-3.5-turbo-0125"),  # Azure's spelling
    ("openai/gpt-4o", "gpt-4o-2024-08-06"),  # litellm, OpenRouter
    ("openai/gpt-4o-mini:free", "gpt-4o-mini-2024-07-18"),
    ("gpt-4-vision-preview", "gpt-4-1106-vision-preview"),  # seen in real traffic, as are the next three
    ("text-embedding-ada-002", "text-embedding-ada-002-v2"),
    ("davinci-002", "davinci:2023-07-21-v2"),
    ("anthropic.claude-v2", "claude-2.0"),
    ("anthropic.claude-v2%3A1", "claude-2.1"),
    ("gpt-4-turbo-preview", "gpt-4-0125-preview"),
    ("ft:gpt-4o-mini:acme::abc", "ft:gpt-4o-mini-2024-07-18:acme::abc"),
    ("models/gemini-2.5-pro", "gemini-2.5-pro"),
    ("gemini-1.5-pro", "gemini-1.5-pro-002"),
    ("gemini-2.5-flash", "gemini-2.5-flash-preview-05-20"),
    ("gemini-2.5-flash", "models/gemini-2.5-flash-preview-09-2025"),
    ("gemini-flash-latest", "gemini-2.5-flash-preview-09-2025"),
    ("publishers/google/models/gemini-2.5-pro", "gemini-2.5-pro"),
    ("projects/p/locations/us-east5/publishers/anthropic/models/claude-sonnet-4@20250514", "claude-sonnet-4-20250514"),
    ("claude-3-5-sonnet-v2@20241022", "claude-3-5-sonnet-20241022"),
    ("claude-3-5-sonnet-latest", "claude-3-5-sonnet-20241022"),
    ("claude-sonnet-4-0", "claude-sonnet-4-20250514"),
    ("anthropic/claude-3.5-sonnet", "claude-3-5-sonnet-20241022"),
    ("us.anthropic.claude-3-5-sonnet-20240620-v1:0", "claude-3-5-sonnet-20240620"),
    ("anthropic.claude-3-haiku-20240307-v1%3A0", "claude-3-haiku-48k-20240307"),
    ("arn:aws:bedrock:us-east-1:012345678901:inference-profile/eu.anthropic.claude-sonnet-4-20250514-v1:0",
     "claude-sonnet-4-20250514"),
    ("mistral-large-latest", "mistral-large-2411"),
    ("mistral-medium-latest", "mistral-medium-3.1"),
    ("command-r", "command-r-08-2024"),
    ("deepseek-r1", "deepseek-r1-0528"),
    ("grok-4", "grok-4-0709"),
    ("accounts/fireworks/models/llama-v3p1-8b-instruct", "llama-v3p1-8b-instruct"),
    ("llama3.2:latest", "llama3.2"),
]  # fmt: skip

TWO_FAMILIES = [
    ("gpt-4o", "gpt-4o-mini"),
    ("gpt-4o", "gpt-4o-mini-2024-07-18"),
    ("gpt-4", "gpt-4.1-2025-04-14"),
    ("gpt-4", "gpt-4-turbo-2024-04-09"),
    ("gpt-4-32k", "gpt-4-0613"),
    ("o1", "o1-mini"),
    ("claude-3-sonnet-20240229", "claude-3-5-sonnet-20240620"),
    ("claude-3-opus-latest", "claude-3-haiku-20240307"),
    ("claude-sonnet-4", "claude-sonnet-4-5-20250929"),
    ("gemini-2.5-pro", "gemini-2.5-flash"),
    ("gemini-1.5-pro", "gemini-2.5-pro"),
    ("gemini-flash-latest", "gemini-2.5-flash-lite"),
    ("text-embedding-3-small", "text-embedding-3-large"),
    ("ft:gpt-4o-mini:acme::abc", "gpt-4o-mini-2024-07-18"),
    ("ft:gpt-4o-mini:acme::abc", "ft:gpt-4o-mini:other::abc"),
    ("deepseek-v3", "deepseek-v2"),
    ("llama3.2:1b", "llama3.2:3b"),
    ("us.anthropic.claude-sonnet-4-20250514-v1:0", "amazon.nova-lite-v1:0"),
]


@pytest.mark.parametrize(("requested", "actual"), ONE_FAMILY)
def test_one_family(requested: str, actual: str) -> None:
    assert same_family(parse(requested), parse(actual)), (parse(requested), parse(actual))


@pytest.mark.parametrize(("requested", "actual"), TWO_FAMILIES)
def test_two_families(requested: str, actual: str) -> None:
    assert not same_family(parse(requested), parse(actual)), (parse(requested), parse(actual))


@pytest.mark.parametrize(
    ("name", "snapshot"),
    [
        ("gpt-4o", ""),
        ("gpt-4o-2024-08-06", "20240806"),
        ("gpt-4-0613", "0613"),
        ("claude-sonnet-4@20250514", "20250514"),
        ("gemini-1.5-pro-002", "002"),
        ("mistral-large-2411", "2411"),
        ("command-r-08-2024", "2408"),
        ("amazon.nova-lite-v1:0", "v10"),
        ("llama3-8b-8192", ""),
        ("claude-3-5-haiku-latest", ""),
        ("gpt-4o-2024-13-99", ""),
    ],
)
def test_what_pins_a_name(name: str, snapshot: str) -> None:
    assert parse(name).snapshot == snapshot


@pytest.mark.parametrize(
    ("name", "maker"),
    [
        ("us.anthropic.claude-3-5-haiku-20241022-v1:0", "Anthropic"),
        ("o3-mini", "OpenAI"),
        ("text-embedding-3-large", "OpenAI"),
        ("meta-llama/Llama-3.3-70B-Instruct-Turbo", "Meta"),
        ("Qwen/Qwen2.5-72B-Instruct", "Alibaba"),
        ("openllmetry-testing", ""),
        ("embedding", ""),
        ("opus-magnum", ""),
    ],
)
def test_makers(name: str, maker: str) -> None:
    assert parse(name).maker == maker


def test_what_is_no_models_name() -> None:
    for name in (
        "/opt/ml/model",
        "arn:aws:sagemaker:us-east-1:012345678901:endpoint/quick-start",
        "arn:aws:bedrock:us-east-1:012345678901:application-inference-profile/abc",
        "projects/p/locations/l/endpoints/123",
    ):
        assert parse(name).tokens == ()


def test_snapshots_in_short() -> None:
    assert same_snapshot("0613", "20230613") and same_snapshot("20241118", "2411")
    assert not same_snapshot("20240806", "20240513") and not same_snapshot("0613", "20230614")


names = st.one_of(
    st.text(max_size=60),
    st.from_regex(r"[a-z]{2,8}(-[a-z0-9.]{1,6}){0,4}", fullmatch=True),
)


@given(names)
def test_a_name_is_of_its_own_family_whatever_it_is(name: str) -> None:
    parsed = parse(name)
    assert same_family(parsed, parsed)
    assert same_snapshot(parsed.snapshot, parsed.snapshot)


@given(st.sampled_from(ONE_FAMILY), st.sampled_from(("models/", "openai/", "a/b/")))
def test_a_route_does_not_change_the_family(pair: tuple[str, str], route: str) -> None:
    requested, actual = pair
    if requested.startswith(("arn:", "projects/", "ft:")):
        return
    assert same_family(parse(route + requested), parse(actual))
    assert parse(requested.upper()) == parse(requested)


@given(
    st.sampled_from(["gpt-4o", "claude-opus-4-1", "some-model", "gemini-2.5-pro"]),
    st.dates(date(2023, 1, 1), date(2099, 12, 31)),
)
def test_any_date_pins_the_name_and_nothing_else(name: str, day: date) -> None:
    iso = day.isoformat()
    for dated in (f"{name}-{iso}", f"{name}-{iso.replace('-', '')}", f"{name}@{iso.replace('-', '')}"):
        assert parse(dated).tokens == parse(name).tokens
        assert parse(dated).snapshot == iso.replace("-", "")
