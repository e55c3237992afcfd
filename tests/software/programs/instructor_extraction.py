"""A program on instructor: typed answers of both vendors, lists, partial objects, asked again when invalid."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import instructor
import openai
from pydantic import BaseModel, field_validator

ASK: Any = [{"role": "user", "content": "A river?"}]
_seen: list[str] = []


class River(BaseModel):
    """A river."""

    name: str
    length_km: int


class Picky(BaseModel):
    """Refuses the first answer, so that it is asked for again."""

    name: str

    @field_validator("name")
    @classmethod
    def second_only(cls, name: str) -> str:
        _seen.append(name)
        if len(_seen) == 1:
            raise ValueError("another one, please")
        return name


async def concurrently() -> list[River]:
    client: Any = instructor.from_openai(openai.AsyncOpenAI())
    asked = [{"role": "user", "content": f"River number {number}?"} for number in range(3)]
    made = [client.chat.completions.create(model="gpt-4o", response_model=River, messages=[one]) for one in asked]
    return list(await asyncio.gather(*made))


def main() -> None:
    gpt: Any = instructor.from_openai(openai.OpenAI())
    by_json: Any = instructor.from_openai(openai.OpenAI(), mode=instructor.Mode.JSON_SCHEMA)
    claude: Any = instructor.from_anthropic(anthropic.Anthropic())
    chat: Any = {"model": "gpt-4o", "messages": ASK}
    print("tools", gpt.chat.completions.create(**chat, response_model=River))
    print("json", by_json.chat.completions.create(**chat, response_model=River))
    print("again", gpt.chat.completions.create(**chat, response_model=Picky, max_retries=2), len(_seen))
    print("partial", list(gpt.chat.completions.create_partial(**chat, response_model=River))[-1])
    print("many", list(gpt.chat.completions.create_iterable(**chat, response_model=River)))
    print(
        "claude", claude.messages.create(model="claude-sonnet-4-6", max_tokens=300, messages=ASK, response_model=River)
    )
    print("gather", asyncio.run(concurrently()))


if __name__ == "__main__":
    main()
