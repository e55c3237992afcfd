"""For authors of plugins, and for tests that must cost nothing.

==================  ================================================================================
StorageContract     tests to inherit for a storage plugin
VendorContract      tests to inherit for a vendor plugin, with ``Drive``, ``Sample``, ``sample_exchange``
simulator           a local HTTP server that speaks OpenAI and Anthropic
==================  ================================================================================

The contracts need pytest (``pip install custody[testing]``), the simulator does not: nothing is imported
before it is asked for. docs/writing-a-plugin.md shows both contracts at work.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from custody.testing.samples import Sample, sample_exchange
    from custody.testing.storage_contract import StorageContract
    from custody.testing.vendor_contract import Drive, VendorContract

__all__ = ["Drive", "Sample", "StorageContract", "VendorContract", "sample_exchange"]

_HOME = {
    "Drive": "custody.testing.vendor_contract",
    "Sample": "custody.testing.samples",
    "StorageContract": "custody.testing.storage_contract",
    "VendorContract": "custody.testing.vendor_contract",
    "sample_exchange": "custody.testing.samples",
}

# Only a running pytest rewrites assertions, and there pytest is imported already.
if "pytest" in sys.modules:
    sys.modules["pytest"].register_assert_rewrite(
        *(f"custody.testing.{part}_contract" for part in ("log", "place", "process", "sharing")),
        *sorted(set(_HOME.values())),
    )


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOME:
        raise AttributeError(f"module 'custody.testing' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
