"""Workers of one session: who may join, what they are told, how it ends. Killing them is in tests/faults."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openai
import pytest

import custody
from custody import layout
from custody.errors import SessionBusy, UsageError
from custody.integrity import chronolog
from custody.report.verify import verify
from custody.sessions import sharding, workers
from custody.storage.local import LocalStorage
from custody.storage.shared import SharedLocalStorage
from custody.testing.simulator import Fault, Simulator

SESSION = "session_20260101_000000"


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(workers.ENV_WORKER, "one")


def opened(root: Path, session: str | None = SESSION, **more: object) -> custody.Session:
    return custody.session("P", "E", root=root, session=session, **more)  # type: ignore[arg-type]


def path_of(root: Path) -> Path:
    return layout.experiment_path(root, "P", "E") / "sessions" / SESSION


def ask(client: openai.OpenAI, text: str) -> str:
    made = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": text}])
    return made.choices[0].message.content or ""


def events(root: Path) -> list[str]:
    return [event["event"] for event in chronolog.read((path_of(root) / layout.CHRONOLOG).read_bytes())]


def claims(root: Path) -> list[Path]:
    return [path for path in (path_of(root) / "system_state/claims").rglob("*") if path.is_file()]


def test_the_first_worker_creates_the_session_and_the_last_one_finishes_it(
    root: Path, sdk_env: Simulator, worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = openai.OpenAI(max_retries=0)
    with opened(root) as session:
        assert session.id == SESSION and not session.resumed
        first = ask(client, "one")
        other = SharedLocalStorage(path_of(root), "two", create=False)  # another worker, still at work
        other.leases.heartbeat.begin()
    assert [e for e in events(root) if e.startswith(("session", "worker"))] == [
        "session_start", "worker_start", "worker_end",
    ]  # fmt: skip
    assert custody.open(path_of(root)).status()["state"] == "running"
    monkeypatch.setenv(workers.ENV_WORKER, "three")
    with opened(root):
        assert ask(client, "one") == first
        other.leases.close()
    assert events(root)[-2:] == ["worker_end", "session_end"]
    status = custody.open(path_of(root)).status()
    assert status["state"] == "finished"
    assert {row["worker"]: (row["state"], row["calls"]) for row in status["workers"]} == {
        "one": ("ended", 1), "three": ("ended", 0), "two": ("ended", 0),
    }  # fmt: skip
    assert len(sdk_env.requests) == 1
    assert not claims(root), "nobody is at work any more, and no claim is left"
    assert verify(custody.open(path_of(root)).storage).sound


def test_claims_stay_where_a_worker_may_wake_up(
    root: Path, sdk_env: Simulator, worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUSTODY_LEASE_SECONDS", "0.5")
    with opened(root):
        frozen = SharedLocalStorage(path_of(root), "two", create=False)
        frozen.leases.heartbeat._beating = False
        held = frozen.claim(layout.CLAIMS, b"its call")
        assert held is not None
        time.sleep(1.8)  # its lease, and a second for the clock's grain
    assert claims(root), "when it wakes up it asks whether its claim is another one's by now"


def test_a_coroutines_claim_is_asked_for_in_a_thread(
    root: Path, sdk_env: Simulator, worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[threading.Thread] = []
    claim = SharedLocalStorage.claim

    def watched(self: SharedLocalStorage, name: str, token: bytes) -> Any:
        asked.append(threading.current_thread())
        return claim(self, name, token)

    monkeypatch.setattr(SharedLocalStorage, "claim", watched)

    async def study() -> set[str]:
        async with openai.AsyncOpenAI(max_retries=0) as client:
            made = await asyncio.gather(*(
                client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": f"{n}"}])
                for n in range(4)
            ))  # fmt: skip
        return {each.choices[0].message.content or "" for each in made}

    with opened(root):
        assert len(asyncio.run(study())) == 4
        assert len(asked) == 4 and threading.main_thread() not in asked, "the event loop waited for the server"
        ask(openai.OpenAI(max_retries=0), "sync")
        assert asked[-1] is threading.main_thread()


def test_a_coroutine_that_is_cancelled_while_it_claims_holds_nothing(
    root: Path, sdk_env: Simulator, worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on = threading.Event(), threading.Event()
    claim = SharedLocalStorage.claim

    def slow(self: SharedLocalStorage, name: str, token: bytes) -> Any:
        begun.set()
        assert goes_on.wait(60)
        return claim(self, name, token)

    async def study() -> None:
        async with openai.AsyncOpenAI(max_retries=0) as client:
            asking = asyncio.ensure_future(
                client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "one"}])
            )
            assert await asyncio.to_thread(begun.wait, 60)
            asking.cancel()
            await asyncio.sleep(0)
            goes_on.set()
            with pytest.raises(asyncio.CancelledError):
                await asking

    with opened(root) as session:
        monkeypatch.setattr(SharedLocalStorage, "claim", slow)
        asyncio.run(study())
        assert isinstance(session.storage, SharedLocalStorage)
        assert session.storage.leases.held == 0, "others would wait for a call that nobody makes"
        assert not sdk_env.requests


def test_a_worker_that_comes_while_another_makes_the_folder_waits_for_its_turn(root: Path) -> None:
    for folder in layout.FOLDERS:  # what ``workers.choose`` makes before it is its turn
        (path_of(root) / folder).mkdir(parents=True)
    command = [
        sys.executable, "-m", "custody.cli", "run", "--root", str(root), "--project", "P", "--experiment", "E",
        "--session", SESSION, "--worker", "one", "--", sys.executable, "-c", "pass",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "recording into" in done.stderr


def test_a_start_that_knows_no_workers_keeps_out(
    root: Path, sdk_env: Simulator, worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(root):
        pass
    theirs = SharedLocalStorage(path_of(root), "two", create=False)
    held = theirs.lock(layout.OWNER_LOCK, shared=True)
    assert held is not None
    monkeypatch.delenv(workers.ENV_WORKER)
    with pytest.raises(SessionBusy):
        opened(root)
    held.release()
    theirs.leases.close()
    with opened(root) as session:
        assert session.resumed


def test_workers_keep_out_of_a_session_that_one_has_alone(root: Path, sdk_env: Simulator, worker: None) -> None:
    with opened(root):
        pass
    owner = LocalStorage(path_of(root), create=False).lock(layout.OWNER_LOCK)
    assert owner is not None
    with pytest.raises(SessionBusy):
        opened(root)
    owner.release()


@pytest.mark.parametrize(("session", "more"), [(None, {}), (SESSION, {"new": True}), ("mine", {})])
def test_workers_have_to_name_their_session(
    root: Path, worker: None, session: str | None, more: dict[str, object]
) -> None:
    with pytest.raises(UsageError, match="session_2"):
        opened(root, session, **more)
    assert not (root / "projects").exists() or not any((root / "projects").rglob("session.json"))


def test_a_storage_without_leases_is_refused_with_the_reason(worker: None) -> None:
    storage = SimpleNamespace(url="thing://x", not_shared="its server ignores If-None-Match")
    with pytest.raises(UsageError, match=r"ignores If-None-Match.*--shard"):
        workers.shared(storage)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "a/b", "1/2/3", "-1/2"])
def test_shards_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="K/N"):
        sharding.parsed(text)


def test_a_shard_of_a_plan(root: Path, sdk_env: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    def name(item: object) -> str:
        return item.name  # type: ignore[attr-defined, no-any-return]

    monkeypatch.setenv(sharding.ENV, "2/3")
    with custody.session("P", "E", root=root) as session:
        assert [item.name for item in session.plan(list("abcdefg"), progress=False)] == ["b", "e"]
        got = session.plan(list("abcdefg"), progress=False).map(name, workers=2)
        assert got == [None, "b", None, None, "e", None, None]


def test_workers_divide_a_plan(root: Path, sdk_env: Simulator, worker: None) -> None:
    with opened(root) as session:
        theirs = SharedLocalStorage(path_of(root), "two", create=False)
        plan = session.plan(list("abcdefg"), progress=False)
        around = f"item\0item\0{{}}\0{next(iter(plan.matrix)).key}"
        assert theirs.claim(layout.CLAIMS, around.encode()) is not None
        walked = [item.name for item in plan]
        assert sorted(walked) == list("abcdefg")
        assert walked[-1] == "a", "another worker has it: by the end it may be done"
        theirs.leases.close()


def test_a_session_that_was_never_shared_has_no_workers(root: Path, sdk_env: Simulator) -> None:
    with custody.session("P", "E", root=root):
        pass
    (path,) = root.glob("projects/P/experiments/E/sessions/*")
    assert custody.open(path).status()["workers"] == []
    assert not (path / layout.WORKERS).exists()


def test_a_forked_child_of_a_worker_is_a_process_of_it(root: Path, sdk_env: Simulator, worker: None) -> None:
    client = openai.OpenAI(max_retries=0)
    with opened(root):
        ask(client, "parent")
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                ask(openai.OpenAI(max_retries=0), "child")
                custody.sessions.starting.active().close()  # type: ignore[attr-defined, union-attr]
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    stored = custody.open(path_of(root))
    assert stored.status()["outcomes"] == {"success": 2}
    (row,) = stored.status()["workers"]
    assert (row["calls"], row["processes"], row["state"]) == (2, 2, "ended")


def test_a_worker_that_joins_leaves_the_budget_as_it_is(
    root: Path, sdk_env: Simulator, worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = openai.OpenAI(max_retries=0)
    with opened(root, max_calls=2):
        ask(client, "one")
        other = SharedLocalStorage(path_of(root), "two", create=False)
        other.leases.heartbeat.begin()
    ledger = (path_of(root) / layout.BUDGET).read_bytes()
    monkeypatch.setenv(workers.ENV_WORKER, "three")
    with opened(root) as session:
        assert session.beside and (path_of(root) / layout.BUDGET).read_bytes() == ledger
        ask(client, "two")
        with pytest.raises(custody.errors.BudgetExceeded):
            ask(client, "three")
        other.leases.close()


def test_a_zombie_asks_before_it_tries_again(root: Path, sdk_env: Simulator, worker: None) -> None:
    """Between two attempts of one call another worker has taken it over: nothing is sent while that one has it."""
    sdk_env.inject(Fault(status=500, delay=0.5))
    client = openai.OpenAI(max_retries=1)
    said: list[str] = []
    with opened(root) as session:
        thread = threading.Thread(target=lambda: said.append(ask(client, "one")))
        thread.start()
        _until(lambda: sdk_env.requests)
        (sent,) = _until(lambda: custody.open(path_of(root)).archive.in_doubt())
        beat = session.storage.leases.heartbeat  # type: ignore[attr-defined]
        os.utime(path_of(root) / beat.name, (0, 0))  # it has been silent for long, by the server's clock
        beat._acknowledged -= 1000  # and by its own
        theirs = SharedLocalStorage(path_of(root), "two", create=False)
        token = "\0".join(str(sent[name]) for name in ("scope_key", "request_key", "replicate"))
        held = theirs.claim(layout.CLAIMS, token.encode())
        assert held is not None and held.taken_from is not None  # type: ignore[attr-defined]
        time.sleep(2)
        assert (len(sdk_env.requests), said) == (1, [])
        held.release()
        thread.join(timeout=60)
        assert len(said) == 1 and len(sdk_env.requests) == 2
        theirs.leases.close()


def _until(look: Callable[[], Any]) -> Any:
    for _ in range(600):
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("never")


def test_a_worker_that_cannot_have_its_turn_ends_all_the_same(
    root: Path, sdk_env: Simulator, worker: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def busy(storage: object) -> None:
        raise SessionBusy("another one is at it")

    with opened(root):
        monkeypatch.setattr(workers, "turn", busy)
    assert events(root)[-1] == "worker_end"
    assert "others end the session" in caplog.text
    monkeypatch.undo()
    assert custody.open(path_of(root)).status()["state"] == "interrupted"
