"""For all tests: whom they trust, and which of them begin first.

The only certificate authority is one whose key was thrown away. No test can reach a vendor over TLS, and no client of
an SDK loads a hundred authorities: with them, every second of the suite's time went into that.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ["SSL_CERT_FILE"] = str(Path(__file__).parent / "tests" / "nobody.pem")
os.environ.pop("SSL_CERT_DIR", None)

LONGEST = (
    "tests/conformance/test_conformance", "tests/faults/test_kill", "plugins/custody-fsspec/tests/test_behind",
    "plugins/custody-fsspec/tests/test_s3_workers", "plugins/custody-fsspec/tests/test_sessions",
    "tests/faults/", "tests/features/",
    "tests/flow/test_processes", "tests/flow/test_fanned_out", "tests/flow/", "tests/docs/", "tests/contract/",
    "tests/engines/",
)  # fmt: skip
"""What takes long in one file begins first, lest one worker be left with it at the end while the others are done."""


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False  # by number of tests: the longest files have the fewest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: next((n for n, one in enumerate(LONGEST) if item.nodeid.startswith(one)), 99))
