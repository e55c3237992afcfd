"""The vendor simulator, seen by the real SDKs."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import anthropic
import openai
import pytest
from pydantic import BaseModel, Field

from custody.testing.simulator import Fault, Simulator
from custody.testing.simulator.answers import Answers

ASK: Any = [{"role": "user", "content": "What is the time in Oslo?"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CHAT_TOOL: Any = {"type": "function", "function": {"name": "clock", "parameters": SCHEMA}}
CLAUDE: Any = {"model": "claude-sonnet-4-6", "max_tokens": 200, "messages": ASK}
SONNET_TOOL: Any = {"name": "clock", "input_schema": SCHEMA}


class Part(BaseModel):
    code: str = Field(pattern=r"^[A-Z]{3}-\d{2}$")
    next: Part | None = None


class Plain(BaseModel):
    title: str
    mood: Literal["good", "bad"]
    tags: list[str]
    ratio: float


class Report(Plain):
    score: int = Field(ge=1, le=10)
    part: Part


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


@pytest.fixture
def gpt(sim: Simulator) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=sim.openai_base_url, api_key="sk-simulator", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(sim: Simulator) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=sim.anthropic_base_url, api_key="k", max_retries=0) as client:
        yield client


def ask(gpt: openai.OpenAI, **more: Any) -> Any:
    return gpt.chat.completions.create(**{"model": "gpt-4o", "messages": ASK, **more})


def test_chat(sim: Simulator, gpt: openai.OpenAI) -> None:
    raw = gpt.chat.completions.with_raw_response.create(model="gpt-4o", messages=ASK, n=2)
    made = raw.parse()
    assert made.model == "gpt-4o-2024-08-06" and made.service_tier == "default" and made.system_fingerprint
    assert [c.message.content for c in made.choices] == sim.answers and "answer 000002" in sim.answers[1]
    assert made.usage and made.usage.prompt_tokens_details and made.usage.completion_tokens_details
    assert raw.headers["openai-version"] == "2020-10-01" and raw.headers["x-request-id"].startswith("req_")
    assert "simulator-cookie" in raw.headers["set-cookie"] and "x-ratelimit-limit-tokens" in raw.headers
    assert ask(gpt, model="other").model == "other"
    assert "simulator-cookie" in sim.requests[1].headers["cookie"]
    assert ask(gpt, max_tokens=2).choices[0].finish_reason == "length"
    assert json.loads(ask(gpt, response_format={"type": "json_object"}).choices[0].message.content)


def test_chat_stream(sim: Simulator, gpt: openai.OpenAI) -> None:
    chunks = list(ask(gpt, stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1]) == sim.answers[0]
    assert len(chunks) > 20 and chunks[-1].usage and chunks[-2].choices[0].finish_reason == "stop"
    assert ask(gpt, stream=True).response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert all(c.usage is None for c in ask(gpt, stream=True))
    assert {c.choices[0].index for c in ask(gpt, stream=True, n=3)} == {0, 1, 2}


def test_chat_tools(sim: Simulator, gpt: openai.OpenAI) -> None:
    message = ask(gpt, tools=[CHAT_TOOL]).choices[0].message
    call = message.tool_calls[0]
    assert call.function.name == "clock" and set(json.loads(call.function.arguments)) == {"city"}
    with gpt.chat.completions.stream(model="gpt-4o", messages=ASK, tools=[CHAT_TOOL]) as stream:
        streamed = stream.get_final_completion().choices[0]
    assert streamed.finish_reason == "tool_calls" and streamed.message.tool_calls
    assert streamed.message.tool_calls[0].function.arguments == sim.answers[-1]
    assert ask(gpt, tools=[CHAT_TOOL], tool_choice="none").choices[0].message.content
    result = {"role": "tool", "tool_call_id": call.id, "content": "noon"}
    turns = [*ASK, message.model_dump(exclude_none=True), result]
    assert ask(gpt, tools=[CHAT_TOOL], messages=turns).choices[0].finish_reason == "stop"


def test_parse(gpt: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    chat = gpt.chat.completions.parse(model="gpt-4o", messages=ASK, response_format=Report).choices[0].message
    answer = gpt.responses.parse(model="gpt-4o", input="Report.", text_format=Report).output_parsed
    message = claude.messages.parse(**CLAUDE, output_format=Plain).parsed_output
    assert isinstance(chat.parsed, Report) and isinstance(answer, Report) and isinstance(message, Plain)
    assert len({chat.parsed.title, answer.title, message.title}) == 3


def test_responses(sim: Simulator, gpt: openai.OpenAI) -> None:
    def respond(**more: Any) -> Any:
        return gpt.responses.create(model="gpt-4o-mini", input="Hello", **more)

    made = respond(instructions="Be brief.")
    assert made.output_text == sim.answers[0] and made.model == "gpt-4o-mini-2024-07-18"
    assert made.status == "completed" and made.usage and made.instructions == "Be brief."
    events = list(respond(stream=True))
    kinds = list(dict.fromkeys(e.type.removeprefix("response.") for e in events))
    assert " ".join(kinds) == (
        "created in_progress output_item.added content_part.added output_text.delta output_text.done "
        "content_part.done output_item.done completed"
    )
    assert [e.sequence_number for e in events] == list(range(len(events)))
    with gpt.responses.stream(model="gpt-4o", input="Hello") as stream:
        assert stream.get_final_response().output_text == sim.answers[-1]
    tool: Any = {"type": "function", "name": "clock", "parameters": SCHEMA, "strict": True}
    assert respond(tools=[tool]).output[0].type == "function_call"
    kinds = [e.type for e in respond(tools=[tool], stream=True)]
    assert "response.function_call_arguments.done" in kinds and kinds[-1] == "response.completed"
    assert respond(max_output_tokens=2).status == "incomplete"


def test_openai_rest(gpt: openai.OpenAI) -> None:
    default = gpt.embeddings.create(model="text-embedding-3-small", input=["a", "b"])  # base64 on the wire
    plain = gpt.embeddings.create(model="m", input="a", dimensions=8, encoding_format="float")
    assert [len(d.embedding) for d in default.data] == [1536, 1536] and len(plain.data[0].embedding) == 8
    assert "gpt-4o" in [m.id for m in gpt.models.list()] and gpt.models.retrieve("gpt-4o").object == "model"
    with pytest.raises(openai.NotFoundError, match="nothing"):
        gpt.models.retrieve("nothing")
    with pytest.raises(openai.NotFoundError, match="no such URL"):
        gpt.fine_tuning.jobs.list()
    assert gpt.completions.create(model="gpt-3.5-turbo-instruct", prompt="Hello").choices[0].text
    assert len(list(gpt.completions.create(model="gpt-3.5-turbo-instruct", prompt="Hello", stream=True))) > 20
    assert gpt.moderations.create(input=["a", "b"]).results[1].categories.self_harm is False


def test_messages(sim: Simulator, claude: anthropic.Anthropic) -> None:
    raw = claude.messages.with_raw_response.create(**CLAUDE)
    made = raw.parse()
    assert made.content[0].type == "text" and made.content[0].text == sim.answers[0]
    assert (made.model, made.stop_reason, made.usage.inference_geo) == ("claude-sonnet-4-6", "end_turn", "us")
    assert raw.headers["request-id"] == made._request_id and "anthropic-organization-id" in raw.headers
    assert claude.messages.create(**CLAUDE | {"max_tokens": 1}).stop_reason == "max_tokens"
    assert claude.messages.count_tokens(model="m", messages=ASK).input_tokens == made.usage.input_tokens
    models = list(claude.models.list())
    assert claude.models.retrieve(models[0].id) == models[0] and models[0].line == "opus"
    with claude.messages.stream(**CLAUDE) as stream:
        assert "".join(stream.text_stream) == sim.answers[-1]
        assert stream.get_final_message().usage.output_tokens > 1
    kinds = [e.type for e in claude.messages.create(**CLAUDE, stream=True)]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]


def test_messages_tools(sim: Simulator, claude: anthropic.Anthropic) -> None:
    made = claude.messages.create(**CLAUDE, tools=[SONNET_TOOL])
    assert [b.type for b in made.content] == ["text", "tool_use"] and made.stop_reason == "tool_use"
    with claude.messages.stream(**CLAUDE, tools=[SONNET_TOOL], tool_choice={"type": "any"}) as stream:
        block = stream.get_final_message().content[0]
    assert block.type == "tool_use" and block.input == json.loads(sim.answers[-1])


@pytest.mark.parametrize("status", [429, 500])
def test_retry_is_counted_twice(sim: Simulator, gpt: openai.OpenAI, status: int) -> None:
    sim.inject(Fault(status=status, retry_after=0))
    assert ask(gpt.with_options(max_retries=1)).choices
    assert [s.status for s in sim.requests] == [status, 200] and (sim.paid(), sim.answered()) == (2, 1)
    assert list(sim.by_body().values()) == [2]


def test_errors(sim: Simulator, gpt: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    sim.inject(Fault(status=429, retry_after=7, path="/chat/", body="Oslo"))
    gpt.embeddings.create(model="m", input="Oslo")
    with pytest.raises(openai.RateLimitError) as limited:
        ask(gpt)
    assert (limited.value.code, limited.value.response.headers["retry-after"]) == ("rate_limit_exceeded", "7")
    sim.inject(Fault(status=529))
    with pytest.raises(anthropic.InternalServerError) as busy:
        claude.messages.create(**CLAUDE)
    assert busy.value.type == "overloaded_error" and str(busy.value.request_id) in str(busy.value.body)
    with pytest.raises(openai.AuthenticationError, match="sk-invalid-1"):
        ask(gpt.with_options(api_key="sk-invalid-1"))
    with pytest.raises(anthropic.AuthenticationError, match="sk-invalid-2"):
        claude.with_options(api_key="sk-invalid-2").messages.create(**CLAUDE)


def test_broken_connections(sim: Simulator, gpt: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    sim.inject(Fault(cut_after=3), times=3)
    got = []
    with pytest.raises(openai.APIConnectionError):
        got.extend(ask(gpt, stream=True))
    assert len(got) == 3
    with pytest.raises(Exception, match="incomplete chunked read"):  # this SDK does not wrap it
        list(claude.messages.create(**CLAUDE, stream=True))
    with pytest.raises(openai.APIConnectionError):
        ask(gpt)
    sim.inject(Fault(drop=True))
    with pytest.raises(openai.APIConnectionError):
        ask(gpt)
    assert (sim.paid(), sim.answered()) == (4, 0)


def test_concurrent(sim: Simulator, gpt: openai.OpenAI) -> None:
    """None is answered before the last one has come."""
    sim.inject(Fault(hold_after=1), times=20)

    def text(_: int) -> str:
        return "".join(chunk.choices[0].delta.content or "" for chunk in ask(gpt, stream=True) if chunk.choices)

    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(text, number) for number in range(20)]
        while sim.count() < 20:
            time.sleep(0.01)
        assert sim.answered() == 0
        sim.release(10_000)
        texts = {one.result() for one in asked}
    assert texts == set(sim.answers) and len(texts) == sim.answered() == 20


def test_async(sim: Simulator) -> None:
    async def run() -> None:
        many = openai.AsyncOpenAI(base_url=sim.openai_base_url, api_key="k")
        one = anthropic.AsyncAnthropic(base_url=sim.anthropic_base_url, api_key="k")
        async with many as gpt, one as claude:
            chats = [gpt.chat.completions.create(model="gpt-4o", messages=ASK) for _ in range(20)]
            assert len({made.choices[0].message.content for made in await asyncio.gather(*chats)}) == 20
            events = [e async for e in await gpt.responses.create(model="m", input="Hello", stream=True)]
            assert events[-1].type == "response.completed"
            async with claude.messages.stream(**CLAUDE) as told:
                assert await told.get_final_text() == sim.answers[-1]

    asyncio.run(run())


def test_plain_http(capfd: pytest.CaptureFixture[str]) -> None:
    body = json.dumps({"model": "gpt-4o", "messages": ASK, "stream": True}).encode()
    headers = {"authorization": "Bearer k", "accept-encoding": "gzip"}
    with Simulator(gzip=True, chunk_delay=0.02) as sim:
        link = http.client.HTTPConnection("127.0.0.1", sim.port)
        link.request("GET", "/v1/models", headers=headers)
        assert link.getresponse().read()[:2] == b"\x1f\x8b"
        link.request("POST", "/v1/chat/completions", iter([body]), headers, encode_chunked=True)
        assert link.getresponse().read(10).startswith(b"data: ")
        link.close()  # in the middle of the answer
        time.sleep(0.2)
        assert sim.by_body() == {hashlib.sha256(body).hexdigest(): 1}
        assert (sim.count(), sim.count("/v1/models"), sim.paid(), sim.answered()) == (2, 1, 1, 0)
    assert capfd.readouterr() == ("", "")


def test_stop_is_quick(sim: Simulator, gpt: openai.OpenAI) -> None:
    ask(gpt)  # leaves a connection open
    begun = time.monotonic()
    sim.stop()
    assert time.monotonic() - begun < 10, "it waits for nobody's connection"
    with pytest.raises(openai.APIConnectionError):
        ask(gpt)
    sim.start()
    assert ask(gpt).choices


def test_other_process() -> None:
    command = [sys.executable, "-W", "error", "-m", "custody.testing.simulator"]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=paths) as process:  # -1: PIPE
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        link = http.client.HTTPConnection(url.removeprefix("http://"))

        def control(method: str, name: str, body: object = None) -> Any:
            link.request(method, f"/_simulator/{name}", json.dumps(body))
            return json.loads(link.getresponse().read())

        assert control("POST", "inject", {"status": 500, "times": 1}) == {"ok": True}
        with openai.OpenAI(base_url=url + "/v1", api_key="k", max_retries=0) as gpt:
            with pytest.raises(openai.InternalServerError):
                ask(gpt)
            ask(gpt)
        stats = control("GET", "stats")
        assert (stats["requests"], stats["paid"], stats["answered"], len(stats["by_body"])) == (2, 2, 1, 1)
        assert control("POST", "reset") and control("GET", "stats")["requests"] == 0
        link.close()
        process.terminate()
        assert process.wait(5) == 0


def test_instances() -> None:
    answers = Answers()
    assert answers.instance({"type": "integer", "minimum": 7, "exclusiveMaximum": 9}) in (7, 8)
    assert len(set(answers.instance({"type": "array", "minItems": 3, "uniqueItems": True, "items": {}}))) == 3
    assert Report.model_validate(answers.instance(Report.model_json_schema()))
    merged = {"allOf": [{"$ref": "#/$defs/a"}, {"required": ["b"]}], "$defs": {"a": SCHEMA}}
    assert set(answers.instance(merged)) == {"city", "b"}
