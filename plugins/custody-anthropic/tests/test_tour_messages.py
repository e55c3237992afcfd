"""A tour of the Anthropic SDK, synchronous and asynchronous: messages, batches, files, every way to read an answer.

Bare, recorded, and replayed strictly with the simulator gone; `yield` gives the value of either client.
"""

from __future__ import annotations

import base64
import io
import json
import operator
from collections.abc import Callable, Generator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic
from pydantic import BaseModel

from custody.testing import both
from custody.testing.both import entered, every

Tour = Generator[Any, Any, Any]
Steps = Callable[[Any], Tour]

SAY: Any = [{"role": "user", "content": "Say something about rivers."}]
ASK: Any = {"model": "claude-sonnet-4-6", "max_tokens": 200, "messages": SAY}
SCHEMA: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: Any = {"name": "weather", "description": "The weather of a city.", "input_schema": SCHEMA}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
THINK: Any = {"max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024}}

TOURS: list[tuple[Steps, str]] = []


class River(BaseModel):
    name: str
    length_km: int


def tour(needs: str = "messages") -> Callable[[Steps], Steps]:
    """Adds a scenario to the tour, for an SDK whose client has what it `needs`."""

    def add(steps: Steps) -> Steps:
        TOURS.append((steps, needs))
        return steps

    return add


def content(*parts: Any) -> Any:
    return [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, *parts]}]


# -- messages -----------------------------------------------------------------------------------------


@tour()
def every_parameter(client: Any) -> Tour:
    full = yield client.messages.create(
        **ASK,
        stop_sequences=["."],
        metadata={"user_id": "u"},
        system="Be brief.",
        extra_body={"temperature": 0.1, "top_p": 0.9, "top_k": 3},
    )
    short = yield client.messages.create(**{**ASK, "max_tokens": 2})
    assert short.stop_reason == "max_tokens"
    blocks: Any = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    return [full, short, (yield client.messages.create(**ASK, system=blocks))]


@tour()
def streamed(client: Any) -> Tour:
    return (yield every(client.messages.create(**ASK, stream=True)))


@tour()
def pictures_and_documents(client: Any) -> Tour:
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    text = {"type": "text", "media_type": "text/plain", "data": "The river is long."}
    picture = content({"type": "image", "source": source})
    document = content({"type": "document", "source": text, "title": "Rivers", "citations": {"enabled": True}})
    first = yield client.messages.create(**{**ASK, "messages": picture})
    return [first, (yield client.messages.create(**{**ASK, "messages": document}))]


@tour()
def a_conversation(client: Any) -> Tour:
    messages, said = list(SAY), []
    for _ in range(3):
        made = yield client.messages.create(**{**ASK, "messages": messages})
        said.append(made)
        messages += [{"role": "assistant", "content": made.content}, {"role": "user", "content": "And then?"}]
    return said


@tour()
def a_prefilled_answer(client: Any) -> Tour:
    messages = [*SAY, {"role": "assistant", "content": "Rivers are"}]
    return (yield client.messages.create(**{**ASK, "messages": messages}))


@tour()
def tools_over_turns(client: Any) -> Tour:
    messages, said = list(SAY), []
    for _ in range(3):
        made = yield client.messages.create(**{**ASK, "messages": messages}, tools=[TOOL])
        said.append(made)
        messages.append({"role": "assistant", "content": [b.model_dump(exclude_none=True) for b in made.content]})
        used = [block for block in made.content if block.type == "tool_use"]
        results: Any = [{"type": "tool_result", "tool_use_id": b.id, "content": json.dumps(b.input)} for b in used]
        messages.append({"role": "user", "content": results or "And tomorrow?"})
    return [said, messages]


@tour()
def the_choice_of_a_tool(client: Any) -> Tour:
    made = {}
    for choice in ({"type": "auto"}, {"type": "any"}, {"type": "none"}, {"type": "tool", "name": "weather"}):
        made[choice["type"]] = yield client.messages.create(**ASK, tools=[TOOL], tool_choice=choice)
    return made


@tour()
def tools_streamed(client: Any) -> Tour:
    events = yield every(client.messages.create(**ASK, tools=[TOOL], stream=True))
    helper = yield entered(client.messages.stream(**ASK, tools=[TOOL]))
    kinds = [event.type for event in (yield every(helper))]
    return [events, kinds, (yield helper.get_final_message())]


@tour()
def thinking(client: Any) -> Tour:
    made = yield client.messages.create(**{**ASK, **THINK})
    assert made.content[0].type == "thinking" and made.content[0].signature
    back = [*SAY, {"role": "assistant", "content": made.content}, {"role": "user", "content": "Go on."}]
    again = yield client.messages.create(**{**ASK, **THINK, "messages": back})
    helper = yield entered(client.messages.stream(**{**ASK, **THINK}))
    kinds = [event.type for event in (yield every(helper))]
    return [made, again, kinds, (yield helper.get_final_message())]


@tour()
def stream_helper(client: Any) -> Tour:
    texts = yield entered(client.messages.stream(**ASK))
    whole = yield entered(client.messages.stream(**ASK))
    left = yield entered(client.messages.stream(**ASK))
    said = yield every(texts.text_stream)
    yield whole.until_done()
    snapshot = whole.current_message_snapshot
    return [said, (yield texts.get_final_message()), snapshot, (yield left.get_final_text()), left.response.headers]


@tour("messages.parse")
def parsed(client: Any) -> Tour:
    made = yield client.messages.parse(**ASK, output_format=River)
    assert isinstance(made.parsed_output, River)
    helper = yield entered(client.messages.stream(**ASK, output_format=River))
    done = yield helper.get_final_message()
    assert isinstance(done.parsed_output, River)
    return [made, done]


@tour("messages.parse")
def structured(client: Any) -> Tour:
    form = {"format": {"type": "json_schema", "schema": {**SCHEMA, "additionalProperties": False}}}
    made = yield client.messages.create(**ASK, output_config=form)
    assert set(json.loads(made.content[0].text)) == {"city"}
    return made


@tour("beta.messages.tool_runner")
def the_tool_runner(client: Any) -> Tour:
    """The SDK runs the tools itself and asks again, several calls of one statement."""

    def weather(city: str) -> str:
        """The weather of a city.

        Args:
            city: Its name.
        """
        return f"mild in {city}"

    async def aweather(city: str) -> str:
        """The weather of a city.

        Args:
            city: Its name.
        """
        return weather(city)

    asynchronous = isinstance(client, AsyncAnthropic)
    tool = anthropic.beta_async_tool(aweather) if asynchronous else anthropic.beta_tool(weather)
    runner = client.beta.messages.tool_runner(**ASK, tools=[tool])
    return (yield every(runner))


@tour()
def beta_messages(client: Any) -> Tour:
    betas = ["token-counting-2024-11-01", "another-beta-2025-01-01"]
    made = yield client.beta.messages.create(**ASK, betas=betas)
    streamed = yield every(client.beta.messages.create(**ASK, stream=True))
    helper = yield entered(client.beta.messages.stream(**ASK))
    return [made, streamed, (yield helper.get_final_message())]


@tour()
def token_counts(client: Any) -> Tour:
    asked: Any = {"model": ASK["model"], "messages": SAY}
    plain = yield client.messages.count_tokens(**asked, system="Be brief.", tools=[TOOL])
    return [plain, (yield client.beta.messages.count_tokens(**asked))]


@tour()
def models(client: Any) -> Tour:
    page = yield client.models.list(limit=1)
    after = yield page.get_next_page()
    everything = yield every(client.models.list(limit=1))
    assert [model.id for model in everything] == [page.data[0].id, after.data[0].id]
    return [everything, page.has_next_page(), after.has_next_page(), (yield client.models.retrieve(page.data[0].id))]


@tour("completions")
def legacy_completions(client: Any) -> Tour:
    asked: Any = {"model": "claude-2.1", "max_tokens_to_sample": 50, "prompt": "\n\nHuman: Hello\n\nAssistant:"}
    made = yield client.completions.create(**asked)
    return [made, (yield every(client.completions.create(**asked, stream=True)))]


# -- batches and files --------------------------------------------------------------------------------

LINES: Any = [
    {"custom_id": "good", "params": ASK},
    {"custom_id": "bad", "params": {**ASK, "messages": []}},
]


@tour()
def a_batch(client: Any) -> Tour:
    """Polled until it has ended: each look is a call of its own; the results are read line by line."""
    states = [(yield client.messages.batches.create(requests=LINES))]
    while states[-1].processing_status != "ended":
        states.append((yield client.messages.batches.retrieve(states[0].id)))
    results = yield every(client.messages.batches.results(states[0].id))
    assert [row.result.type for row in results] == ["succeeded", "errored"] and len(states) == 3
    return [states, results, (yield client.messages.batches.delete(states[0].id))]


@tour()
def a_batch_that_is_cancelled(client: Any) -> Tour:
    batch = yield client.messages.batches.create(requests=LINES[:1])
    stopped = yield client.messages.batches.cancel(batch.id)
    ended = yield client.messages.batches.retrieve(batch.id)
    results = yield every(client.messages.batches.results(batch.id))
    listed = yield client.messages.batches.list(limit=1)
    return [batch, stopped, ended, results, listed.data, (yield client.messages.batches.delete(batch.id))]


@tour("beta.messages.batches")
def a_beta_batch(client: Any) -> Tour:
    batch = yield client.beta.messages.batches.create(requests=LINES)
    for _ in range(2):
        seen = yield client.beta.messages.batches.retrieve(batch.id)
    return [seen, (yield every(client.beta.messages.batches.results(batch.id)))]


@tour("beta.files")
def files(client: Any) -> Tour:
    """Forms have a random boundary: the same file is found again all the same."""
    made = yield client.beta.files.upload(file=("rivers.txt", b"long\r\n--x", "text/plain"))
    other = yield client.beta.files.upload(file=("ü.bin", io.BytesIO(bytes(range(256)))))
    seen = yield client.beta.files.retrieve_metadata(made.id)
    downloaded = yield client.beta.files.download(other.id)
    data = yield downloaded.read()
    assert data == bytes(range(256))
    everything = yield every(client.beta.files.list(limit=1))
    deleted = [(yield client.beta.files.delete(made.id)), (yield client.beta.files.delete(other.id))]
    return [made, other, seen, data, everything, deleted]


# -- ways to read an answer ---------------------------------------------------------------------------


@tour()
def raw_responses(client: Any) -> Tour:
    raw = yield client.messages.with_raw_response.create(**ASK)
    streamed = yield client.messages.with_raw_response.create(**ASK, stream=True)
    sent = [raw.http_request.method, str(raw.http_request.url.path), json.loads(raw.http_request.content)]
    seen = [raw.status_code, raw.http_version, raw.request_id, raw.retries_taken, raw.http_response.content]
    chunks = yield streamed.parse()
    return [(yield raw.parse()), seen, sent, raw.headers, (yield every(chunks)), streamed.headers]


def streaming(name: str) -> Steps:
    def steps(client: Any) -> Tour:
        made = client.messages.with_streaming_response
        stream = yield entered(made.create(**ASK, stream=True))
        whole = yield entered(made.create(**ASK))
        pieces, others = (yield every(getattr(stream, name)())), (yield every(getattr(whole, name)()))
        # How the network cuts the bytes is its own affair: test_tour_chunks.py compares the cuts.
        joined = [type(pieces[0])().join(pieces), type(others[0])().join(others)]
        return [pieces if name == "iter_lines" else joined, stream.headers, whole.headers]

    steps.__name__ = f"streaming_response_{name}"
    return steps


for _name in ("iter_bytes", "iter_text", "iter_lines"):
    tour()(streaming(_name))


@tour()
def streaming_response_whole(client: Any) -> Tour:
    made = client.messages.with_streaming_response
    one = yield entered(made.create(**ASK))
    two = yield entered(made.create(**ASK))
    three = yield entered(made.create(**ASK, stream=True))
    chunks = yield three.parse()
    return [(yield one.json()), (yield one.text()), (yield two.parse()), (yield every(chunks)), two.request_id]


@tour()
def extra_headers_query_and_body(client: Any) -> Tour:
    extra: Any = {"extra_headers": {"x-mine": "1"}, "extra_query": {"q": "2"}, "extra_body": {"more": 3}}
    raw = yield client.messages.with_raw_response.create(**ASK, **extra, timeout=20)
    return [(yield raw.parse()), str(raw.http_request.url).partition("?")[2], raw.http_request.headers["x-mine"]]


@tour()
def the_low_level_methods(client: Any) -> Tour:
    made = yield client.post("/v1/messages", cast_to=object, body=ASK)
    return [made, (yield client.get("/v1/models/claude-opus-4-6", cast_to=object))]


# -- the tour -----------------------------------------------------------------------------------------


def need(kind: type[Any], name: str) -> None:
    """Skip where this SDK's client lacks what a scenario uses."""
    try:
        operator.attrgetter(name)(kind(api_key="k"))
    except AttributeError:
        pytest.skip(f"anthropic {anthropic.__version__} has no {name}")


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", [Anthropic, AsyncAnthropic], ids=["sync", "async"])
@pytest.mark.parametrize(("steps", "needs"), TOURS, ids=[steps.__name__ for steps, _ in TOURS])
def test_tour(three_ways: Any, steps: Steps, needs: str, kind: type[Any]) -> None:
    need(kind, needs)
    three_ways(both.scenario(kind, steps))
    assert three_ways.calls
    for call in three_ways.calls:
        assert call.fields["hook_failures"] == [] and call.fields["sdk"]["plugin"] == "anthropic"
        assert call.fields["ending"] == "complete"
