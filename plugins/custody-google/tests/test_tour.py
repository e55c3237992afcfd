"""A tour of the synchronous SDK: what a program sees is the same bare, recorded, and replayed with the vendor gone."""

from __future__ import annotations

import enum
import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google import genai
from google.genai import types
from pydantic import BaseModel

import custody

MODEL = "gemini-2.5-flash"
ASK: Any = {"model": MODEL, "contents": "Say something about rivers."}


class River(BaseModel):
    name: str
    length_km: int
    tributaries: list[str]


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


def depth_of(river: str) -> dict[str, Any]:
    """The depth of a river in metres."""
    return {"river": len(river), "depth": 12}


CLOCK = types.FunctionDeclaration(
    name="clock",
    description="The time in a city.",
    parameters=types.Schema(type="OBJECT", properties={"city": types.Schema(type="STRING")}, required=["city"]),
)
TOOLS = [types.Tool(function_declarations=[CLOCK])]


def asked(client: genai.Client, **config: Any) -> Any:
    return client.models.generate_content(**ASK, config=types.GenerateContentConfig(**config))


def streamed(client: genai.Client, **config: Any) -> Any:
    return list(client.models.generate_content_stream(**ASK, config=types.GenerateContentConfig(**config)))


def text(client: genai.Client) -> Any:
    return client.models.generate_content(**ASK)


def parameters(client: genai.Client) -> Any:
    safety = types.SafetySetting(category="HARM_CATEGORY_HARASSMENT", threshold="BLOCK_NONE")
    return asked(
        client,
        temperature=0.5,
        top_p=0.9,
        top_k=20,
        seed=7,
        stop_sequences=["END"],
        system_instruction="Be brief.",
        safety_settings=[safety],
    )


def candidates(client: genai.Client) -> Any:
    return asked(client, candidate_count=2)


def stream(client: genai.Client) -> Any:
    chunks = streamed(client)
    assert len(chunks) > 3
    return chunks


def stream_of_candidates(client: genai.Client) -> Any:
    return streamed(client, candidate_count=2)


def thoughts(client: genai.Client) -> Any:
    thinking = types.ThinkingConfig(include_thoughts=True, thinking_budget=20)
    return [asked(client, thinking_config=thinking), streamed(client, thinking_config=thinking)]


def cut_at_the_limit(client: genai.Client) -> Any:
    return [asked(client, max_output_tokens=3), streamed(client, max_output_tokens=3)]


def odd_endings(client: genai.Client) -> Any:
    words = ("simulate:block", "simulate:safety", "simulate:empty")
    return [client.models.generate_content(model=MODEL, contents=word) for word in words]


def odd_streams(client: genai.Client) -> Any:
    words = ("simulate:block", "simulate:safety", "simulate:empty")
    return [list(client.models.generate_content_stream(model=MODEL, contents=word)) for word in words]


def parsed(client: genai.Client) -> Any:
    response = asked(client, response_mime_type="application/json", response_schema=River)
    assert isinstance(response.parsed, River)
    return response


def parsed_list(client: genai.Client) -> Any:
    response = asked(client, response_mime_type="application/json", response_schema=list[River])
    assert isinstance(response.parsed[0], River)
    return response


def parsed_by_schema(client: genai.Client) -> Any:
    response = asked(client, response_mime_type="application/json", response_json_schema=River.model_json_schema())
    assert set(response.parsed) == {"name", "length_km", "tributaries"}
    return response


def stream_of_json(client: genai.Client) -> Any:
    return streamed(client, response_mime_type="application/json", response_schema=River)


def tools(client: genai.Client) -> Any:
    response = asked(client, tools=TOOLS)
    assert response.function_calls[0].name == "clock"
    return [response, streamed(client, tools=TOOLS)]


def tools_chosen(client: genai.Client) -> Any:
    def choice(mode: str) -> Any:
        calling = types.FunctionCallingConfig(mode=mode)
        return asked(client, tools=TOOLS, tool_config=types.ToolConfig(function_calling_config=calling))

    return [choice("ANY"), choice("NONE")]


def tools_by_hand(client: genai.Client) -> Any:
    """Two turns; this model's calls carry ids that the vendor made up."""
    config = types.GenerateContentConfig(tools=TOOLS)
    first = client.models.generate_content(model="gemini-3-pro", contents="What time is it?", config=config)
    call = first.function_calls[0]
    result = types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"time": "noon"}))
    turns = [types.UserContent("What time is it?"), first.candidates[0].content, types.UserContent(result)]
    second = client.models.generate_content(model="gemini-3-pro", contents=turns, config=config)
    assert second.text
    return [first, second]


def functions_called_by_the_sdk(client: genai.Client) -> Any:
    response = asked(client, tools=[depth_of])
    assert response.automatic_function_calling_history
    return response


def functions_called_in_a_stream(client: genai.Client) -> Any:
    return streamed(client, tools=[depth_of])


def vendors_tools(client: genai.Client) -> Any:
    return asked(client, tools=[types.Tool(code_execution=types.ToolCodeExecution())])


def chat(client: genai.Client) -> Any:
    talk = client.chats.create(model=MODEL)
    return [talk.send_message("Rivers?"), talk.send_message("And lakes?"), talk.get_history()]


def chat_stream(client: genai.Client) -> Any:
    talk = client.chats.create(model=MODEL)
    return [list(talk.send_message_stream("Rivers?")), list(talk.send_message_stream("Lakes?")), talk.get_history()]


def chat_with_functions(client: genai.Client) -> Any:
    talk = client.chats.create(model=MODEL, config=types.GenerateContentConfig(tools=[depth_of]))
    return [talk.send_message("How deep?"), talk.get_history()]


def images_in(client: genai.Client) -> Any:
    parts = ["What is it?", types.Part.from_bytes(data=b"\x89PNG\r\n", mime_type="image/png")]
    away = types.Part.from_uri(file_uri="https://example.org/river.jpg", mime_type="image/jpeg")
    return [client.models.generate_content(model=MODEL, contents=each) for each in (parts, ["And that?", away])]


def images_out(client: genai.Client) -> Any:
    response = asked(client, response_modalities=["TEXT", "IMAGE"])
    assert response.candidates[0].content.parts[0].inline_data.data.startswith(b"\x89PNG")
    return response


def embeddings(client: genai.Client) -> Any:
    config = types.EmbedContentConfig(output_dimensionality=4, task_type="RETRIEVAL_DOCUMENT")
    return client.models.embed_content(model="gemini-embedding-001", contents=["one", "two"], config=config)


def counting(client: genai.Client) -> Any:
    return client.models.count_tokens(model=MODEL, contents="How many?")


def models(client: genai.Client) -> Any:
    return [list(client.models.list()), client.models.get(model=MODEL)]


def headers(client: genai.Client) -> Any:
    response = text(client)
    assert response.sdk_http_response.headers
    listed = client.files.list().sdk_http_response
    whole = asked(client, should_return_http_response=True)
    return [response.sdk_http_response, listed, whole.sdk_http_response]


def options_of_a_request(client: genai.Client) -> Any:
    given = types.HttpOptions(
        headers={"x-of-mine": "1"}, api_version="v1alpha", timeout=20_000, extra_body={"labels": {"a": "b"}}
    )
    return [asked(client, http_options=given), streamed(client, http_options=given), asked(client, service_tier="flex")]


def files(client: genai.Client) -> Any:
    pages = list(client.files.list(config={"page_size": 1}))
    return [pages, client.files.get(name="files/first"), client.files.delete(name="files/first")]


def uploads(client: genai.Client) -> Any:
    config = types.UploadFileConfig(mime_type="text/plain", display_name="rivers")
    file = client.files.upload(file=io.BytesIO(b"The Rhine is long."), config=config)
    prompt = ["Summarise.", file]
    return [file, client.models.generate_content(model=MODEL, contents=prompt)]


def caches(client: genai.Client) -> Any:
    config = types.CreateCachedContentConfig(contents="A long story.", display_name="story", ttl="300s")
    cache = client.caches.create(model=MODEL, config=config)
    name = cache.name
    assert name
    changed = client.caches.update(name=name, config=types.UpdateCachedContentConfig(ttl="600s"))
    answer = asked(client, cached_content=name)
    assert answer.usage_metadata.cached_content_token_count
    kept = [client.caches.get(name=name), list(client.caches.list())]
    return [cache, changed, answer, *kept, client.caches.delete(name=name)]


def batches(client: genai.Client) -> Any:
    job = client.batches.create(model=MODEL, src=[{"contents": [{"parts": [{"text": "One?"}], "role": "user"}]}])
    name = job.name
    assert name
    done = client.batches.get(name=name)
    assert done.dest.inlined_responses[0].response.text
    client.batches.cancel(name=name)
    return [job, done, list(client.batches.list()), client.batches.delete(name=name)]


def interactions(client: genai.Client) -> Any:
    made = client.interactions.create(model=MODEL, input="Say something about rivers.")
    events = list(client.interactions.create(model=MODEL, input="And lakes?", stream=True))
    cut = client.interactions.create(model=MODEL, input="Short.", generation_config={"max_output_tokens": 3})
    return [made, [type(event).__name__ for event in events], events, cut, client.interactions.get(made.id)]


def the_same_six_times(client: genai.Client) -> Any:
    answers = [text(client) for _ in range(6)]
    assert len({answer.text for answer in answers}) == 6
    return answers


def threads(client: genai.Client) -> Any:
    def one(number: int) -> Any:
        return client.models.generate_content(model=MODEL, contents=f"Number {number}")

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, range(16)))


def a_stream_left_early(client: genai.Client) -> Any:
    chunks = client.models.generate_content_stream(**ASK)
    first = next(iter(chunks))
    chunks.close()
    return first


TOUR = [
    text, parameters, candidates, stream, stream_of_candidates, thoughts, cut_at_the_limit, odd_endings, odd_streams,
    parsed, parsed_list, parsed_by_schema, stream_of_json, tools, tools_chosen, tools_by_hand,
    functions_called_by_the_sdk, functions_called_in_a_stream, vendors_tools, chat, chat_stream, chat_with_functions,
    images_in, images_out, embeddings, counting, models, headers, options_of_a_request, files, uploads, caches,
    batches, the_same_six_times, threads, a_stream_left_early,
]  # fmt: skip


@pytest.mark.parametrize("ask", TOUR, ids=lambda f: f.__name__)
def test_developer_api(google: Any, sync_library: str, ask: Any) -> None:
    google.sim.chunk_delay = 0.03 if ask is a_stream_left_early else 0.0
    google.sync(ask)
    assert google.calls
    for call in google.calls:
        expected = "closed_early" if ask is a_stream_left_early else "complete"
        assert (call.fields["ending"], call.fields["hook_failures"]) == (expected, [])
        assert call.fields["transport"].split()[0] == sync_library
        assert len(call.fields["attempts"]) == 1


ON_VERTEX = [
    text, stream, parsed, functions_called_by_the_sdk, chat_stream, embeddings, counting, tools, threads, thoughts,
]  # fmt: skip


@pytest.mark.parametrize("ask", ON_VERTEX, ids=lambda f: f.__name__)
def test_vertex(google: Any, ask: Any) -> None:
    google.vertex = True
    google.sync(ask)
    assert {call.fields["model_forensics"]["api_version"] for call in google.calls} == {"v1beta1"}


@pytest.mark.filterwarnings("ignore:The generate_images method")
def test_imagen_and_tokens_on_vertex(google: Any) -> None:
    def ask(client: genai.Client) -> Any:
        made = client.models.generate_images(
            model="imagen-4.0-generate-001", prompt="A river.", config={"number_of_images": 2}
        )
        assert len(made.generated_images or []) == 2
        return [made, client.models.compute_tokens(model=MODEL, contents="How many?")]

    google.vertex = True
    google.sync(ask)
    assert [call.fields["operation"] for call in google.calls] == ["image_generation", "count_tokens"]


def test_interactions(google: Any) -> None:
    """Their transport is another one; each version has its own library beneath."""
    google.sync(interactions)
    assert [call.outcome for call in google.calls] == ["success", "success", "truncated", "success"]
    assert {call.fields["sdk"]["plugin"] for call in google.calls} == {"google"}
    assert google.calls[1].fields["usage"]["reasoning"] == 17


def test_a_call_of_the_sdk_is_one_call(google: Any) -> None:
    """Version and seam are on record, and no text of anybody's is on the call line."""
    google.sync(text)
    (call,) = google.calls
    assert call.fields["sdk"] == {"plugin": "google", "version": f"google-genai {genai.__version__}"}
    assert "rivers" not in str(call.fields)
    assert call.fields["usage"]["reasoning"] == 37


def test_reading_on_after_an_early_close_does_not_end_quietly(google: Any) -> None:
    google.sim.chunk_delay = 0.05
    google.sync(a_stream_left_early)
    session = custody.session("P", "E", root=google.three_ways.root, session=google.three_ways.session, strict=True)
    with session, google.client() as client, pytest.raises(custody.ReplayError):
        list(client.models.generate_content_stream(**ASK))
