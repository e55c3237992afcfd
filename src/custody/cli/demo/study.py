"""Eight speeches, six analyses each, then a table: an experiment as people write it.

Nothing in here is special: the OpenAI SDK, a loop, a session, a label for each call.
"""

import json
import os
import signal
from pathlib import Path

import openai

import custody

KILL_AFTER = int(os.environ.get("DEMO_KILL_AFTER", "0"))

FORMAT = {
    "type": "json_schema",
    "json_schema": {
        "name": "analysis",
        "schema": {
            "type": "object",
            "properties": {"score": {"type": "integer", "minimum": 0, "maximum": 100}, "reason": {"type": "string"}},
            "required": ["score", "reason"],
        },
    },
}

client = openai.OpenAI()
answers: dict[tuple[str, int], str] = {}

with custody.session(project="MVA", experiment="experiment_2") as session:
    with session.stage("analysis"):
        for document in sorted(Path("corpus").glob("*.txt")):
            prompt = "Rate the populism of this speech from 0 to 100.\n\n" + document.read_text("utf-8")
            for run in range(1, 7):
                with session.scope(corpus_file=document.name, run=run):
                    response = client.chat.completions.create(
                        model="gpt-4o", messages=[{"role": "user", "content": prompt}], response_format=FORMAT
                    )
                answers[document.name, run] = response.choices[0].message.content
                print(f"answer {len(answers)}", flush=True)
                if len(answers) == KILL_AFTER:
                    os.kill(os.getpid(), signal.SIGKILL)  # the power goes out

    with session.stage("extraction"):
        rows = []
        for (name, run), text in answers.items():
            parsed = text
            rows.append({"corpus_file": name, "run": run, "score": parsed.get("score")})

    results = session.path / "analysis_results" / "aggregated_data" / "scores.json"
    results.write_text(json.dumps(rows, indent=1), "utf-8")
