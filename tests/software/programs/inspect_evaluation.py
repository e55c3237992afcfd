"""A program on Inspect: one evaluation with a solver, a tool and a scorer, on a model of each vendor."""

from __future__ import annotations

import sys

from inspect_ai import Task
from inspect_ai import eval as evaluate
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes, model_graded_qa
from inspect_ai.solver import generate, system_message, use_tools
from inspect_ai.tool import Tool, tool


@tool
def weather() -> Tool:
    async def execute(city: str) -> str:
        """The weather of a city.

        Args:
            city: Its name.
        """
        return f"mild in {city}"

    return execute


def main() -> None:
    samples = [Sample(input=f"River number {number}?", target="answer", id=number) for number in range(3)]
    plain = Task(samples, solver=[system_message("Be brief."), generate()], scorer=includes(), name="plain")
    graded = Task(samples[:1], solver=[use_tools(weather()), generate()], scorer=model_graded_qa(), name="graded")
    for model in ("openai/gpt-4o", "anthropic/claude-sonnet-4-6"):
        logs = evaluate([plain, graded], model=model, display="none", log_dir=sys.argv[1], max_tokens=300)
        for log in sorted(logs, key=lambda log: log.eval.task):
            answers = sorted(sample.output.completion for sample in log.samples or [])
            print(model, log.eval.task, log.status, answers, log.error)


if __name__ == "__main__":
    main()
