"""A session in a folder that several workers share, on one machine or on many with a network file system.

Locks and claims are leases (``leases``), not the kernel's: those of a network file system are not always passed on to
the other machines. The kernel's locks are held besides, so that a start that knows no workers keeps out.
"""

from __future__ import annotations

from pathlib import Path

from custody.storage import Lock
from custody.storage.leases import Leases
from custody.storage.local import LocalStorage


class SharedLocalStorage(LocalStorage):
    """A ``LocalStorage`` whose locks and claims are leases of ``worker``. Raises UsageError as that one does."""

    def __init__(self, root: Path, worker: str, *, create: bool = True, seconds: float | None = None) -> None:
        super().__init__(root, create=create)
        self.leases = Leases(self, worker, seconds=seconds)

    def lock(self, name: str, *, shared: bool = False) -> Lock | None:
        return self.leases.lock(name, shared)

    def claim(self, name: str, token: bytes) -> Lock | None:
        return self.leases.claim(name, token)

    def kernel_lock(self, name: str, *, shared: bool) -> Lock | None:
        """The lock that a start on this machine asks for which knows no workers."""
        return super().lock(name, shared=shared)
