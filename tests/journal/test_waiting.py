"""Coroutines wait for one sync together, and each is told what became of its own line."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

import pytest

from custody.errors import StorageError
from custody.journal.waiting import OnLoop, SyncThread


class Disk:
    """Syncs to the number that had been appended when it began; ``lost`` is refused."""

    def __init__(self) -> None:
        self.appended = self.synced = self.syncs = 0
        self.lost: set[int] = set()
        self.go = threading.Event()

    def sync(self, number: int) -> None:
        if self.synced < number:
            target = self.appended
            assert self.go.wait(10)
            self.syncs += 1
            self.synced = target
        if number in self.lost:
            raise StorageError(f"{number} is lost")

    def covered(self, number: int) -> bool:
        return number <= self.synced and number not in self.lost


def test_many_are_served_by_one_sync() -> None:
    disk = Disk()
    thread = SyncThread(disk.sync, disk.covered)

    async def waiting(number: int) -> int:
        disk.appended = number
        waiter = OnLoop(asyncio.get_running_loop())
        thread.put(number, waiter)
        await waiter.future
        assert disk.synced >= number, "it was told too early"
        return number

    async def main() -> list[int]:
        first = [asyncio.create_task(waiting(number)) for number in range(1, 30)]
        await asyncio.sleep(0.1)  # all wait; the first sync was begun for the first one
        disk.go.set()
        return await asyncio.gather(*first)

    assert asyncio.run(main()) == list(range(1, 30))
    assert disk.syncs <= 2
    thread.stop()


def test_each_is_told_its_own() -> None:
    disk = Disk()
    disk.go.set()
    disk.appended, disk.lost = 3, {2}
    thread = SyncThread(disk.sync, disk.covered)

    async def main() -> list[BaseException | None]:
        loop = asyncio.get_running_loop()
        waiters = [OnLoop(loop) for _ in range(3)]
        for number, waiter in enumerate(waiters, 1):
            thread.put(number, waiter)
        return await asyncio.gather(*(waiter.future for waiter in waiters), return_exceptions=True)

    first, second, third = asyncio.run(main())
    assert first is None and third is None and isinstance(second, StorageError)
    done: Future[None] = Future()
    thread.put(2, done)
    with pytest.raises(StorageError, match="2 is lost"):
        done.result(timeout=5)
    thread.stop()


def test_who_gave_up_or_whose_loop_is_closed_hinders_nobody() -> None:
    disk = Disk()
    thread = SyncThread(disk.sync, disk.covered)
    disk.appended = 3

    async def leaves() -> None:
        waiter = OnLoop(asyncio.get_running_loop())
        thread.put(1, waiter)
        waiter.future.cancel()

    asyncio.run(leaves())
    cancelled: Future[None] = Future()
    cancelled.cancel()
    thread.put(2, cancelled)
    done: Future[None] = Future()
    thread.put(3, done)
    disk.go.set()
    assert done.result(timeout=5) is None
    thread.stop()


def test_it_ends_when_what_was_put_is_done() -> None:
    disk = Disk()
    disk.go.set()
    thread = SyncThread(disk.sync, disk.covered)
    disk.appended = 5
    done: list[Future[None]] = [Future() for _ in range(5)]
    for number, each in enumerate(done, 1):
        thread.put(number, each)
    thread.stop()
    assert all(each.done() for each in done)
    assert not thread._thread.is_alive()
