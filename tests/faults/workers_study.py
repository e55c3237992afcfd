"""The program of a worker: a plan whose every item is asked once; what it is told is written to ACKS at once.

Run by ``custody run --worker``. With PLANT one of the bugs of ``workers_plants`` is planted.
"""

import json
import os

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
gpt = openai.OpenAI(max_retries=0)
with custody.session() as session:
    for item in session.plan([f"doc_{n:03d}" for n in range(documents)], runs=runs, progress=False):
        asked = [{"role": "user", "content": f"Analyse {item.name}, run {item.run}."}]
        made = gpt.chat.completions.create(model="gpt-4o", messages=asked)  # type: ignore[arg-type]
        said = [item.name, item.run, made.choices[0].message.content]
        os.write(ACKS, (json.dumps(said) + "\n").encode())
