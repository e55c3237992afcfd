"""Promise 1, and that it does not cost transparency: only the end of an answer waits for the disk."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

import custody
from custody.storage import local
from custody.testing.simulator import Simulator

HELLO: Any = [{"role": "user", "content": "Hello"}]


class Disk:
    """A disk that makes nothing durable until it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.waiting = threading.Event(), threading.Event()
        self.open.set()
        real = local._sync

        def sync(fd: int) -> None:
            self.waiting.set()
            assert self.open.wait(30), "nobody opened the disk again"
            real(fd)

        monkeypatch.setattr(local, "_sync", sync)

    def shut(self) -> None:
        self.open.clear()
        self.waiting.clear()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    made = Disk(monkeypatch)
    yield made
    made.open.set()


def whole(out: list[Any]) -> None:
    with openai.OpenAI() as client:
        out.append(client.chat.completions.create(model="gpt-4o", messages=HELLO).id)
        out.append("end")


def streamed(out: list[Any]) -> None:
    with anthropic.Anthropic() as client:
        for event in client.messages.create(model="claude-sonnet-4-6", max_tokens=99, messages=HELLO, stream=True):
            out.append(event.type)
        out.append("end")


def responses(out: list[Any]) -> None:
    with openai.OpenAI() as client:
        for event in client.responses.create(model="gpt-4o", input="Hello", stream=True):
            out.append(event.type)
        out.append("end")


def in_async(out: list[Any]) -> None:
    async def main() -> None:
        async with openai.AsyncOpenAI() as client:
            ticks = asyncio.create_task(tick(out))
            async for chunk in await client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True):
                out.append(chunk.id)
            ticks.cancel()
            out.append("end")

    async def tick(out: list[Any]) -> None:
        while True:
            await asyncio.sleep(0.01)
            out.append("tick")

    asyncio.run(main())


@pytest.mark.parametrize("program", [whole, streamed, responses, in_async])
def test_the_end_waits_for_the_disk(sdk_env: Simulator, root: Path, disk: Disk, program: Any) -> None:
    out: list[Any] = []
    with custody.session("P", "E", root=root):
        disk.shut()
        thread = threading.Thread(target=program, args=(out,))
        thread.start()
        assert disk.waiting.wait(20), "the answer was delivered without a sync"
        ticks = out.count("tick")
        thread.join(0.3)
        assert thread.is_alive() and "end" not in out, "the end was delivered before it was durable"
        seen = [word for word in out if word != "tick"]
        if program is whole:
            assert seen == []
        else:
            assert len(seen) >= 3, "the chunks before the end were held back"
            assert "message_stop" not in seen and "response.completed" not in seen
        if program is in_async:
            assert out.count("tick") > ticks + 5, "the event loop was blocked by the disk"
        disk.open.set()
        thread.join(20)
    assert out[-1] == "end"


def test_chunks_are_not_held_back(sdk_env: Simulator, root: Path) -> None:
    """When the program has the first chunk, the vendor is still writing the others."""
    sdk_env.chunk_delay = 0.02
    with custody.session("P", "E", root=root), openai.OpenAI() as client:
        stream = client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
        assert sdk_env.answered() == 0
        next(iter(stream))
        assert sdk_env.answered() == 0, "the first chunk came only when the answer was complete"
        rest = list(stream)
    assert len(rest) > 5
    assert sdk_env.answered() == 1


def test_a_partial_stream_survives_a_kill(tmp_path: Path, sim: Simulator) -> None:
    sim.chunk_delay = 0.02
    code = (
        "import os, signal, custody, openai\n"
        "with custody.session('P', 'E') as s:\n"
        "    got = []\n"
        "    for chunk in openai.OpenAI().chat.completions.create(model='gpt-4o', stream=True,\n"
        "            messages=[{'role': 'user', 'content': 'Hello'}]):\n"
        "        got.append(chunk.choices[0].delta.content or '')\n"
        "        if len(got) == 8:\n"
        "            print(''.join(got), flush=True)\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    env = {**os.environ, **sim.env()}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    stored = custody.open(next(tmp_path.glob("projects/P/experiments/E/sessions/*")))
    assert stored.calls() == []
    (doubt,) = stored.status()["in_doubt"]
    assert doubt["answered_by"] is None
    (segment,) = (stored.path / "llm_archive").glob("*.jsonl")
    lines = [json.loads(line) for line in segment.read_bytes().splitlines()]
    arrived = "".join(line["body"]["text"] for line in lines if line["kind"] == "chunk")
    words = [json.loads(part)["choices"][0]["delta"].get("content") or "" for part in arrived.split("data: ") if part]
    assert "".join(words)[: len(done.stdout.strip())] == done.stdout.rstrip("\n")


def test_an_early_close_is_an_answer_and_its_end_is_not_invented(sdk_env: Simulator, root: Path) -> None:
    def first_three(more: int = 0) -> list[str]:
        with openai.OpenAI() as client:
            stream = client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=True)
            found = [next(stream).model_dump_json() for _ in range(3 + more)]
            stream.close()
        return found

    sdk_env.chunk_delay = 0.05
    with custody.session("P", "E", root=root) as s:
        before = first_three()
        again = first_three()  # the identity's claim must be free, and the second replicate another answer
    assert before != again
    assert [call.outcome for call in custody.open(s.path).calls()] == ["closed_early"] * 2
    with custody.session("P", "E", root=root, session=s.id, strict=True):
        assert first_three() == before
        with pytest.raises(custody.ReplayExhausted, match="closed early"):
            first_three(more=10)
    assert sdk_env.paid() == 2
