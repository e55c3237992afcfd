"""Whether several writers, on whatever machines, may share a session."""

from __future__ import annotations

from custody.errors import SeveralWritersRefused
from custody.storage import Capable, Storage


def require_put_if_absent(storage: Storage) -> None:
    """Raises SeveralWritersRefused, with the reason, where the storage cannot keep writers apart. A storage that says
    nothing of its capabilities has passed the contract, and is trusted."""
    if isinstance(storage, Capable) and not storage.capabilities.put_if_absent:
        raise SeveralWritersRefused(
            f"{storage.url}: this storage cannot keep several writers apart ({storage.capabilities.why_not}). "
            "One writer at a time works here; for several, give each its own session and its own part of the plan"
        )
