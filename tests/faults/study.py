"""The program that the fault tests kill: both SDKs, whole and streamed, one at a time and 16 in flight.

Every answer that the program sees is written to ACKS at once, so that a later start can be held to it.
Run by path, in a process of its own.
"""

import asyncio
import hashlib
import json
import os
import random
from pathlib import Path

import anthropic
import openai

import custody

ACKS = os.open(os.environ["ACKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
DOCUMENTS = [f"doc_{n:02d}" for n in range(int(os.environ.get("DOCUMENTS", "6")))]
RUNS = 6
GPT, CLAUDE = "gpt-4o", "claude-sonnet-4-6"
SKIP = os.environ.get("SKIP") == "1"

if os.environ.get("PLANT"):
    import plants  # beside this file

    plants.plant(os.environ["PLANT"])


def ask(document: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Analyse {document}."}]


def seen(kind: str, document: str, run: int, text: str) -> None:
    digest = hashlib.sha256(text.encode()).hexdigest()
    os.write(ACKS, (json.dumps([kind, document, run, digest, text[:60]]) + "\n").encode())


def pairs() -> list[tuple[str, int]]:
    found = [(document, run) for document in DOCUMENTS for run in range(RUNS)]
    if os.environ.get("ORDER"):
        random.Random(os.environ["ORDER"]).shuffle(found)
    return found


def one_at_a_time(session: custody.Session) -> None:
    gpt, claude = openai.OpenAI(max_retries=0), anthropic.Anthropic(max_retries=0)
    for document, run in pairs():
        if run > 2:
            continue
        with session.scope(corpus_file=document, run=run):
            made = gpt.chat.completions.create(model=GPT, messages=ask(document))
            seen("gpt", document, run, made.choices[0].message.content or "")
            words = [
                chunk.choices[0].delta.content or ""
                for chunk in gpt.chat.completions.create(model=GPT, messages=ask(document), stream=True)
                if chunk.choices
            ]
            seen("gpt-stream", document, run, "".join(words))
            with claude.messages.stream(model=CLAUDE, max_tokens=200, messages=ask(document)) as stream:
                seen("claude-stream", document, run, stream.get_final_text())


async def many_in_flight(session: custody.Session) -> None:
    gpt, claude = openai.AsyncOpenAI(max_retries=0), anthropic.AsyncAnthropic(max_retries=0)
    slots = asyncio.Semaphore(16)

    async def whole(document: str, run: int) -> None:
        async with slots:
            with session.scope(corpus_file=document, run=run):
                made = await claude.messages.create(model=CLAUDE, max_tokens=200, messages=ask(document))
            seen("claude", document, run, made.content[0].text)

    async def streamed(document: str, run: int) -> None:
        async with slots:
            with session.scope(corpus_file=document, run=run):
                stream = await gpt.responses.create(model=GPT, input=f"Analyse {document}.", stream=True)
                words = [event.delta async for event in stream if event.type == "response.output_text.delta"]
            seen("gpt-responses", document, run, "".join(words))

    await asyncio.gather(*(work(d, r) for d, r in pairs() for work in (whole, streamed)))
    await gpt.close()
    await claude.close()


def main() -> None:
    done = Path(os.environ["ACKS"] + ".first_stage_done")
    with custody.session(project="faults", experiment="kills") as session:
        with session.stage("first") as stage:
            if not (SKIP and stage.completed):
                one_at_a_time(session)
                done.touch()
        with session.stage("second"):
            asyncio.run(many_in_flight(session))


main()
