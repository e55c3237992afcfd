"""The program of a worker: a plan whose every item is asked once; what it is told is written to ACKS at once.

Run by ``custody run --worker``. With PLANT one of the bugs of ``workers_plants`` is planted.
"""

from __future__ import annotations

import asyncio
import json
import os
import time

import openai

import custody

ACKS = os.open(os.environ["ACKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

if os.environ.get("PLANT"):
    from custody.sessions import workers
    from custody.storage.leases import Leases

    assert os.environ["PLANT"] == "everybody"
    first = Leases.claim

    class Nobody:
        def release(self) -> None: ...

    Leases.claim = lambda self, name, token: Nobody()  # type: ignore[assignment, method-assign, return-value]
    workers.order = lambda storage: workers.Order()  # type: ignore[assignment]

documents, runs = map(int, os.environ["PLAN"].split("x"))
names = [f"doc_{n:03d}" for n in range(documents)]


def asked(item: custody.Item) -> dict[str, object]:
    content = f"Analyse {item.name}, run {item.run}."
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": content}]}


def told(item: custody.Item, made: openai.types.chat.ChatCompletion) -> None:
    os.write(ACKS, (json.dumps([item.name, item.run, made.choices[0].message.content]) + "\n").encode())


async def in_a_loop(session: custody.Session) -> None:
    async with openai.AsyncOpenAI(max_retries=0) as client:
        async for item in session.plan(names, runs=runs, progress=False):
            told(item, await client.chat.completions.create(**asked(item)))


def together() -> None:
    """Wait for the other one: what they ask at one moment is what claims are for."""
    ready = f"{os.environ['ACKS']}.ready"
    with open(ready, "ab", buffering=0) as file:
        file.write(b".")
    while os.stat(ready).st_size < int(os.environ["TOGETHER"]):
        time.sleep(0.01)


with custody.session() as session:
    if os.environ.get("ASYNC"):
        asyncio.run(in_a_loop(session))
    else:
        gpt = openai.OpenAI(max_retries=0)
        if "TOGETHER" in os.environ:
            together()
        for item in session.plan(names, runs=runs, progress=False):
            told(item, gpt.chat.completions.create(**asked(item)))
