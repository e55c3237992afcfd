"""A program that asks from child processes of every kind; what each was told goes to standard output as JSON.

    python program.py SDK URL

Run under `custody run`, as any program may be.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from sdks import SDKS  # beside this file, also in a child that was spawned

NAME, URL = sys.argv[1:3]


def ask(text: str) -> str:
    sdk = SDKS[NAME]
    with sdk.opened(URL) as client:
        return sdk.ask(client, text)


def put(queue: Any, text: str) -> None:
    queue.put(ask(text))


def fork() -> list[str]:
    """Both processes go on asking; the child with a client of its own, for two cannot share a connection."""
    sdk = SDKS[NAME]
    with sdk.opened(URL) as client:
        said = [sdk.ask(client, "before the fork")]
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                sdk.forked()
                os.write(theirs, ask("in the child").encode())
                status = 0
            except BaseException as error:
                os.write(2, f"the child: {error!r}\n".encode())
                status = 1
            sys.stdout.flush()
            os._exit(status)
        os.close(theirs)
        said.append(sdk.ask(client, "in the parent"))
        assert os.waitpid(child, 0)[1] == 0
    with os.fdopen(ours, "rb") as pipe:
        return [*said, pipe.read().decode()]


def spawn() -> list[str]:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=put, args=(queue, "spawned"))
    child.start()
    said = queue.get(timeout=90)
    child.join()
    assert child.exitcode == 0
    return [said, ask("after the child")]


def pools() -> list[str]:
    texts = [f"number {number}" for number in range(6)]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        said = pool.map(ask, texts[:3], chunksize=1)
        pool.close()
        pool.join()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("forkserver")) as executor:
        return [*said, *executor.map(ask, texts[3:])]


WAYS: list[Callable[[], list[str]]] = [fork, spawn, pools]


if __name__ == "__main__":
    told: dict[str, Any] = {}
    for way in WAYS:
        try:
            told[way.__name__] = way()
        except Exception as error:
            told[way.__name__] = repr(error)
    print(json.dumps(told))
