"""What the tests of the journal share."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

_SESSIONS = runpy.run_path(str(Path(__file__).with_name("sessions.py")))


@pytest.fixture
def written() -> Any:
    """The class that writes sessions line by line."""
    return _SESSIONS["Written"]


@pytest.fixture
def numbered() -> Any:
    """The identity of a call by its number."""
    return _SESSIONS["identity"]
