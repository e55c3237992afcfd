"""A tour of the OpenAI SDK, synchronous and asynchronous: chat, responses, and every way to read an answer.

Bare, recorded, and replayed strictly with the simulator gone; `yield` gives the value of either client.
"""

from __future__ import annotations

import base64
import inspect
import json
from collections.abc import Callable, Generator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from custody.testing import both
from custody.testing.both import entered, every

Tour = Generator[Any, Any, Any]

ASK: Any = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Say something about rivers."}]}
SAY: Any = {"model": "gpt-4o", "input": "Say something about rivers."}
SCHEMA: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
FLAT: Any = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}
PIXEL = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
SOUND = {"data": base64.b64encode(bytes(60)).decode(), "format": "wav"}


class River(BaseModel):
    name: str
    length_km: int


class Weather(BaseModel):
    city: str


TOURS: list[Callable[[Any], Tour]] = []


def tour(steps: Callable[[Any], Tour]) -> Callable[[Any], Tour]:
    """Adds the scenario to the tour."""
    TOURS.append(steps)
    return steps


def content(*parts: Any) -> Any:
    return [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, *parts]}]


# -- chat ---------------------------------------------------------------------------------------------


@tour
def every_parameter(client: Any) -> Tour:
    some = yield client.chat.completions.create(
        **ASK,
        n=3,
        seed=7,
        temperature=0.1,
        top_p=0.9,
        stop=["."],
        logprobs=True,
        top_logprobs=2,
        user="u",
        metadata={"a": "b"},
    )
    short = yield client.chat.completions.create(**ASK, max_completion_tokens=2)
    assert len(some.choices) == 3 and some.choices[0].logprobs.content and short.choices[0].finish_reason == "length"
    return [some.to_json(), short]  # as a text: how many bytes a token has differs between answers


@tour
def streams_with_logprobs_and_choices(client: Any) -> Tour:
    one = yield every(client.chat.completions.create(**ASK, stream=True, logprobs=True, top_logprobs=1))
    many = yield every(client.chat.completions.create(**ASK, stream=True, n=3, stream_options={"include_usage": True}))
    assert one[3].choices[0].logprobs.content
    return [[chunk.to_json() for chunk in one], many]


@tour
def audio_out(client: Any) -> Tour:
    loud: Any = {**ASK, "modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "pcm16"}}
    whole = yield client.chat.completions.create(**loud)
    assert whole.choices[0].message.audio.data
    return [whole, (yield every(client.chat.completions.create(**loud, stream=True)))]


@tour
def pictures_and_sounds_in(client: Any) -> Tour:
    seen = content({"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}})
    heard = content({"type": "input_audio", "input_audio": SOUND})
    first = yield client.chat.completions.create(model="gpt-4o", messages=seen)
    return [first, (yield client.chat.completions.create(model="gpt-4o", messages=heard))]


@tour
def tools_over_three_turns(client: Any) -> Tour:
    messages, said = list(ASK["messages"]), []
    for _ in range(3):
        made = yield client.chat.completions.create(model="gpt-4o", messages=messages, tools=[TOOL])
        message = made.choices[0].message
        said.append(made)
        messages.append(message.model_dump(exclude_none=True))
        calls = message.tool_calls or []
        messages += [
            {"role": "tool", "tool_call_id": call.id, "content": json.dumps({"of": call.id})} for call in calls
        ]
        messages += [] if message.tool_calls else [{"role": "user", "content": "And tomorrow?"}]
    return [said, messages]


@tour
def tools_streamed_and_handed_back(client: Any) -> Tour:
    chunks = yield every(client.chat.completions.create(**ASK, tools=[TOOL], stream=True))
    calls = [c.choices[0].delta.tool_calls[0] for c in chunks if c.choices[0].delta.tool_calls]
    arguments = "".join(call.function.arguments or "" for call in calls)
    function = {"name": calls[0].function.name, "arguments": arguments}
    used = {"role": "assistant", "tool_calls": [{"id": calls[0].id, "type": "function", "function": function}]}
    turn = [*ASK["messages"], used, {"role": "tool", "tool_call_id": calls[0].id, "content": "mild"}]
    return [chunks, (yield every(client.chat.completions.create(model="gpt-4o", messages=turn, stream=True)))]


@tour
def the_choice_of_a_tool(client: Any) -> Tour:
    named: Any = {"type": "function", "function": {"name": "weather"}}
    made = {}
    for number, choice in enumerate(("none", "auto", "required", named)):
        made[number] = yield client.chat.completions.create(**ASK, tools=[TOOL], tool_choice=choice)
    return made


@tour
def json_answers(client: Any) -> Tour:
    form = {"type": "json_schema", "json_schema": {"name": "w", "schema": SCHEMA}}
    made = yield client.chat.completions.create(**ASK, response_format=form)
    assert set(json.loads(made.choices[0].message.content)) == {"city"}
    return [made, (yield client.chat.completions.create(**ASK, response_format={"type": "json_object"}))]


@tour
def parsed_tools(client: Any) -> Tour:
    tool = openai.pydantic_function_tool(Weather)
    made = yield client.chat.completions.parse(**ASK, tools=[tool])
    assert isinstance(made.choices[0].message.tool_calls[0].function.parsed_arguments, Weather)
    return made


@tour
def stream_helper_parsed(client: Any) -> Tour:
    events = yield entered(client.chat.completions.stream(**ASK, response_format=River))
    seen = yield every(events)
    done = yield events.get_final_completion()
    assert isinstance(done.choices[0].message.parsed, River)
    return [[event.type for event in seen], done]


@tour
def stream_helper_with_tools(client: Any) -> Tour:
    events = yield entered(client.chat.completions.stream(**ASK, tools=[openai.pydantic_function_tool(Weather)]))
    seen = yield every(events)
    return [[event.type for event in seen], (yield events.get_final_completion())]


@tour
def extra_headers_query_and_body(client: Any) -> Tour:
    extra: Any = {"extra_headers": {"x-mine": "1"}, "extra_query": {"q": "2"}, "extra_body": {"top_k": 3}}
    raw = yield client.chat.completions.with_raw_response.create(**ASK, **extra, timeout=20)
    return [raw.parse(), str(raw.http_request.url).partition("?")[2], raw.http_request.headers["x-mine"]]


@tour
def the_low_level_methods(client: Any) -> Tour:
    made = yield client.post("/chat/completions", cast_to=object, body=ASK)
    return [made, (yield client.get("/models/gpt-4o", cast_to=object))]


@tour
def derived_clients(client: Any) -> Tour:
    made = {}
    others = (
        client.with_options(max_retries=0, timeout=20.0),
        client.copy(default_headers={"x-other": "1"}),
        client.copy(organization="org-a", project="proj-b"),
        client.with_options(default_query={"v": "1"}),
    )
    for number, other in enumerate(others):
        made[number] = yield other.chat.completions.create(**ASK)
    return made


# -- ways to read an answer ---------------------------------------------------------------------------


@tour
def raw_responses(client: Any) -> Tour:
    raw = yield client.chat.completions.with_raw_response.create(**ASK)
    streamed = yield client.chat.completions.with_raw_response.create(**ASK, stream=True)
    sent = [raw.http_request.method, str(raw.http_request.url.path), json.loads(raw.http_request.content)]
    texts = [raw.text, raw.content, raw.status_code, raw.http_version, raw.request_id, raw.retries_taken, raw.is_closed]
    return [
        raw.parse(),
        raw.parse(to=ChatCompletion),
        texts,
        sent,
        raw.headers,
        (yield every(streamed.parse())),
        streamed.headers,
    ]


@tour
def raw_responses_of_parse(client: Any) -> Tour:
    raw = yield client.chat.completions.with_raw_response.parse(**ASK, response_format=River)
    assert isinstance(raw.parse().choices[0].message.parsed, River)
    return [raw.parse(), raw.headers]


def streaming(name: str) -> Callable[[Any], Tour]:
    def steps(client: Any) -> Tour:
        made = client.chat.completions.with_streaming_response
        stream = yield entered(made.create(**ASK, stream=True))
        whole = yield entered(made.create(**ASK))
        pieces, others = (yield every(getattr(stream, name)())), (yield every(getattr(whole, name)()))
        # How the network cuts the bytes is its own affair: test_tour_chunks.py compares the cuts.
        joined = [type(pieces[0])().join(pieces), type(others[0])().join(others)]
        return [pieces if name == "iter_lines" else joined, stream.headers, whole.headers]

    steps.__name__ = f"streaming_response_{name}"
    return steps


for _name in ("iter_bytes", "iter_text", "iter_lines"):
    tour(streaming(_name))


@tour
def streaming_response_in_pieces_of_seven(client: Any) -> Tour:
    stream = yield entered(client.chat.completions.with_streaming_response.create(**ASK, stream=True))
    pieces = yield every(stream.iter_bytes(7))
    assert {len(piece) for piece in pieces[:-1]} == {7}
    return b"".join(pieces)


@tour
def streaming_response_whole(client: Any) -> Tour:
    made = client.chat.completions.with_streaming_response
    one = yield entered(made.create(**ASK))
    two = yield entered(made.create(**ASK))
    three = yield entered(made.create(**ASK))
    return [(yield one.json()), (yield two.text()), (yield three.read()), (yield two.parse()), three.request_id]


@tour
def streaming_response_parsed_as_a_stream(client: Any) -> Tour:
    stream = yield entered(client.chat.completions.with_streaming_response.create(**ASK, stream=True))
    chunks = yield stream.parse()
    return [(yield every(chunks)), stream.status_code]


# -- responses ----------------------------------------------------------------------------------------


@tour
def responses_with_tools_over_turns(client: Any) -> Tour:
    first = yield client.responses.create(**SAY, tools=[FLAT])
    call = first.output[0]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "mild"}
    turns: Any = [{"role": "user", "content": SAY["input"]}, call.model_dump(exclude_none=True), result]
    second = yield client.responses.create(model="gpt-4o", input=turns, tools=[FLAT])
    third = yield client.responses.create(**SAY, previous_response_id=second.id)
    return [first, second, third, (yield every(client.responses.create(**SAY, tools=[FLAT], stream=True)))]


@tour
def responses_stored_listed_and_deleted(client: Any) -> Tour:
    made = yield client.responses.create(**SAY, instructions="Be brief.", metadata={"a": "b"})
    again = yield client.responses.retrieve(made.id)
    items = yield every(client.responses.input_items.list(made.id))
    deleted = yield client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError) as gone:
        yield client.responses.retrieve(made.id)
    return [made, again, items, deleted, gone.value.body]


@tour
def responses_in_the_background(client: Any) -> Tour:
    made = yield client.responses.create(**SAY, background=True)
    states = [made]
    while states[-1].status in ("queued", "in_progress"):
        states.append((yield client.responses.retrieve(made.id)))
    assert [state.status for state in states] == ["queued", "in_progress", "completed"]
    other = yield client.responses.create(**SAY, background=True)
    return [states, (yield client.responses.cancel(other.id)), states[-1].output_text]


@tour
def responses_streamed_again(client: Any) -> Tour:
    events = yield every(client.responses.create(**SAY, stream=True))
    name = events[-1].response.id
    return [events, (yield every(client.responses.retrieve(name, stream=True, starting_after=4)))]


@tour
def responses_in_a_conversation(client: Any) -> Tour:
    talk = yield client.conversations.create(metadata={"topic": "rivers"})
    said = yield client.responses.create(**SAY, conversation=talk.id)
    items = yield every(client.conversations.items.list(talk.id))
    return [(yield client.conversations.retrieve(talk.id)), said, items, (yield client.conversations.delete(talk.id))]


@tour
def responses_helpers(client: Any) -> Tour:
    events = yield entered(client.responses.stream(**SAY, text_format=River))
    seen = yield every(events)
    raw = yield client.responses.with_raw_response.create(**SAY)
    parsed = yield client.responses.parse(**SAY, text_format=River)
    assert isinstance(parsed.output_parsed, River)
    done = yield events.get_final_response()
    picture = {"role": "user", "content": [{"type": "input_image", "image_url": PIXEL, "detail": "auto"}]}
    seen_image = yield client.responses.create(model="gpt-4o", input=[picture])
    return [[event.type for event in seen], done, raw.parse(), raw.headers, parsed, seen_image]


@tour
def responses_input_tokens(client: Any) -> Tour:
    if not hasattr(client.responses, "input_tokens"):
        pytest.skip(f"openai {openai.__version__} counts no tokens")
    return (yield client.responses.input_tokens.count(**SAY))


# -- the tour -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [OpenAI, AsyncOpenAI], ids=["sync", "async"])
@pytest.mark.parametrize("steps", TOURS, ids=lambda steps: steps.__name__)
def test_tour(three_ways: Any, steps: Callable[[Any], Tour], kind: type[Any]) -> None:
    assert inspect.isgeneratorfunction(steps)
    three_ways(both.scenario(kind, steps))
    assert three_ways.calls
    for call in three_ways.calls:
        assert call.fields["hook_failures"] == [] and call.fields["sdk"]["plugin"] == "openai"
