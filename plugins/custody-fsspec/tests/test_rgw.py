"""``make s3``: the contract and races on a real server, Ceph's RADOS gateway on loopback."""

from __future__ import annotations

import itertools
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import rgw
from custody_fsspec.opening import open_url
from custody_fsspec.settings import Settings
from custody_fsspec.storage import ObjectStorage

from custody.journal.lines import check
from custody.journal.segments import Segments
from custody.journal.writer import Journal
from custody.plugin import Storage
from custody.redact import Redactor
from custody.storage.leases import Leased
from custody.testing import StorageContract
from custody.testing.simulator import Simulator

sys.path.insert(0, str(Path(__file__).parent))
from servers import make_bucket
from study import ROOT, STUDY, ended

RACES, WRITERS = 200, 16

pytestmark = [
    pytest.mark.skipif(not os.environ.get("CUSTODY_TEST_RGW"), reason="a real S3 server: make s3"),
    pytest.mark.skipif(bool(rgw.missing()), reason=f"not installed: {', '.join(rgw.missing())}"),
    pytest.mark.timeout(600),
]
numbers = itertools.count()


@pytest.fixture(scope="module")
def gateway() -> Iterator[rgw.Gateway]:
    with rgw.gateway() as up:
        make_bucket(up.endpoint, "bucket", rgw.ACCESS, rgw.SECRET)
        yield up


@pytest.fixture
def url(gateway: rgw.Gateway, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ENDPOINT_URL", gateway.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", rgw.ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", rgw.SECRET)
    return f"s3://bucket/test/{next(numbers)}"


def opened(url: str, client: str = "obstore", patience: float = 10.0) -> ObjectStorage:
    storage = open_url(url, settings=Settings(client=client, patience=patience))
    assert storage is not None
    return storage


class Contract(StorageContract):
    client = ""

    @pytest.fixture
    def storage(self, url: str, monkeypatch: pytest.MonkeyPatch) -> Storage:
        monkeypatch.setenv("CUSTODY_FSSPEC_CLIENT", self.client)  # of the second process, too
        return opened(url, self.client)

    @pytest.fixture
    def reopen(self, url: str) -> Callable[[], Storage]:
        return lambda: opened(url, self.client)


class TestObstore(Contract):
    client = "obstore"


class TestS3fs(Contract):
    client = "fsspec"

    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'custody-fsspec[s3fs]'")


@pytest.mark.parametrize("client", ["obstore", "fsspec"])
def test_of_16_writers_of_one_name_one_wins_200_times(url: str, client: str) -> None:
    if client == "fsspec":
        pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'custody-fsspec[s3fs]'")
    storages = [opened(url, client) for _ in range(WRITERS)]
    barrier = threading.Barrier(WRITERS)

    def race(writer: int) -> list[bool]:
        won = []
        for number in range(RACES):
            barrier.wait(timeout=120)
            won.append(storages[writer].put_if_absent(f"race/{number}", b"%d" % writer))
        return won

    with ThreadPoolExecutor(WRITERS) as pool:
        results = list(pool.map(race, range(WRITERS)))
    for number in range(RACES):
        winners = [writer for writer in range(WRITERS) if results[writer][number]]
        assert len(winners) == 1, f"race {number}: {len(winners)} of {WRITERS} were told that they won"
        assert storages[0].read(f"race/{number}") == b"%d" % winners[0]


def test_it_serves_several_writers(url: str) -> None:
    storage = opened(url)
    assert isinstance(storage, Leased)
    assert storage.capabilities == (True, "server", "", True, "name")


@pytest.mark.parametrize("client", ["obstore", "fsspec"])
def test_a_study_that_is_killed_again_and_again_pays_for_each_call_once(
    start: Callable[..., subprocess.Popen[str]], url: str, sim: Simulator, tmp_path: Path, client: str
) -> None:
    """What every storage of a session has to stand, with a real SDK: the plan is known, so are the payments."""
    _needs(client)
    (tmp_path / "work" / "study.py").write_text(STUDY.replace(ROOT, url))
    seen = ""
    for kill in (0, 1, 2, 3, 5, 5, 7):
        code, out, err = ended(start("study.py", KILL=str(kill), CUSTODY_FSSPEC_CLIENT=client))
        assert code == -9, err
        assert out.startswith(seen), "an acknowledged answer is another one, or gone"
        seen = out
        assert sim.paid() == len(out.splitlines()) == kill
    code, out, err = ended(start("study.py", CUSTODY_FSSPEC_CLIENT=client))
    assert (code, sim.paid()) == (0, 8), err
    assert out.startswith(seen)
    _is_sound(start, url, client)


@pytest.mark.parametrize("client", ["obstore", "fsspec"])
def test_a_study_killed_at_any_moment_loses_nothing_it_has_seen(
    start: Callable[..., subprocess.Popen[str]], url: str, sim: Simulator, tmp_path: Path, client: str
) -> None:
    _needs(client)
    (tmp_path / "work" / "study.py").write_text(STUDY.replace(ROOT, url))
    rng, seen, kills, code = random.Random(client), list[str](), 0, -9
    while code == -9:
        with start("study.py", CUSTODY_FSSPEC_CLIENT=client) as process:
            assert process.stdout is not None and process.stderr is not None
            lines = [process.stdout.readline() for _ in range(len(seen) + 1)]
            time.sleep(rng.random() * 0.01)
            process.kill()
            lines = [line for line in [*lines, *process.stdout.read().splitlines(keepends=True)] if line]
            code, kills = process.wait(60), kills + 1
            err = process.stderr.read()
        if len(seen) == 8 and code == 1 and "is finished. To replay it" in err:
            break  # it was killed between its end, which is on record, and its exit
        assert code in (0, -9), err
        assert lines[: len(seen)] == seen, "an acknowledged answer is another one, or gone"
        seen = lines
        assert sim.paid() <= len(seen) + kills, "more was paid again than was under way when it was killed"
    assert len(seen) == 8
    assert kills > 1, "it was never killed in the middle"
    _is_sound(start, url, client)


def _needs(client: str) -> None:
    pytest.importorskip("openai", reason="the study asks by the openai SDK")
    name, extra = {"obstore": ("obstore", "s3"), "fsspec": ("s3fs", "s3fs")}[client]
    pytest.importorskip(name, reason=f"{name} is not installed: pip install 'custody-fsspec[{extra}]'")


def _is_sound(start: Callable[..., subprocess.Popen[str]], url: str, client: str) -> None:
    (session,) = opened(url, client).folders("projects/P/experiments/E/sessions/")
    place = f"{url}/projects/P/experiments/E/sessions/{session}"
    for command in (("verify", "--deep"), ("status",)):
        code, out, err = ended(start("-m", "custody.cli", *command, place, CUSTODY_FSSPEC_CLIENT=client))
        assert code == 0, out + err


def test_an_outage_costs_no_record_and_the_journal_goes_on(url: str, gateway: rgw.Gateway) -> None:
    storage = opened(url, patience=0.5)
    spilled: list[bytes] = []

    def spill(_: str, lines: list[bytes]) -> str:
        spilled.extend(lines)
        return "the spill"

    journal = Journal(storage, "s", Redactor(), spill)
    number, _ = journal.append([("note", {"note": "before"})])
    journal.sync_to(number)
    gateway.stop()
    try:
        number, _ = journal.append([("note", {"note": "during"})])
        begun = time.monotonic()
        journal.sync_to(number)
        assert time.monotonic() - begun < 120
        assert not journal.healthy
        assert len(spilled) == 1
    finally:
        gateway.start()
    until = time.monotonic() + 60
    while not journal.healthy and time.monotonic() < until:
        time.sleep(0.5)
        number, _ = journal.append([("note", {"note": "after"})])
        journal.sync_to(number)
    assert journal.healthy
    journal.close()
    segments = Segments(storage)
    lines = [line for name, _ in segments.list() for line in segments.read(name).splitlines(keepends=True)]
    assert all(check(line.rstrip(b"\n")) for line in lines)
    told = [line for line in [*lines, *spilled] if b'"note"' in line]
    for what in (b"before", b"during", b"after"):
        assert any(what in line for line in told), f"the record made {what.decode()} the outage is gone"


def test_rclone_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stores a second object under a name that is taken, and says nothing."""
    program = shutil.which("rclone")
    known = subprocess.run([program, "serve", "--help"], capture_output=True, text=True).stdout if program else ""
    if program is None or not re.search(r"^ +s3 ", known, re.MULTILINE):
        pytest.skip("no rclone with 'serve s3' (1.65 and later; Debian 12 has 1.60)")
    (tmp_path / "data" / "bucket").mkdir(parents=True)
    port = rgw._free_port()
    command = [program, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", "test,testsecret"]
    with subprocess.Popen([*command, str(tmp_path / "data")], stderr=subprocess.DEVNULL) as server:
        try:
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testsecret")
            storage = opened("s3://bucket/study", patience=30)
            assert storage.capabilities.put_if_absent is False
            assert "does not look at If-None-Match" in storage.capabilities.why_not
        finally:
            server.kill()
