"""The SDK's client, led to the simulator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

try:
    from mistralai.client import Mistral
except ImportError:  # before 2.0
    from mistralai import Mistral  # type: ignore[attr-defined, no-redef]


@pytest.fixture
def client_of(three_ways: Any) -> Callable[..., Mistral]:
    def make(**options: Any) -> Mistral:
        return Mistral(**{"api_key": "mistral-key", "server_url": three_ways.sim.url, **options})

    return make
