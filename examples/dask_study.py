"""A study fanned out on Dask distributed: every worker is a process that joins the session, and one may die.

    pip install 'custody[dask]'
    python examples/dask_study.py                      needs OPENAI_API_KEY

Workers that this program starts inherit the session (CUSTODY_SESSION and the variables beside it), and so do those
that Dask starts in place of dead ones. Dask runs the tasks of a dead worker again: what it had been answered is given
from the archive, because document and run say which call it is, and only what is missing is sent.
KILL_A_WORKER=1 kills one, to see it.
"""

import os
import signal

import openai
from distributed import Client, LocalCluster, as_completed

import custody

DOCUMENTS = [f"document {number}" for number in range(8)]
RUNS = 6


def analyse(document: str, run: int) -> tuple[str, int, str]:
    """One task: two calls, of which the second needs the answer of the first. Runs in a worker."""
    client = openai.OpenAI(max_retries=0)
    with custody.session(project="examples", experiment="dask").scope(document=document, run=run):

        def ask(text: str) -> str:
            made = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": text}])
            return str(made.choices[0].message.content)

        return document, run, ask(f"Shorten this: {ask(f'What does {document} argue?')}")


def main() -> None:
    with (
        custody.session(project="examples", experiment="dask") as session,
        LocalCluster(n_workers=4, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        tasks = [client.submit(analyse, name, run, pure=False) for run in range(RUNS) for name in DOCUMENTS]
        answers = {}
        for number, (_, (document, run, text)) in enumerate(as_completed(tasks, with_results=True)):
            answers[document, run] = text
            if number == len(tasks) // 3 and os.environ.get("KILL_A_WORKER"):
                os.kill(min(client.run(os.getpid).values()), signal.SIGKILL)
        for (document, run), text in sorted(answers.items()):
            print(f"{document}, run {run}: {text}")
        print(f"{len(answers)} answers are in {session.id}")


if __name__ == "__main__":
    main()
