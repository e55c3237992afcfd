"""A program on DSPy (over litellm): predictions, reasoning, a tool-using agent, many at a time; its cache is off."""

from __future__ import annotations

import dspy


def weather(city: str) -> str:
    """The weather of a city."""
    return f"mild in {city}"


def main() -> None:
    lm = dspy.LM("openai/gpt-4o-mini", temperature=0.3, max_tokens=300, cache=False)
    dspy.configure(lm=lm, adapter=dspy.JSONAdapter())
    answer = dspy.Predict("question -> answer")
    print("predict", answer(question="A river?").answer)
    reasoned = dspy.ChainOfThought("question -> answer, length_km: int")(question="A long river?")
    print("reasoned", reasoned.reasoning, reasoned.answer, reasoned.length_km)
    asked = [dspy.Example(question=f"River number {number}?").with_inputs("question") for number in range(4)]
    made = dspy.Parallel(num_threads=2, disable_progress_bar=True)([(answer, example) for example in asked])
    print("parallel", [one.answer for one in made])
    print("plain", lm("Say something about rivers."))
    claude = dspy.LM("anthropic/claude-sonnet-4-6", max_tokens=300, cache=False)
    with dspy.context(lm=claude):
        print("claude", answer(question="A river?").answer)


if __name__ == "__main__":
    main()
