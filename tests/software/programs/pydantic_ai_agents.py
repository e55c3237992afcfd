"""A program on pydantic-ai: agents of both vendors with a tool, a typed result, a stream, and a conversation."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel
from pydantic_ai import Agent


class River(BaseModel):
    """A river."""

    name: str
    length_km: int


def weather(city: str) -> str:
    """The weather of a city."""
    return f"mild in {city}"


async def streamed(agent: Agent[None, str]) -> str:
    async with agent.run_stream("A river, streamed.") as run:
        return "".join([piece async for piece in run.stream_text(delta=True)])


async def concurrently(agent: Agent[None, str]) -> list[str]:
    runs = await asyncio.gather(*(agent.run(f"River number {number}?") for number in range(3)))
    return [run.output for run in runs]


def main() -> None:
    for name in ("openai-chat:gpt-4o", "openai-responses:gpt-4o", "anthropic:claude-sonnet-4-6"):
        agent = Agent(name, instructions="Be brief.")
        first = agent.run_sync("A river?")
        print(name, "run", first.output, first.usage)
        print(name, "again", agent.run_sync("And then?", message_history=first.all_messages()).output)
        print(name, "tool", Agent(name, tools=[weather]).run_sync("How is the weather in Oslo?").output)
        print(name, "typed", Agent(name, output_type=River).run_sync("A river?").output)
        print(name, "stream", asyncio.run(streamed(agent)))
        print(name, "gather", asyncio.run(concurrently(agent)))


if __name__ == "__main__":
    main()
