"""litellm as a program finds it: no price map from the network, nothing kept from the test before."""

from __future__ import annotations

import gc
import importlib.metadata
import os
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from custody.testing.simulator import Simulator

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

MADE_UP = re.compile(
    r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}|resp_bGl0ZWxsbTp[\w+/=-]+"
)  # which is "litellm:" and an id in base64
MODELS = {
    "openai": "openai/gpt-4o",
    "anthropic": "anthropic/claude-sonnet-4-5",
    "gemini": "gemini/gemini-2.0-flash",
    "azure": "azure/gpt-4o",
    "groq": "groq/openai/gpt-oss-20b",
    "mistral": "mistral/mistral-small-latest",
    "ollama_chat": "ollama_chat/qwen3",
    "bedrock": "bedrock/anthropic.claude-3-5-sonnet-20240620-v1:0",
}

# litellm's own, and of the versions of pydantic and asyncio it runs on; everything else is an error.
WARNINGS = (
    "ignore:.*ReadOnly.*:UserWarning",
    "ignore:Pydantic serializer warnings:UserWarning",
    "ignore:There is no current event loop:DeprecationWarning",
    "ignore:Accessing the 'model_:DeprecationWarning",
    "ignore:The `dict` method is deprecated:DeprecationWarning",
    "ignore:no running event loop:RuntimeWarning",
    "ignore:unclosed:ResourceWarning",
    "ignore:Unclosed:ResourceWarning",
    "ignore:coroutine 'LoggingWorker:RuntimeWarning",
    "ignore:Exception ignored in. <coroutine object LoggingWorker:pytest.PytestUnraisableExceptionWarning",
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let litellm's own warnings pass in the tests of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for warning in WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture
def litellm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The SDK, with its caches empty and its module-level settings as they are after import."""
    module = pytest.importorskip("litellm", reason="litellm is not installed in this environment")
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE", "ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("cache", "num_retries", "model_fallbacks", "api_key", "api_base"):
        monkeypatch.setattr(module, name, None)
    monkeypatch.setattr(module, "suppress_debug_info", True)
    module.in_memory_llm_clients_cache.flush_cache()
    yield module
    module.cache = None
    module.in_memory_llm_clients_cache.flush_cache()
    with warnings.catch_warnings():  # litellm leaves its clients to the garbage collector, open
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture
def led(sim: Simulator) -> Callable[..., dict[str, Any]]:
    """Model and credentials of a vendor by its name in litellm, led to the simulator."""

    def arguments(vendor: str, model: str = "", **more: Any) -> dict[str, Any]:
        base = sim.openai_base_url if vendor in ("openai", "groq", "mistral") else sim.url
        given: dict[str, Any] = {"model": model or MODELS[vendor], "api_key": "sk-simulator", "api_base": base}
        if vendor == "gemini":
            given["api_base"] = f"{sim.url}/v1beta"
        if vendor == "azure":
            given["api_version"] = "2024-10-21"
        if vendor == "bedrock":
            del given["api_key"], given["api_base"]
            given |= {
                "aws_access_key_id": "AKIAIOSFODNN7EXAMPLE",
                "aws_secret_access_key": "simulator-secret",
                "aws_region_name": "us-east-1",
                "aws_bedrock_runtime_endpoint": sim.url,
            }
        return {**given, **more}

    return arguments


@pytest.fixture
def at_least(litellm: Any) -> Callable[[str, str], None]:
    """Skips where litellm itself, without custody, cannot do what the test asks of it."""

    def skip_below(version: str, reason: str) -> None:
        have = importlib.metadata.version("litellm")
        if Version(have) < Version(version):
            pytest.skip(f"litellm {have} {reason}")

    return skip_below


@pytest.fixture
def told() -> Callable[[Any], Any]:
    """A result without what litellm makes up itself: the time of day and its random ids."""
    return plain


def plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        value = value.model_dump(warnings=False)
    if isinstance(value, dict):
        return {k: 0 if k in ("created", "created_at", "_response_ms") else plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return MADE_UP.sub("made-up", value) if isinstance(value, str) else value
