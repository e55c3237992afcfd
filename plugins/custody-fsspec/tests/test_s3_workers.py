"""Acceptance 2 of "One session, many machines" on S3: what ``tests/faults/test_workers.py`` does in a shared folder.

Four workers with working directories of their own share nothing but a bucket; two are killed, one is frozen past its
lease and woken. In the long form (``CUSTODY_FAULTS=long``) of 2,000 calls, on a real server with
``CUSTODY_TEST_RGW=1``.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import rgw
from servers import make_bucket
from small_s3 import small_s3

import custody
from custody import layout
from custody.errors import CustodyError
from custody.report.team import rows
from custody.storage.folders import RemoteFolder
from custody.testing.simulator import Simulator
from custody.transfer.compaction import compact

pytest.importorskip("obstore", reason="obstore is not installed: pip install 'custody-fsspec[s3]'")
pytest.importorskip("openai", reason="the study asks by the openai SDK")

sys.path.insert(0, str(Path(__file__).parents[3] / "tests/faults"))
from test_workers import LONG, Shared, check

RGW = bool(os.environ.get("CUSTODY_TEST_RGW"))  # no test sees it later (conftest.py)
DOCUMENTS, RUNS = (500, 4) if LONG else (16, 4)
LEASE = 3.0  # the server states whole seconds

pytestmark = pytest.mark.timeout(3600 if LONG else 600)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty folder in a bucket."""
    if RGW and LONG:
        if rgw.missing():
            pytest.skip(f"not installed: {', '.join(rgw.missing())}")
        with rgw.gateway() as up:
            make_bucket(up.endpoint, "bucket", rgw.ACCESS, rgw.SECRET)
            monkeypatch.setenv("AWS_ENDPOINT_URL", up.endpoint)
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", rgw.ACCESS)
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", rgw.SECRET)
            yield "s3://bucket/study"
    else:
        with small_s3() as made:
            monkeypatch.setenv("AWS_ENDPOINT_URL", made.endpoint)
            yield "s3://bucket/study"


class OnS3(Shared):
    def until(self, reached: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + (2400 if LONG else 400)
        while not reached():
            if time.monotonic() > deadline:
                pytest.fail(f"{what} never came:\n{self.said()}")
            time.sleep(0.05)


@pytest.fixture
def share(tmp_path: Path, bucket: str) -> Iterator[OnS3]:
    with Simulator(latency=0.1 if LONG else 0.6) as vendor:
        made = OnS3(tmp_path, vendor, f"{DOCUMENTS}x{RUNS}", CUSTODY_LEASE_SECONDS=str(LEASE))
        made.root = RemoteFolder(bucket)  # type: ignore[assignment]
        made.path = layout.experiment_path(RemoteFolder(bucket), "P", "E") / "sessions" / made.path.name  # type: ignore[assignment]
        yield made
        made.end()


def test_four_workers_on_s3_of_which_two_die_and_one_wakes_up_too_late(share: Shared) -> None:
    rng, items, begun = random.Random(7), DOCUMENTS * RUNS, time.monotonic()
    for name in ("one", "two", "three", "four"):
        share.start(name)
    # They begin one after another; who has not asked anything yet has nothing in hand when it is killed.
    share.until(lambda: at_work(share) == {"one", "two", "three", "four"}, "the first answers of each")
    for name in ("two", "three"):
        time.sleep(rng.random() / (1 if LONG else 4))
        share.signal(name, signal.SIGKILL)
    share.signal("four", signal.SIGSTOP)
    # Alone, the other one goes through the plan, and comes upon what the frozen one has in hand.
    share.until(lambda: taken_over(share) or share.workers["one"].poll() is not None, "a taken-over claim")
    share.signal("four", signal.SIGCONT)
    share.finish("one", "four")
    left = [line for line in share.said().splitlines() if "could not be closed" in line]
    assert left == [], "what is closed at the end of the interpreter is left open"
    check(share, items)
    session = custody.open(share.path)
    status = session.status()
    assert {row["worker"]: row["state"] for row in status["workers"]} == {
        "one": "ended", "two": "lost", "three": "lost", "four": "ended"
    }  # fmt: skip
    assert status["state"] == "finished", "the last one that ended finished it"
    assert not (share.folder / "study").exists(), "something was written beside the bucket"
    assert sum(row["taken_over"] for row in status["workers"]) > 0, "three were stopped, and none had a call in hand"
    again = [event for event in share.events() if event["event"] == "in_doubt_retried"]
    swept_away(share, items)
    late = [call for call in session.calls() if call.fields.get("superseded")]
    print(
        f"\n{items} items: {len(share.vendor.requests)} requests paid, {len(again)} in doubt sent again, "
        f"{len(session.calls())} calls archived, {len(late)} late answers, {time.monotonic() - begun:.0f} s"
    )


def swept_away(share: Shared, items: int) -> None:
    """Two are lost, so the claims have stayed; who compacts the session removes those of answered calls."""
    storage = custody.open(share.path).storage
    folder = f"{layout.CLAIMS.removesuffix('.lock')}/"
    before = sum(1 for _ in storage.list(folder))
    assert before >= items
    done = compact(storage)
    assert done is not None and done.claims >= items
    assert sum(1 for _ in storage.list(folder)) == before - done.claims
    assert compact(storage).claims == 0  # type: ignore[union-attr]


def at_work(share: Shared) -> set[str]:
    """The workers that say they have made a call."""
    time.sleep(0.2)
    with contextlib.suppress(CustodyError, OSError):  # it is just being made
        found = custody.open(share.path)
        return {row["worker"] for row in rows(found.storage, ()) if row["calls"]}
    return set()


def taken_over(share: Shared) -> bool:
    """Whether the frozen worker's claim is another one's."""
    time.sleep(10 if LONG else 0.5)  # a look reads the whole session
    found = custody.open(share.path)
    return any(row["worker"] == "four" and row["taken_over"] for row in rows(found.storage, found.archive.notes))
