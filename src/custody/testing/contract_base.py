"""What the parts of ``StorageContract`` share: its fixtures, and what does not apply."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest

from custody.storage import Storage
from custody.testing.second_process import Opener, installed

THREADS = 16

CAPABILITIES = ("shared_log", "lock", "shared_lock", "claim", "reopen", "url", "processes")


class Contract:
    """Attributes:
    not_applicable: what this storage does not have (one of ``CAPABILITIES``), each with the reason; its tests are
        skipped with it. ``url``: it is not opened by a URL; ``processes``: other processes cannot open it.
    freed_within: seconds after which a lock or claim is free whose holder was killed. Leases of ``custody.plugin`` take
        one second here.
    clock_skew: seconds by which the server's clock may differ from this machine's.
    listing_seconds: for which objects are stored for a long listing, until there are 1001.
    """

    not_applicable: ClassVar[Mapping[str, str]] = {}
    freed_within: ClassVar[float] = 10.0
    clock_skew: ClassVar[float] = 0.0
    listing_seconds: ClassVar[float] = 3.0

    @pytest.fixture
    def storage(self) -> Storage:
        """A fresh, empty storage."""
        raise NotImplementedError("override the fixture 'storage': a fresh, empty Storage")

    @pytest.fixture
    def reopen(self) -> Callable[[], Storage] | None:
        """Opens the bytes of ``storage`` once more, as another object."""
        return None

    @pytest.fixture
    def opener(self) -> Opener:
        """Opens a URL as custody does, ``opener(url, create=False)``: by default, by the plugins that are installed.
        For a plugin that is not: its bound method ``open_storage``, or a function at the top of a module. It is
        pickled, so that another process can open the same."""
        return installed

    @pytest.fixture
    def outage(self) -> Callable[[], object] | None:
        """Makes all that ``storage`` writes from now on fail, as where its service is down; None where a test cannot
        do that."""
        return None

    def _needs(self, *capabilities: str) -> None:
        for name in capabilities:
            if name in self.not_applicable:
                pytest.skip(f"{name}: {self.not_applicable[name]}")

    def _again(self, reopen: Callable[[], Storage] | None) -> Storage:
        self._needs("reopen")
        if reopen is None:
            pytest.fail("override the fixture 'reopen', or say in not_applicable['reopen'] why this cannot be")
        return reopen()


def at_once(work: Callable[[int], Any], threads: int = THREADS) -> list[Any]:
    """The results of threads that start together, by thread."""
    barrier = threading.Barrier(threads)

    def run(number: int) -> Any:
        barrier.wait(timeout=30)
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))


def written(storage: Storage, name: str, pieces: list[bytes]) -> None:
    """A closed log in which each piece was synced."""
    log = storage.create_log(name)
    for piece in pieces:
        log.append(piece)
        log.sync()
    log.close()


def size_of(storage: Storage, name: str) -> int | None:
    """As it is listed; None where it is not."""
    return next((entry.size for entry in storage.list(name) if entry.name == name), None)
