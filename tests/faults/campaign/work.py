"""The program under attack: one session, numbered items, several ways to ask.

It runs in a process forked from a server that has imported the SDKs, so a run costs no start of Python.
What it saw it writes to a pipe, one line for each item, after the SDK has returned:

=======================  =============================================================================
``ack <item> <sha>``     the text of the answer, as a digest
``rescued <item> <sha>`` the answer could not be archived; the error carried it
``refused``              no further paid call is sent
``failed - <why>``       anything else that was raised
=======================  =============================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import hashlib
import inspect
import json
import os
import resource
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import anthropic
import openai
import plants

import custody
from custody.errors import SessionFinished
from custody.journal import archive, closing
from custody.journal.writer import Journal

PROJECT, EXPERIMENT = "faults", "campaign"
GPT, CLAUDE = "gpt-4o", "claude-sonnet-4-6"
ITEM = "x-item"  # the header by which the simulator tells items apart
REFUSED, FAILED = 3, 4

_PR_SET_PTRACER, _ANY = 0x59616D61, -1


@dataclass(frozen=True)
class Job:
    """What to run. ``calls``: items 0 to calls-1. ``kinds``: by item, in turn; "both" is two at once, async.

    Attributes:
        rotate_bytes: size at which a segment is closed.
        compress_from, index_from: bytes and calls from which a closed segment is compressed and gets a sidecar.
        prompt: characters of filling in each prompt.
        short_writes: write to files in pieces, as a kernel may.
        file_limit: bytes that a file may have (``RLIMIT_FSIZE``); more is written in part, then refused.
        only: the items to ask for, of all; None for each.
        hold: keep the session open until ``Run.release``, for others to join.
        setup: called with the job in the child, before anything else (a name in a module: it is pickled).
    """

    root: Path
    calls: int
    env: dict[str, str]
    log: Path
    kinds: tuple[str, ...] = ("chat", "stream", "claude", "both")
    rotate_bytes: int | None = 48 * 1024
    compress_from: int | None = None
    index_from: int | None = None
    prompt: int = 40
    plant: str | None = None
    short_writes: bool = False
    file_limit: int | None = None
    only: frozenset[int] | None = None
    setup: Callable[[Job], None] | None = None
    hold: bool = False


def main(job: Job, go: Connection | None, acks: Connection) -> None:
    """The child's whole life."""
    os.environ.clear()
    os.environ.update(job.env)
    out = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(out, 1)
    os.dup2(out, 2)
    if hasattr(ctypes.CDLL(None), "prctl"):
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _ANY, 0, 0, 0)  # strace may attach where only a parent could
    _prepare(job)
    if go is not None:
        go.recv()
    sys.exit(run(job, acks.fileno(), hold=go if job.hold else None))


def _prepare(job: Job) -> None:
    if job.rotate_bytes is not None:
        _default(Journal.__init__, "rotate_bytes", job.rotate_bytes)
    if job.compress_from is not None:
        _default(closing.Closer.__init__, "compress_from", job.compress_from)
    if job.index_from is not None:
        closing.PACK = archive.PACK = job.index_from
    if job.plant:
        plants.plant(job.plant)
    if job.short_writes:
        _write_in_pieces()
    if job.file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job.file_limit, resource.RLIM_INFINITY))
    if job.setup is not None:
        job.setup(job)


def _default(function: Any, name: str, value: object) -> None:
    """Change the default of an argument; fails where there is no such argument any more."""
    if function.__kwdefaults__ and name in function.__kwdefaults__:
        function.__kwdefaults__[name] = value
        return
    names = list(inspect.signature(function).parameters)
    before = function.__defaults__
    at = names.index(name) - (len(names) - len(before))
    function.__defaults__ = (*before[:at], value, *before[at + 1 :])


def _write_in_pieces() -> None:
    write = os.write

    def pieces(fd: int, data: Any) -> int:
        view = memoryview(data)
        return write(fd, view[: max(1, len(view) // 3)] if len(view) > 200 else view)

    os.write = pieces


def run(job: Job, pipe: int, hold: Connection | None = None) -> int:
    """The program; gives its exit code."""

    def say(*words: object) -> None:
        os.write(pipe, (" ".join(map(str, words)) + "\n").encode())

    try:
        with _session(job) as session:
            for items, kind in plan(job):
                raised = []
                for item, got in zip(items, ask(session, kind, items, job.prompt), strict=True):
                    if isinstance(got, str):
                        say("ack", item, digest(got))
                    elif isinstance(got, custody.AnswerNotArchived):
                        say("rescued", item, hashlib.sha256(got.body).hexdigest())
                    else:
                        raised.append(got)
                if raised:  # after all answers of a pair were told: one of them may be refused alone
                    raise raised[0]
            if hold is not None:
                say("open", "-")
                with contextlib.suppress(EOFError):
                    hold.recv()
    except Exception as error:
        if isinstance(error, custody.ArchiveUnavailable) or "; nothing was sent" in str(error):
            say("refused", "-")
            return REFUSED
        say("failed", "-", f"{type(error).__name__}: {error}".replace("\n", " ")[:300])
        traceback.print_exc()
        return FAILED
    return 0


def _session(job: Job) -> custody.Session:
    names = {"project": PROJECT, "experiment": EXPERIMENT}
    try:
        return custody.session(**names, root=job.root)
    except SessionFinished:
        (path,) = job.root.glob("projects/*/experiments/*/sessions/*")
        return custody.session(**names, root=job.root, session=path.name)


def plan(job: Job) -> Iterator[tuple[list[int], str]]:
    """Items and how they are asked."""
    item, turn = 0, 0
    while item < job.calls:
        kind = job.kinds[turn % len(job.kinds)]
        count = min(2 if kind == "both" else 1, job.calls - item)
        items = list(range(item, item + count))
        if job.only is None or not job.only.isdisjoint(items):
            yield items, kind
        item, turn = item + count, turn + 1


def ask(session: custody.Session, kind: str, items: list[int], prompt: int) -> list[str | Exception]:
    """Ask in one of several ways; gives a text or an exception for each item."""
    if kind == "both":
        return asyncio.run(_together(session, items, prompt))
    (item,) = items
    with session.scope(item=item):
        try:
            return [_claude(item, prompt) if kind == "claude" else _chat(item, prompt, stream=kind == "stream")]
        except Exception as error:
            return [error]


async def _together(session: custody.Session, items: list[int], prompt: int) -> list[str | Exception]:
    async with openai.AsyncOpenAI(max_retries=0) as client:

        async def one(item: int) -> str:
            with session.scope(item=item):
                made = await client.chat.completions.create(
                    model=GPT, messages=_said(item, prompt), extra_headers=_named(item)
                )
            return made.choices[0].message.content or ""

        found = await asyncio.gather(*map(one, items), return_exceptions=True)
    return [got if isinstance(got, (str, Exception)) else RuntimeError(repr(got)) for got in found]


def _chat(item: int, prompt: int, *, stream: bool) -> str:
    asked: dict[str, Any] = {"model": GPT, "messages": _said(item, prompt), "extra_headers": _named(item)}
    if stream:
        parts = _gpt().chat.completions.create(**asked, stream=True)
        return "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    return _gpt().chat.completions.create(**asked).choices[0].message.content or ""


def _claude(item: int, prompt: int) -> str:
    with _anthropic().messages.stream(
        model=CLAUDE, max_tokens=200, messages=_said(item, prompt), extra_headers=_named(item)
    ) as stream:
        return str(stream.get_final_text())


def _said(item: int, prompt: int) -> Any:
    return [{"role": "user", "content": f"Item {item}. " + "word " * (prompt // 5)}]


def _named(item: int) -> dict[str, str]:
    return {ITEM: str(item)}


@cache
def _gpt() -> openai.OpenAI:
    return openai.OpenAI(max_retries=0)


@cache
def _anthropic() -> anthropic.Anthropic:
    return anthropic.Anthropic(max_retries=0)


def forget_clients() -> None:
    """Let go of the clients and their connections."""
    for made in (_gpt, _anthropic):
        if made.cache_info().currsize:
            made().close()
        made.cache_clear()


def digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def texts_of(answer: Any) -> str:
    """The text of an archived answer, as ``ask`` gave it: read without the SDK."""
    if answer.json is not None:
        return str(answer.json["choices"][0]["message"]["content"] or "")
    parts = []
    for event in answer.events:
        with contextlib.suppress(ValueError, KeyError, IndexError, TypeError):
            data = json.loads(event.data)
            if data.get("type") == "content_block_delta":
                parts.append(data["delta"].get("text", ""))
            elif data.get("choices"):
                parts.append(data["choices"][0]["delta"].get("content") or "")
    return "".join(parts)
