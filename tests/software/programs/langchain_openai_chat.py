"""A program on langchain-openai: chat, streams, batches, tools, structured output, embeddings, the Responses API."""

from __future__ import annotations

import asyncio

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel


class River(BaseModel):
    """A river."""

    name: str
    length_km: int


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"mild in {city}"


async def concurrently(model: ChatOpenAI) -> None:
    made = await asyncio.gather(*(model.ainvoke(f"River number {number}?") for number in range(4)))
    print("gather", [message.content for message in made])
    print("astream", "".join([str(chunk.content) async for chunk in model.astream("A river, streamed.")]))


def main() -> None:
    model = ChatOpenAI(model="gpt-4o", temperature=0.2, max_retries=2)
    chain = ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "A river in {land}?")]) | model
    print("chain", chain.invoke({"land": "Norway"}).content)
    print("batch", [message.content for message in chain.batch([{"land": "Peru"}, {"land": "Chad"}])])
    print("stream", "".join(str(chunk.content) for chunk in model.stream("A river.", stream_usage=True)))
    asked = HumanMessage("How is the weather in Oslo?")
    called = model.bind_tools([weather]).invoke([asked])
    results = [ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]) for call in called.tool_calls]
    print("tools", model.bind_tools([weather]).invoke([asked, called, *results]).content)
    print("structured", model.with_structured_output(River).invoke("A river?"))
    print("by tool", model.with_structured_output(River, method="function_calling").invoke("A river?"))
    print("responses", ChatOpenAI(model="gpt-4o", use_responses_api=True).invoke("A river?").text)
    vectors = OpenAIEmbeddings(model="text-embedding-3-small", dimensions=8, check_embedding_ctx_length=False)
    print("embeddings", vectors.embed_documents(["one", "two"]), vectors.embed_query("three"))
    asyncio.run(concurrently(model))


if __name__ == "__main__":
    main()
