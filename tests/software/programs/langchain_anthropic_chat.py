"""A program on langchain-anthropic: chat, streams, batches, tools, structured output, thinking."""

from __future__ import annotations

import asyncio

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel


class River(BaseModel):
    """A river."""

    name: str
    length_km: int


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"mild in {city}"


async def concurrently(model: ChatAnthropic) -> None:
    made = await asyncio.gather(*(model.ainvoke(f"River number {number}?") for number in range(4)))
    print("gather", [message.content for message in made])
    print("astream", "".join([chunk.text async for chunk in model.astream("A river, streamed.")]))


def main() -> None:
    model = ChatAnthropic(model_name="claude-sonnet-4-6", max_tokens_to_sample=300, timeout=30, stop=None)
    print("invoke", model.invoke("A river?").content)
    print("batch", [message.content for message in model.batch(["One river?", "Another?"])])
    print("stream", "".join(chunk.text for chunk in model.stream("A river.")))
    asked = HumanMessage("How is the weather in Oslo?")
    called = model.bind_tools([weather]).invoke([asked])
    results = [ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]) for call in called.tool_calls]
    print("tools", model.bind_tools([weather]).invoke([asked, called, *results]).content)
    print("structured", model.with_structured_output(River).invoke("A river?"))
    print("tokens", model.get_num_tokens_from_messages([asked]))
    asyncio.run(concurrently(model))


if __name__ == "__main__":
    main()
