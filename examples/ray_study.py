"""A study fanned out on Ray: every worker is a process that joins the session, and one may die.

    pip install 'custody[ray]'
    python examples/ray_study.py                       needs OPENAI_API_KEY

Ray's workers inherit the session (CUSTODY_SESSION and the variables beside it) where Ray is started within it, as here.
On a cluster that runs already they do not know of it: give each machine the session by
``custody run --root URL --session ID --worker NAME -- ray start ...`` (docs/many-machines.md). Ray runs the tasks of a
dead worker again: what it had been answered is given from the archive, because document and run say which call it is,
and only what is missing is sent. KILL_A_WORKER=1 kills one, to see it.
"""

import os
import signal

import openai
import ray

import custody

DOCUMENTS = [f"document {number}" for number in range(8)]
RUNS = 6


@ray.remote(max_retries=3)
def analyse(document: str, run: int) -> tuple[str, int, str, int]:
    """One task: two calls, of which the second needs the answer of the first. Runs in a worker, and tells which."""
    client = openai.OpenAI(max_retries=0)
    with custody.session(project="examples", experiment="ray").scope(document=document, run=run):

        def ask(text: str) -> str:
            made = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": text}])
            return str(made.choices[0].message.content)

        return document, run, ask(f"Shorten this: {ask(f'What does {document} argue?')}"), os.getpid()


def main() -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    with custody.session(project="examples", experiment="ray") as session:
        ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
        left = [analyse.remote(name, run) for run in range(RUNS) for name in DOCUMENTS]
        total, answers = len(left), {}
        while left:
            (done,), left = ray.wait(left)
            document, run, text, worker = ray.get(done)
            answers[document, run] = text
            if len(answers) == total // 3 and os.environ.get("KILL_A_WORKER"):
                os.kill(worker, signal.SIGKILL)
        ray.shutdown()
        for (document, run), text in sorted(answers.items()):
            print(f"{document}, run {run}: {text}")
        print(f"{len(answers)} answers are in {session.id}")


if __name__ == "__main__":
    main()
