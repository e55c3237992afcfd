"""Reports made on Dask are those made by one process, whatever dies meanwhile."""

from __future__ import annotations

import json
import os
import runpy
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from custody import layout
from custody.cli import engine as options
from custody.cli.main import cli
from custody.errors import ArchiveDamaged, UsageError
from custody.export.stream import Export
from custody.integrity.chronolog import Chronolog
from custody.journal.segments import Segments
from custody.redact import Redactor
from custody.report import call_lines, forensics
from custody.report.tally import tallied
from custody.report.verify import verify
from custody.sessions import manifest as manifests

pytest.importorskip("distributed")

from custody.engines.dask import Dask

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]

Written: Any = runpy.run_path(str(Path(__file__).parents[1] / "journal" / "sessions.py"))["Written"]


class Killing:
    """An engine, one of whose workers dies after the first result, with what it had finished and not handed over."""

    def __init__(self, engine: Dask) -> None:
        self.engine = engine
        self.killed = 0

    def map(self, function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        for number, result in enumerate(self.engine.map(function, jobs)):
            if number == 0:
                self.killed = min(self.engine.client.run(os.getpid).values())
                os.kill(self.killed, signal.SIGKILL)
            yield result


@pytest.fixture(scope="module")
def dask() -> Iterator[Dask]:
    with Dask(None, 2) as engine:
        yield engine


REUSED = "1 answers of session_y, which had cost $0.5 there"


def priced(usd: str) -> dict[str, Any]:
    return {"cost_usd": usd, "status": "priced", "reason": None}


@pytest.fixture
def session(tmp_path: Path) -> Any:
    """A session in many segments: one call's lines are spread, one answer was replayed, two calls are in doubt, of
    which one was taken in, one answer is another session's, and two calls were priced anew."""
    session = Written(tmp_path / "session", rotate_bytes=6000)
    manifest = manifests.Manifest(session="session_x", project="P", experiment="E", created="", custody="0", python="3")
    manifests.write(session.storage, manifest, Redactor())
    log = Chronolog(session.storage.shared_log("SESSION_CHRONOLOG.jsonl"), Redactor())
    log.event("session_start", session_id="session_x")
    early = session.request(1000)
    sealed = session.sealed
    doubtful = [session.request(number) for number in (2000, 2001)]
    names = [session.call(number, [b"text %d" % number]) for number in range(60)]
    names += [
        session.call(60, reused_from={"session": "session_y", "call": "y-1"}, cost=priced("0.5")),
        session.call(61, annotations={"reconciled": {"in_doubt": doubtful[:1]}}, cost=priced("0.25")),
    ]
    session.storage.shared_log(layout.REPRICED).append(
        lambda last: [
            json.dumps({"run": 1, "time": "2026-11-30", "call": name, "cost": priced("2")}).encode() + b"\n"
            for name in names[3:5]
        ]
    )
    session.sealed = sealed
    session.respond(early, 1000, [b"late"])
    for name in (*names, early):
        log.event("llm_call_complete", call_id=name, success=True)
    log.event("llm_call_replayed", call_id=names[7])
    session.close()
    return session


def damage(session: Any) -> None:
    path = session.storage.root / Segments(session.storage).list()[2][0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damaged", [False, True])
def test_the_reports_are_those_of_one_process(session: Any, dask: Dask, damaged: bool) -> None:
    if damaged:
        damage(session)
    storage = session.storage
    assert len(Segments(storage).list()) > 10
    for deep in (False, True):
        one = verify(storage, deep=deep)
        assert vars(verify(storage, deep=deep, engine=dask)) == vars(one) and one.sound is not damaged
    alone, there = tallied(storage, "run", None), tallied(storage, "run", dask)
    assert vars(there) == vars(alone) and alone.tally.whole.replays == 1
    if not damaged:
        whole, later = alone.tally.whole, alone.later
        assert (str(whole.usd), whole.reuse, whole.in_doubt) == ("0.25", REUSED, 1)
        assert later is not None and (str(later.whole.usd), later.whole.repriced, later.whole.in_doubt) == (
            "4.25",
            2,
            1,
        )
    assert alone.tally.ordered == there.tally.ordered and alone.tally.methods == there.tally.methods
    lines = [call_lines.gathered(storage, engine) for engine in (None, dask)]
    assert lines[0] == lines[1]
    tables = [list(forensics.rows(forensics.in_order(each.lines))) for each in lines]
    assert tables[0] == tables[1]
    for content in (False, True):
        here, away = Export([storage], content), Export([storage], content, dask)
        assert list(here) == list(away) and (here.rows, here.damaged) == (away.rows, away.damaged)
        assert bool(here.damaged) is damaged


def test_a_worker_that_is_killed_changes_no_report(session: Any, dask: Dask) -> None:
    damage(session)
    one = verify(session.storage, deep=True)
    killing = Killing(dask)
    assert vars(verify(session.storage, deep=True, engine=killing)) == vars(one) and one.problems
    assert killing.killed
    with pytest.raises(ProcessLookupError):
        os.kill(killing.killed, 0)
    rows = list(Export([session.storage]))
    assert list(Export([session.storage], engine=Killing(dask))) == rows


def test_an_error_in_a_task_is_the_tasks_own(session: Any, dask: Dask) -> None:
    path = session.storage.root / Segments(session.storage).list()[0][0]
    newer = path.with_name("20990101T000000-0000-000001.jsonl")
    from custody.journal import lines

    newer.write_bytes(lines.seal(lines.unsealed("segment", 0, {"format": 99})))
    for engine in (None, dask):
        with pytest.raises(ArchiveDamaged, match="format 99"):
            tallied(session.storage, "model", engine)


def test_the_commands_say_the_same_at_a_schedulers_address(
    session: Any, dask: Dask, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = ("--engine", f"dask:{dask.client.scheduler.address}")
    where = str(session.storage.root)

    def said(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, words)
        return done.exit_code, done.stdout

    for words in (
        ("verify", where, "--json"), ("verify", where, "--deep", "--json"), ("cost", where, "--json"),
        ("cost", where, "--by", "run", "--csv"), ("forensics", where, "--json"), ("forensics", where),
        ("export", where, "--to", "csv"), ("export", where, "--to", "jsonl", "--content"),
    ):  # fmt: skip
        alone = said(*words)
        assert alone[0] == 0 and alone[1] and said(*words, *at) == alone, words
    assert dask.client.nthreads(), "a cluster that was there already is left running"


@pytest.mark.parametrize(
    ("engine", "workers", "match"),
    [("ray", None, "no engine"), (None, 2, "give --engine"), ("dask:tcp://127.0.0.1:9", 2, "leave --workers out")],
)
def test_misuse(engine: str | None, workers: int | None, match: str) -> None:
    with pytest.raises(UsageError, match=match), options.chosen(engine, workers):
        pass


def test_nobody_at_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("custody.engines.dask._JOIN", 1)
    with pytest.raises(UsageError, match="no Dask scheduler answers"):
        Dask("tcp://127.0.0.1:9")
