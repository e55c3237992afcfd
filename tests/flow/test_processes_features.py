"""What an SDK can do, done in a child process: forked, spawned, of a pool; recorded there, and replayed there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import custody
from custody.report.verify import verify
from custody.testing.simulator import Simulator

Cli = Callable[..., "subprocess.CompletedProcess[str]"]

FEATURES = '''
"""Every child runs this; what it returns is what a program can see."""
import asyncio, json
import anthropic, openai

def said(label):
    return [{"role": "user", "content": "Hello from " + label}]

async def concurrently(label):
    async with openai.AsyncOpenAI() as client, anthropic.AsyncAnthropic() as claude:
        made = [client.chat.completions.create(model="gpt-4o", messages=said(f"{label} {n}")) for n in range(3)]
        texts = [one.choices[0].message.content for one in await asyncio.gather(*made)]
        async with claude.messages.stream(model="claude-sonnet-4-6", max_tokens=99, messages=said(label)) as told:
            return [*texts, await told.get_final_text()]

def features(label):
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    with openai.OpenAI(max_retries=1) as client:
        ask = {"model": "gpt-4o", "messages": said(label)}
        seen = [client.chat.completions.create(**ask).choices[0].message.content]
        chunks = client.chat.completions.create(**ask, stream=True)
        seen.append("".join(chunk.choices[0].delta.content or "" for chunk in chunks))
        seen.append(client.chat.completions.with_raw_response.create(**ask, seed=1).headers["x-request-id"])
        with client.chat.completions.with_streaming_response.create(**ask, stream=True, seed=2) as raw:
            seen.append(len(b"".join(raw.iter_bytes())))
        first = client.chat.completions.create(**ask, tools=[tool]).choices[0].message
        result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "{}"}
        turn = [*ask["messages"], first.model_dump(exclude_none=True), result]
        seen.append(client.chat.completions.create(model="gpt-4o", messages=turn).choices[0].message.content)
        file = client.files.create(file=(label, label.encode()), purpose="user_data")
        seen.append(client.files.content(file.id).text)
        try:
            client.models.retrieve("nothing " + label)
        except openai.NotFoundError as error:
            seen.append([type(error).__name__, error.request_id])
    return json.dumps(seen + asyncio.run(concurrently(label)))
'''
CALLS = 13  # of one child

STUDY = """
import concurrent.futures, multiprocessing, os, subprocess, sys
from features import features

def forked():
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, features("a forked child").encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read().decode()
    assert os.waitpid(child, 0)[1] == 0
    return [features("the parent of a forked child"), said]

def spawned():
    child = [sys.executable, "-W", "ignore", "-c", "import features; print(features.features('a spawned child'))"]
    return [subprocess.run(child, capture_output=True, text=True, check=True).stdout.strip()]

def process(method):
    context = multiprocessing.get_context(method)
    answers = context.Queue()
    child = context.Process(target=put, args=(answers, method))
    child.start()
    said = answers.get(timeout=60)
    child.join(60)
    assert child.exitcode == 0
    return [said]

def put(answers, label):
    answers.put(features("a process by " + label))

def pool(method):
    with multiprocessing.get_context(method).Pool(2) as workers:
        said = workers.map(features, ["one of a pool", "another of a pool"], chunksize=1)
        workers.close()
        workers.join()
    return said

def executor():
    with concurrent.futures.ProcessPoolExecutor(2) as workers:
        return list(workers.map(features, ["one of an executor", "another of an executor"]))

if __name__ == "__main__":
    ways = {"fork": forked, "subprocess": spawned, "executor": executor}
    kind, _, method = sys.argv[1].partition("-")
    print("\\n".join(ways[kind]() if kind in ways else {"process": process, "pool": pool}[kind](method)))
"""
CHILDREN = {"fork": 2, "subprocess": 1, "pool-forkserver": 2}
if os.environ.get("CUSTODY_FAULTS") == "long":
    # Of what the three have: a process that was forked, one that was not, one that was forked from neither of them.
    CHILDREN |= {"executor": 2, "pool-fork": 2, "pool-spawn": 2}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", CHILDREN)
def test_every_feature_in_a_child(cli: Cli, tmp_path: Path, sdk_env: Simulator, way: str) -> None:
    (tmp_path / "features.py").write_text(FEATURES)
    (tmp_path / "study.py").write_text(STUDY)
    run = ("run", "--project", "P", "--experiment", "E")
    done = cli(*run, "--", "python", "-W", "ignore", "study.py", way)
    assert done.returncode == 0, done.stderr
    assert len(set(done.stdout.splitlines())) == CHILDREN[way]
    (path,) = tmp_path.glob("projects/P/experiments/E/sessions/*")
    stored = custody.open(path)
    assert len(stored.calls()) == CHILDREN[way] * CALLS == sdk_env.count()
    assert all(call.fields["hook_failures"] == [] for call in stored.calls())
    assert verify(stored.storage).sound
    asked = sdk_env.count()
    sdk_env.stop()
    again = cli("resume", path.name, "--strict")
    assert (again.returncode, again.stdout) == (0, done.stdout), again.stderr
    assert sdk_env.count() == asked and len(stored.calls()) == CHILDREN[way] * CALLS


LEFT_OPEN = """
import custody, openai
with custody.session(project="P", experiment="E"):
    stream = openai.OpenAI().chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "Hello"}], stream=True)
    print(next(stream).object)
"""


def test_a_stream_left_open_does_not_keep_the_process(tmp_path: Path, sdk_env: Simulator) -> None:
    sdk_env.chunk_delay = 0.05
    (tmp_path / "study.py").write_text(LEFT_OPEN)
    command = [sys.executable, "-W", "ignore", "study.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "chat.completion.chunk\n"), done.stderr
