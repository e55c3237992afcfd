"""What a reviewer found by reading, so that it stays found."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

import custody
from custody.journal.writer import Journal
from custody.report.verify import verify
from custody.sessions import process
from custody.storage.local import LocalStorage
from custody.testing.simulator import Simulator

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
HELLO: Any = [{"role": "user", "content": "Hello"}]


def ask(client: openai.OpenAI) -> str:
    return client.chat.completions.create(model="gpt-4o", messages=HELLO).choices[0].message.content or ""


def test_a_token_that_the_sdk_fetches_is_not_the_call(sdk_env: Simulator, root: Path) -> None:
    """A callable key that asks a token service runs inside the SDK's method, over a client of its own."""
    tokens = httpx2.Client(
        transport=httpx2.MockTransport(lambda r: httpx2.Response(200, json={"access_token": "canary-token-4711"}))
    )  # a token service cannot be had here

    def key() -> str:
        data = {"client_secret": "canary-secret-4711"}
        return str(tokens.post("http://login.example/oauth2/v2.0/token", data=data).json()["access_token"])

    with openai.OpenAI(api_key=key) as client:
        with custody.session("P", "E", root=root) as s:
            first = [ask(client) for _ in range(3)]
        with custody.session("P", "E", root=root, session=s.id, strict=True):
            assert [ask(client) for _ in range(3)] == first
    tokens.close()
    stored = custody.open(s.path)
    assert [call.fields["operation"] for call in stored.calls()] == ["chat"] * 3
    data = b"".join(p.read_bytes() for p in s.path.rglob("*") if p.is_file())
    assert b"canary" not in data


def test_a_crash_inside_a_stream_does_not_block_the_resume(sdk_env: Simulator, root: Path) -> None:
    def study(*, crash: bool) -> str:
        words = []
        with (
            openai.OpenAI() as client,
            client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True) as stream,
        ):
            for chunk in stream:
                words.append(chunk.choices[0].delta.content or "" if chunk.choices else "")
                if crash and len(words) == 4:
                    raise KeyError("a parsing bug")
        return "".join(words)

    with pytest.raises(KeyError), custody.session("P", "E", root=root):
        study(crash=True)
    with custody.session("P", "E", root=root) as s:
        assert "answer" in study(crash=False)
    assert [call.outcome for call in custody.open(s.path).calls()] == ["cancelled", "success"]
    assert sdk_env.paid() == 2


def test_a_stream_that_is_dropped_unread_frees_its_claim(sdk_env: Simulator, root: Path) -> None:
    with custody.session("P", "E", root=root) as s, openai.OpenAI() as client:
        client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
        gc.collect()
        flow = s.flow
        assert [c.in_flight for c in flow.replicates._counters.values()] == [0]
    assert [call.outcome for call in custody.open(s.path).calls()] == ["closed_early"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_a_stream_is_open(tmp_path: Path, sdk_env: Simulator) -> None:
    (tmp_path / "study.py").write_text(
        "import custody, openai, os, sys\n"
        "with custody.session(project='P', experiment='E') as s:\n"
        "    stream = openai.OpenAI().chat.completions.create(model='gpt-4o', stream=True,\n"
        "        messages=[{'role': 'user', 'content': 'Hello'}])\n"
        "    next(stream)\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        stream.close()\n"
        "        del stream\n"
        "        os._exit(0)\n"
        "    os.waitpid(child, 0)\n"
        "    assert len(list(stream)) > 3\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "study.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("projects/P/experiments/E/sessions/*")
    assert [call.outcome for call in custody.open(path).calls()] == ["success"]
    assert verify(LocalStorage(path, create=False)).sound


def test_a_hole_in_the_record_is_never_replayed(
    sdk_env: Simulator, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    real, failed = Journal.append, []

    def append(self: Journal, records: list[tuple[str, dict[str, Any]]]) -> Any:
        if records[0][0] == "chunk" and not failed:
            failed.append(True)
            raise MemoryError
        return real(self, records)

    def stream(client: openai.OpenAI) -> str:
        chunks = client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    with openai.OpenAI() as client:
        with custody.session("P", "E", root=root) as s:
            installed = process.current()
            assert installed is not None
            installed.hooks.raise_errors = False
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Journal, "append", append)
                stream(client)
        assert failed and "internal failure in" in caplog.text
        assert [call.fields["answers"] for call in custody.open(s.path).calls()] == [False]
        with custody.session("P", "E", root=root, session=s.id):
            stream(client)
    assert sdk_env.paid() == 2


def test_an_archive_that_cannot_be_read_is_no_miss(sdk_env: Simulator, root: Path) -> None:
    def read(self: object, *args: object) -> bytes:
        raise OSError(24, "Too many open files")

    with openai.OpenAI(max_retries=3) as client:
        with custody.session("P", "E", root=root) as s:
            first = ask(client)
        with custody.session("P", "E", root=root, session=s.id):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(LocalStorage, "read", read)
                with pytest.raises(custody.StorageError, match="cannot be read"):
                    ask(client)
            assert ask(client) == first
    assert sdk_env.paid() == 1


def test_a_skipped_stage_skips_the_stages_inside(sdk_env: Simulator, root: Path) -> None:
    def study(session: custody.Session, *, skip: bool) -> str:
        with openai.OpenAI() as client:
            with session.stage("outer") as outer:
                assert outer.completed == skip
                if not skip:
                    with session.stage("inner"):
                        ask(client)
            with session.stage("outer"), session.stage("inner") as inner:
                assert not inner.completed or skip
                return ask(client)

    with custody.session("P", "E", root=root) as s:
        first = study(s, skip=False)
    with custody.session("P", "E", root=root, session=s.id) as s:
        assert study(s, skip=True) == first
    assert sdk_env.paid() == 2


def test_a_worker_does_not_keep_the_scope_in_which_it_was_started(sdk_env: Simulator, root: Path) -> None:
    with (
        custody.session("P", "E", root=root) as s,
        openai.OpenAI() as client,
        ThreadPoolExecutor(1, thread_name_prefix="mine") as pool,
    ):
        with s.scope(corpus_file="one"):
            pool.submit(ask, client).result()
        pool.submit(ask, client).result()
        with s.scope(corpus_file="two"):
            thread = threading.Thread(target=ask, args=(client,))
            thread.start()
        thread.join()
    assert [call.scope.get("corpus_file") for call in custody.open(s.path).calls()] == ["one", None, "two"]


def test_an_environment_whose_sitecustomize_fails_is_recorded(cli: Cli, tmp_path: Path, sdk_env: Simulator) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text("import missing_profiler\n")
    (tmp_path / "study.py").write_text(
        "import openai\n"
        "openai.OpenAI().chat.completions.create(model='gpt-4o', messages=[{'role': 'user', 'content': 'x'}])\n"
    )
    done = cli("run", "--", "python", "study.py", env={"PYTHONPATH": str(site)})
    assert done.returncode == 0, done.stderr
    assert "1 sent" in done.stderr and sdk_env.paid() == 1


def test_a_session_without_with_can_be_gone_on_with(tmp_path: Path, sdk_env: Simulator) -> None:
    (tmp_path / "study.py").write_text(
        "import custody, openai, sys\n"
        "custody.session(project='P', experiment='E')\n"
        "openai.OpenAI().chat.completions.create(model='gpt-4o', messages=[{'role': 'user', 'content': 'Hello'}])\n"
        "sys.exit(3)\n"
    )
    for _ in range(2):
        done = subprocess.run([sys.executable, "study.py"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 3, done.stderr
    assert sdk_env.paid() == 1


def test_an_sdk_that_imports_its_client_first_is_patched(cli: Cli, tmp_path: Path) -> None:
    """Under ``custody run`` the client's import starts capture while the SDK's own module is half made."""
    (tmp_path / "study.py").write_text(
        "import echo_sdk\n"
        "client = echo_sdk.EchoClient(transport=echo_sdk.EchoTransport(failures=(503, 503)))\n"
        "print(client.say('hello').text)\n"
    )
    done = cli("run", "--project", "P", "--experiment", "E", "--", "python", "study.py")
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("projects/P/experiments/E/sessions/*")
    (call,) = custody.open(path).calls()
    assert [attempt["status"] for attempt in call.fields["attempts"]] == [503, 503, 200]
    assert call.fields["sdk"]["plugin"] == "echo"
