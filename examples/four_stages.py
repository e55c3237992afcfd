"""Analyse, extract, calculate, conclude: 8 documents x 6 runs, and a bug in stage two costs nothing.

    mkdir corpus && cp ~/speeches/*.txt corpus/
    python examples/four_stages.py                     needs OPENAI_API_KEY

When it stops, whatever the reason, start it again. An answer that is archived is not paid again; an analysis that
failed is asked again; extraction and calculation run anew only where their code or their input changed.
"""

import json
import os
import statistics

import openai

import custody

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

client = openai.OpenAI(max_retries=0)


def ask(prompt: str, **options: object) -> str:
    answer = client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": prompt}], **options  # type: ignore[call-overload]
    )  # fmt: skip
    return str(answer.choices[0].message.content)


with custody.session(project="MVA", experiment="experiment_2", corpus="corpus/*.txt") as session:

    @session.step
    def extract(text: str) -> dict[str, object]:
        parsed = text if os.environ.get("BUG") else json.loads(text)
        return {"score": parsed.get("score"), "reason": parsed.get("reason")}

    @session.step
    def calculate(rows: list[dict[str, object]]) -> list[dict[str, object]]:
        names = sorted({str(row["document"]) for row in rows})
        scores = {name: [float(str(row["score"])) for row in rows if row["document"] == name] for name in names}
        return [
            {"document": name, "runs": len(found), "mean": statistics.fmean(found), "stdev": statistics.stdev(found)}
            for name, found in scores.items()
        ]

    with session.stage("analysis"):
        answers = {}
        plan = session.plan(runs=6)
        for item in plan:
            try:
                answers[item.name, item.run] = ask(
                    f"Rate the populism of this speech from 0 to 100.\n\n{item.text}", response_format=FORMAT
                )
            except openai.APIError as error:
                plan.fail(item)  # it stays pending, and the next start asks again
                print(f"{item.name}, run {item.run}: {type(error).__name__}")
            else:
                session.results.individual(item, answers[item.name, item.run])

    with session.stage("extraction"):
        rows = [{"document": name, "run": run, **extract(text)} for (name, run), text in answers.items()]
        session.results.aggregated("scores.csv", rows)

    with session.stage("calculation"):
        table = calculate(rows)
        session.results.aggregated("means.csv", table)

    with session.stage("synthesis"):
        conclusion = ask(f"Summarise what this table says:\n{json.dumps(table)}")
        session.results.final("report.md", f"# Populism in {len(table)} speeches\n\n{conclusion}\n")

    print(f"{len(rows)} analyses, report in {session.path.name}/analysis_results/final_deliverables/")
