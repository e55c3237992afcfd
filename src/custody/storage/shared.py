"""A session in a folder that several workers share, on one machine or on many with a network file system.

Locks and claims are leases (``leases``), not the kernel's: those of a network file system are not always passed on to
the other machines. The kernel's locks are held besides, so that a start that knows no workers keeps out.
"""

from __future__ import annotations

from pathlib import Path

from custody.storage import Lock
from custody.storage.leases import Held, Leases
from custody.storage.local import LocalStorage


class SharedLocalStorage(LocalStorage):
    """A ``LocalStorage`` whose locks and claims are leases of ``worker``. Raises UsageError as that one does."""

    def __init__(self, root: Path, worker: str, *, create: bool = True, seconds: float | None = None) -> None:
        super().__init__(root, create=create)
        self.leases = Leases(self, worker, seconds=seconds)

    def lock(self, name: str, *, shared: bool = False) -> Lock | None:
        kernel = super().lock(name, shared=shared)
        if kernel is None:
            return None
        try:
            lease = self.leases.lock(name, shared)
        except BaseException:
            kernel.release()
            raise
        if lease is None:
            kernel.release()
            return None
        return _Both(kernel, lease)

    def claim(self, name: str, token: bytes) -> Lock | None:
        return self.leases.claim(name, token)


class _Both:
    def __init__(self, kernel: Lock, lease: Held) -> None:
        self._kernel, self._lease = kernel, lease

    def release(self) -> None:
        self._lease.release()
        self._kernel.release()
