"""What a storage must say of a place: all that is there, since when, what lies below it, and that nothing is."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from custody.errors import StorageError
from custody.storage import Clocked, Foldered, Storage
from custody.storage.leases import Leased
from custody.testing.contract_base import Contract, written
from custody.testing.second_process import Opener

MANY = 1001
_STEPS = (100, 101, 1000, MANY)  # what services give at once, and one more
_SLACK = 5.0


class PlaceContract(Contract):
    """The part of ``StorageContract`` that is about listings, clocks and URLs; inherit that one."""

    def test_a_listing_is_whole_however_long(self, storage: Storage) -> None:
        deadline, stored = time.monotonic() + self.listing_seconds, 0
        with ThreadPoolExecutor(16) as pool:
            for step in _STEPS:
                while stored < step and (stored < _STEPS[1] or time.monotonic() < deadline):
                    some = range(stored, min(step, stored + 50))
                    list(pool.map(lambda n: storage.put(f"many/{n:05d}", b"x"), some))
                    stored = some.stop
                expected = [f"many/{n:05d}" for n in range(stored)]
                for prefix in ("", "many/"):
                    found = [entry.name for entry in storage.list(prefix)]
                    assert len(found) == stored, (
                        f"of {stored} objects {len(found)} are listed: is there another page of the service's answer?"
                    )
                    assert found == expected
                if isinstance(storage, Foldered):
                    assert len(list(storage.folders("many"))) == stored, "folders() does not give all names"
        assert len(list(storage.list("many/0009"))) == 10

    # -- clocks -------------------------------------------------------------------------------------

    def test_modified_is_when_an_object_was_stored(self, storage: Storage) -> None:
        if not isinstance(storage, Clocked):
            assert not isinstance(storage, Leased), (
                "its locks are leases, and it has no modified(): without a clock that all machines share nobody knows "
                "which holder is dead"
            )
            pytest.skip("it states no clock (custody.plugin.Clocked)")
        times = []
        for number in range(2):
            before = time.time()
            storage.put("object", b"%d" % number)
            after, told = time.time(), storage.modified("object")
            assert isinstance(told, (int, float)) and not isinstance(told, bool), (
                f"modified() gives a {type(told).__name__}, and not seconds since 1970"
            )
            slack = _SLACK + self.clock_skew
            assert before - slack <= told <= after + slack, (
                f"modified() gives {told!r} for an object that was stored at {after:.1f}: {_guess(told, after)}. "
                "Workers would take the living for dead, or wait for the dead for ever (clock_skew: if the server's "
                "clock is off)"
            )
            times.append(told)
            if not number:
                time.sleep(1.2)  # servers state whole seconds
        assert times[0] < times[1], "modified() does not move when an object is replaced: no heartbeat is seen"
        storage.put_if_absent("new", b"x")
        assert abs(storage.modified("new") - time.time()) <= slack, "modified() is wrong for what put_if_absent stored"
        with pytest.raises(FileNotFoundError):
            storage.modified("never there")

    # -- places -------------------------------------------------------------------------------------

    def test_a_folder_of_it_is_a_storage(self, storage: Storage, opener: Opener) -> None:
        """custody opens a root, its projects, experiments and sessions as storages of their own."""
        child = self._opened(opener, f"{storage.url}/projects/P", create=True)
        beside = self._opened(opener, f"{storage.url}/projects/PX", create=True)
        child.put("object", b"1")
        written(child, "logs/log.jsonl", [b"1\n", b"2\n"])
        beside.put("object", b"other")
        names = ["logs/log.jsonl", "object"]
        listed = [entry.name for entry in storage.list()]
        expected = [f"projects/P/{name}" for name in names]
        assert listed == [*expected, "projects/PX/object"], (
            "what is written in the storage at URL/projects/P is not listed at URL as projects/P/...: sessions below a "
            "root would not be found"
        )
        assert [entry.name for entry in storage.list("projects/P/")] == expected
        assert storage.read("projects/P/object") == b"1"
        assert storage.read("projects/P/logs/log.jsonl") == b"1\n2\n"
        assert [entry.name for entry in child.list()] == names, "a folder's storage lists what is not in it"
        storage.put("projects/P/object", b"2")
        assert child.read("object") == b"2", "what is written at URL as projects/P/object is not in the storage below"
        with pytest.raises(FileExistsError):
            storage.create_log("projects/P/logs/log.jsonl")
        again = self._opened(opener, child.url, create=False)
        assert [entry.name for entry in again.list()] == names, "its url, opened again, is another storage"
        if isinstance(storage, Foldered):
            assert list(storage.folders("projects")) == ["P", "PX"]

    def test_where_nothing_is_nothing_is_found_or_made(self, storage: Storage, opener: Opener) -> None:
        self._opened(opener, storage.url, create=False)
        beside = [f"{storage.url}-none"] if "/" in storage.url.partition("://")[2].strip("/") else []
        for url in (f"{storage.url}/never/made", *beside):
            try:
                found = opener(url, create=False)
            except FileNotFoundError:  # StorageNotFound is one
                continue
            except (StorageError, OSError) as error:
                pytest.fail(
                    f"open_storage({url!r}, create=False) raised {type(error).__name__} where nothing is: raise "
                    "custody.plugin.StorageNotFound; any other error says that nobody can know, and ends the program"
                )
            assert found is not None, f"{url} is of another plugin than {storage.url}"
            assert list(found.list()) == [], f"something is listed at {url}, where nothing is"
            with pytest.raises(FileNotFoundError):
                found.read("object")
        assert list(storage.list()) == [], "looking at a folder that is not there made something"

    def _opened(self, opener: Opener, url: str, *, create: bool) -> Storage:
        self._needs("url")
        try:
            found = opener(url, create=create)
        except Exception as error:
            pytest.fail(
                f"{url} cannot be opened ({type(error).__name__}: {error}). Install the plugin (pip install -e .), "
                "or give its open_storage as the fixture 'opener', or not_applicable['url'] with the reason"
            )
        assert found is not None, f"open_storage gives None for {url}"
        return found


def _guess(told: float, now: float) -> str:
    if not told:
        return "it is nothing"
    for factor, unit in ((1e3, "milliseconds"), (1e6, "microseconds"), (1e9, "nanoseconds")):
        if abs(told / factor - now) < 86_400:
            return f"these are {unit}"
    return "that is another time"
