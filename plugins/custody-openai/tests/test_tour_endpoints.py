"""A tour of the OpenAI SDK's other endpoints, synchronous and asynchronous: files, batches, images, audio, lists.

Bare, recorded, and replayed strictly with the simulator gone; `yield` gives the value of either client.
"""

from __future__ import annotations

import base64
import io
import json
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from custody.testing import both
from custody.testing.both import entered, every

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")  # assistants, translations

Tour = Generator[Any, Any, Any]

ASK: Any = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Say something about rivers."}]}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
WAV = b"RIFF0000WAVE" + bytes(range(256))
LISTEN: Any = {"model": "whisper-1", "file": ("speech.wav", WAV, "audio/wav")}
SPEAK: Any = {"model": "tts-1", "voice": "alloy", "input": "The river is long and the day is short."}

TOURS: list[Callable[[Any], Tour]] = []


def tour(steps: Callable[[Any], Tour]) -> Callable[[Any], Tour]:
    """Adds the scenario to the tour."""
    TOURS.append(steps)
    return steps


# -- files and batches --------------------------------------------------------------------------------


@tour
def files(client: Any) -> Tour:
    """Forms have a random boundary: the same file is found again all the same."""
    made = yield client.files.create(file=("rivers.txt", b"long\r\n--x"), purpose="user_data")
    other = yield client.files.create(file=io.BytesIO(b"longer"), purpose="user_data")
    content = yield client.files.content(made.id)
    assert content.content == b"long\r\n--x"
    shown = [(yield client.files.retrieve(made.id)), content.content, content.response.headers]
    deleted = [(yield client.files.delete(made.id)), (yield client.files.delete(other.id))]
    return [made, other, shown, deleted]


@tour
def a_file_from_disk(client: Any) -> Tour:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rivers.txt")
        path.write_bytes(b"from disk")
        made = yield client.files.create(file=path, purpose="user_data")
        with path.open("rb") as file:
            again = yield client.files.create(
                file=file, purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
            )
    return [made, again, (yield client.files.delete(made.id)), (yield client.files.delete(again.id))]


@tour
def a_downloaded_file_in_pieces(client: Any) -> Tour:
    made = yield client.files.create(file=("rivers.bin", PNG * 50), purpose="user_data")
    stream = yield entered(client.files.with_streaming_response.content(made.id))
    pieces = yield every(stream.iter_bytes(1000))
    assert b"".join(pieces) == PNG * 50
    return [made, b"".join(pieces), (yield client.files.delete(made.id))]


@tour
def pages_of_files(client: Any) -> Tour:
    made: list[str] = []
    for number in range(5):
        file = yield client.files.create(file=(f"{number}.txt", b"x"), purpose="assistants")
        made.append(file.id)
    everything = yield every(client.files.list(limit=2, order="asc", purpose="assistants"))
    assert [file.id for file in everything] == made
    page = yield client.files.list(limit=3, order="asc", purpose="assistants")
    names = [[file.id for file in page.data], page.has_next_page(), str(page.next_page_info().params)]
    page = yield page.get_next_page()
    names += [[file.id for file in page.data], page.has_next_page()]
    pages = yield every(page.iter_pages())
    for name in made:
        yield client.files.delete(name)
    return [everything, names, len(pages)]


@tour
def an_upload_in_parts(client: Any) -> Tour:
    whole: Any = {"filename": "a.txt", "mime_type": "text/plain", "purpose": "user_data"}
    upload = yield client.uploads.create(bytes=6, **whole)
    one = yield client.uploads.parts.create(upload.id, data=b"abc")
    two = yield client.uploads.parts.create(upload.id, data=b"def")
    done = yield client.uploads.complete(upload.id, part_ids=[one.id, two.id])
    other = yield client.uploads.create(bytes=6, **whole)
    stopped = yield client.uploads.cancel(other.id)
    chunked = yield client.uploads.upload_file_chunked(file=b"abcdefg", bytes=7, part_size=3, **whole)
    for made in (done, chunked):
        yield client.files.delete(made.file.id)
    return [upload, one, two, done, stopped, chunked]


@tour
def a_batch(client: Any) -> Tour:
    """Polled until it is done: each look is a call of its own, and replays as that one."""
    bodies: Any = [ASK, {**ASK, "messages": []}]
    lines = [
        json.dumps({"custom_id": str(n), "method": "POST", "url": "/v1/chat/completions", "body": body})
        for n, body in enumerate(bodies)
    ]
    file = yield client.files.create(file=("in.jsonl", "\n".join(lines).encode()), purpose="batch")
    batch = yield client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    states = [batch]
    while states[-1].status != "completed":
        states.append((yield client.batches.retrieve(batch.id)))
    good = yield client.files.content(states[-1].output_file_id)
    bad = yield client.files.content(states[-1].error_file_id)
    assert [state.status for state in states] == ["validating", "in_progress", "completed"]
    return [file, states, good.text, [len(line) > 10 for line in bad.text.splitlines()]]


@tour
def a_batch_that_is_cancelled(client: Any) -> Tour:
    file = yield client.files.create(file=("in.jsonl", b""), purpose="batch")
    batch = yield client.batches.create(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h")
    return [batch, (yield client.batches.cancel(batch.id)), (yield client.batches.retrieve(batch.id))]


@tour
def vector_stores(client: Any) -> Tour:
    file = yield client.files.create(file=("a.txt", b"The river is long."), purpose="assistants")
    store = yield client.vector_stores.create(name="rivers")
    added = yield client.vector_stores.files.create_and_poll(file.id, vector_store_id=store.id)
    found = yield every(client.vector_stores.search(store.id, query="how long"))
    listed = yield every(client.vector_stores.files.list(store.id))
    deleted = [(yield client.vector_stores.delete(store.id)), (yield client.files.delete(file.id))]
    return [file, store, added, found, listed, deleted]


# -- images and audio ---------------------------------------------------------------------------------


@tour
def images_generated(client: Any) -> Tour:
    made = yield client.images.generate(model="gpt-image-1", prompt="a river", n=2, size="1024x1024")
    assert base64.b64decode(made.data[0].b64_json).startswith(b"\x89PNG")
    url = yield client.images.generate(model="dall-e-3", prompt="a river")
    return [made, url, (yield client.images.generate(prompt="a river", response_format="b64_json"))]


@tour
def images_edited(client: Any) -> Tour:
    one = yield client.images.edit(model="gpt-image-1", image=("a.png", PNG), mask=("m.png", PNG), prompt="bluer")
    many = yield client.images.edit(model="gpt-image-1", image=[("a.png", PNG), ("b.png", PNG)], prompt="bluer")
    return [one, many, (yield client.images.create_variation(image=("a.png", PNG), n=2))]


@tour
def images_streamed(client: Any) -> Tour:
    asked: Any = {"model": "gpt-image-1", "prompt": "a river", "stream": True, "partial_images": 2}
    made = yield every(client.images.generate(**asked))
    return [made, (yield every(client.images.edit(image=("a.png", PNG), **asked)))]


@tour
def speech(client: Any) -> Tour:
    made = yield client.audio.speech.create(**SPEAK)
    stream = yield entered(client.audio.speech.with_streaming_response.create(**SPEAK, response_format="wav"))
    raw = yield client.audio.speech.with_raw_response.create(**SPEAK)
    events = yield entered(client.audio.speech.with_streaming_response.create(**SPEAK, stream_format="sse"))
    return [made.content, b"".join((yield every(stream.iter_bytes()))), raw.content, raw.headers, (yield events.text())]


@tour
def speech_written_to_a_file(client: Any) -> Tour:
    with tempfile.TemporaryDirectory() as folder:
        made = yield client.audio.speech.create(**SPEAK)
        made.write_to_file(Path(folder, "one.mp3"))
        stream = yield entered(client.audio.speech.with_streaming_response.create(**SPEAK))
        yield stream.stream_to_file(Path(folder, "two.mp3"))
        return [path.read_bytes() for path in sorted(Path(folder).iterdir())]


@tour
def transcriptions(client: Any) -> Tour:
    made = {}
    for form in ("json", "verbose_json", "text", "srt", "vtt"):
        made[form] = yield client.audio.transcriptions.create(**LISTEN, response_format=form)
    asked: Any = {**LISTEN, "model": "gpt-4o-transcribe", "stream": True}
    return [made, (yield every(client.audio.transcriptions.create(**asked)))]


@tour
def transcriptions_with_options(client: Any) -> Tour:
    raw = yield client.audio.transcriptions.with_raw_response.create(
        **LISTEN, language="en", prompt="rivers", temperature=0.2, timestamp_granularities=["word", "segment"]
    )
    return [raw.parse(), raw.headers]


@tour
def translations(client: Any) -> Tour:
    whole = yield client.audio.translations.create(**LISTEN)
    return [whole, (yield client.audio.translations.create(**LISTEN, response_format="verbose_json"))]


# -- the rest -----------------------------------------------------------------------------------------


@tour
def embeddings(client: Any) -> Tour:
    asked: Any = {"model": "text-embedding-3-small", "dimensions": 8}
    many = yield client.embeddings.create(**asked, input=["one", "two", "three"])
    floats = yield client.embeddings.create(**asked, input="one", encoding_format="float")
    tokens = yield client.embeddings.create(**asked, input=[[1, 2, 3], [4]], encoding_format="base64")
    raw = yield client.embeddings.with_raw_response.create(**asked, input="one")
    assert len(many.data[0].embedding) == 8
    return [many, floats, tokens, raw.parse(), raw.headers]


@tour
def moderations(client: Any) -> Tour:
    parts: Any = [
        {"type": "text", "text": "rivers"},
        {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
    ]
    return [(yield client.moderations.create(input=["a", "b"])), (yield client.moderations.create(input=parts))]


@tour
def models(client: Any) -> Tour:
    page = yield client.models.list()
    return [
        (yield every(client.models.list())),
        page.data[0],
        page.has_next_page(),
        (yield client.models.retrieve("gpt-4o")),
    ]


@tour
def legacy_completions(client: Any) -> Tour:
    asked: Any = {"model": "gpt-3.5-turbo-instruct", "prompt": ["Once", "Twice"]}
    whole = yield client.completions.create(**asked, n=2, max_tokens=40)
    return [whole, (yield every(client.completions.create(**asked, stream=True)))]


@tour
def assistants(client: Any) -> Tour:
    made = yield client.beta.assistants.create(model="gpt-4o", instructions="Be brief.")
    thread = yield client.beta.threads.create(messages=[{"role": "user", "content": "Hello"}])
    message = yield client.beta.threads.messages.create(thread.id, role="user", content="And?")
    run = yield client.beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=made.id, poll_interval_ms=1)
    assert run.status == "completed"
    said = yield every(client.beta.threads.messages.list(thread.id, order="asc"))
    deleted = [(yield client.beta.threads.delete(thread.id)), (yield client.beta.assistants.delete(made.id))]
    return [made, thread, message, run, said, deleted]


@tour
def assistants_streamed(client: Any) -> Tour:
    made = yield client.beta.assistants.create(model="gpt-4o")
    thread = yield client.beta.threads.create()
    stream = yield entered(client.beta.threads.runs.stream(thread_id=thread.id, assistant_id=made.id))
    seen = yield every(stream)
    plain = yield every(client.beta.threads.runs.create(thread_id=thread.id, assistant_id=made.id, stream=True))
    return [[event.event for event in seen], (yield stream.get_final_messages()), [event.event for event in plain]]


@pytest.mark.parametrize("kind", [OpenAI, AsyncOpenAI], ids=["sync", "async"])
@pytest.mark.parametrize("steps", TOURS, ids=lambda steps: steps.__name__)
def test_tour(three_ways: Any, steps: Callable[[Any], Tour], kind: type[Any]) -> None:
    three_ways(both.scenario(kind, steps))
    assert three_ways.calls
    for call in three_ways.calls:
        assert call.fields["hook_failures"] == [] and call.fields["ending"] == "complete"
        assert call.fields["sdk"] == {"plugin": "openai", "version": f"openai {openai.__version__}"}
