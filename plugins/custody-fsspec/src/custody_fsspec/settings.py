"""Settings, from environment variables; where the data is, and how to come there, is the client library's own."""

from __future__ import annotations

import os
from dataclasses import dataclass

from custody.plugin import UsageError


@dataclass(frozen=True)
class Settings:
    """Attributes:
    flush: seconds after which a line that nobody syncs is uploaded (``CUSTODY_FSSPEC_FLUSH_MS``).
    patience: seconds for which a request that fails is tried again (``CUSTODY_FSSPEC_RETRY_SECONDS``).
    timeout: seconds that one request may take (``CUSTODY_FSSPEC_TIMEOUT_SECONDS``).
    client: ``obstore``, ``fsspec`` or ``auto`` (``CUSTODY_FSSPEC_CLIENT``).
    behind: this machine first, and the server behind (``CUSTODY_DURABILITY=local-then-remote``).
    waiting: seconds for which the end of a program waits for what is not uploaded (``CUSTODY_UPLOAD_SECONDS``).
    """

    flush: float = 0.05
    patience: float = 10.0
    timeout: float = 30.0
    client: str = "auto"
    behind: bool = False
    waiting: float = 30.0

    @classmethod
    def from_environment(cls) -> Settings:
        """Raises UsageError."""
        client = os.environ.get("CUSTODY_FSSPEC_CLIENT", "auto")
        if client not in ("auto", "obstore", "fsspec"):
            raise UsageError(f"CUSTODY_FSSPEC_CLIENT={client!r}: it is 'obstore', 'fsspec' or 'auto'")
        durability = os.environ.get("CUSTODY_DURABILITY") or "remote"
        if durability not in ("remote", "local-then-remote"):
            raise UsageError(f"CUSTODY_DURABILITY={durability!r}: it is 'remote' or 'local-then-remote'")
        return cls(
            flush=_number("CUSTODY_FSSPEC_FLUSH_MS", cls.flush * 1000) / 1000,
            patience=_number("CUSTODY_FSSPEC_RETRY_SECONDS", cls.patience),
            timeout=_number("CUSTODY_FSSPEC_TIMEOUT_SECONDS", cls.timeout),
            client=client,
            behind=durability == "local-then-remote",
            waiting=_number("CUSTODY_UPLOAD_SECONDS", cls.waiting),
        )


def _number(name: str, default: float) -> float:
    given = os.environ.get(name, "")
    if not given:
        return default
    try:
        number = float(given)
    except ValueError:
        number = -1.0
    if not 0 < number < 1e6:
        raise UsageError(f"{name}={given!r} is not a positive number")
    return number
