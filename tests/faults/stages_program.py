"""The study that test_crash_points kills at a chosen system call: steps, a plan in threads, stages with state.

KILL_AT=n: SIGKILL at the n-th call of a function that changes a file. COUNT=path: write how many there were.
Each answer that the program has seen is written to ACKS at once.
"""

import json
import os
import signal
import threading
from typing import Any

KILL_AT, COUNT = int(os.environ.get("KILL_AT", "0")), os.environ.get("COUNT")
_lock = threading.Lock()
_calls = 0


def _watched(name: str) -> None:
    original = getattr(os, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        global _calls
        with _lock:
            _calls += 1
            if _calls == KILL_AT:
                os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(os, name, call)


_write = os.write
for _name in ("write", "fdatasync", "fsync", "replace", "link", "unlink", "mkdir"):
    _watched(_name)

import openai  # noqa: E402

import custody  # noqa: E402
from custody.research.matrix import Item  # noqa: E402

acks = os.open(os.environ["ACKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
client = openai.OpenAI(max_retries=0)


def ask(who: str, prompt: str) -> str:
    answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": prompt}])
    text = answer.choices[0].message.content or ""
    _write(acks, (json.dumps([who, text]) + "\n").encode())
    return text


def analyse(item: Item) -> dict[str, Any]:
    text = ask(f"analysis {item.name} {item.run}", f"Analyse {item.name}.")
    return {"document": item.name, "run": item.run, "text": text}


with custody.session("P", "E", root=os.environ["ROOT"]) as s:

    @s.step(labels=("document", "run"))
    def extract(document: str, run: int, text: str) -> dict[str, Any]:
        return {
            "document": document,
            "run": run,
            "second": ask(f"extract {document} {run}", "Same for all."),
            "n": len(text),
        }

    with s.stage("analysis") as stage:
        if not stage.completed:
            stage.save(s.plan(["a", "b"], runs=3, progress=False).map(analyse, workers=3))
    rows = stage.state
    with s.stage("extraction"):
        extracted = [extract(**row) for row in rows]
        s.results.aggregated("rows.csv", extracted)
    with s.stage("synthesis") as last:
        if not last.completed:
            last.save([ask(f"synthesis {n}", "Conclude.") for n in range(2)])
    s.results.final("report.json", {"rows": rows, "extracted": extracted, "conclusions": last.state})

if COUNT:
    with open(COUNT, "w") as file:
        file.write(str(_calls))
