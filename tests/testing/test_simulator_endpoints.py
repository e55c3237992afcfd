"""The simulator's endpoints beyond chat: what is kept between requests, forms, bytes, lists, held streams."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest

from custody.testing.simulator import Fault, Simulator

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")  # assistants, translations

ASK: Any = [{"role": "user", "content": "What is the time in Oslo?"}]
LINE: Any = {"custom_id": "one", "method": "POST", "url": "/v1/chat/completions"}


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


@pytest.fixture
def gpt(sim: Simulator) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=sim.openai_base_url, api_key="k", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(sim: Simulator) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=sim.anthropic_base_url, api_key="k", max_retries=0) as client:
        yield client


def test_files_and_pages(gpt: openai.OpenAI) -> None:
    data = bytes(range(256)) + b"\r\n--x\r\n"
    made = [gpt.files.create(file=(f"ü{n}.bin", io.BytesIO(data)), purpose="user_data") for n in range(5)]
    assert {file.bytes for file in made} == {len(data)} and made[0].filename == "ü0.bin"
    assert gpt.files.content(made[0].id).read() == data
    assert [file.id for file in gpt.files.list(limit=2, order="asc")] == [file.id for file in made]
    assert gpt.files.delete(made[0].id).deleted and len(list(gpt.files.list())) == 4
    with pytest.raises(openai.NotFoundError):
        gpt.files.retrieve(made[0].id)


def test_uploads_in_parts(gpt: openai.OpenAI) -> None:
    upload = gpt.uploads.create(filename="a.txt", bytes=6, mime_type="text/plain", purpose="user_data")
    parts = [gpt.uploads.parts.create(upload.id, data=data) for data in (b"abc", b"def")]
    done = gpt.uploads.complete(upload.id, part_ids=[part.id for part in parts])
    assert done.file and gpt.files.content(done.file.id).read() == b"abcdef"
    other = gpt.uploads.create(filename="a.txt", bytes=6, mime_type="text/plain", purpose="user_data")
    assert gpt.uploads.cancel(other.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError):
        gpt.uploads.complete(other.id, part_ids=[])


def test_a_batch(gpt: openai.OpenAI) -> None:
    bodies: Any = [{"model": "gpt-4o", "messages": ASK}, {"model": "gpt-4o", "messages": []}]
    lines = [{**LINE, "body": body} for body in bodies]
    file = gpt.files.create(file=("in.jsonl", "\n".join(map(json.dumps, lines)).encode()), purpose="batch")
    batch = gpt.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    assert [batch.status, gpt.batches.retrieve(batch.id).status] == ["validating", "in_progress"]
    done = gpt.batches.retrieve(batch.id)
    assert done.request_counts and (done.request_counts.completed, done.request_counts.failed) == (1, 1)
    assert done.status == "completed" and done.output_file_id and done.error_file_id
    (row,) = map(json.loads, gpt.files.content(done.output_file_id).text.splitlines())
    assert row["custom_id"] == "one" and row["response"]["body"]["object"] == "chat.completion"
    assert "messages" in gpt.files.content(done.error_file_id).text
    assert gpt.batches.cancel(batch.id).status == "cancelling" and [b.id for b in gpt.batches.list()] == [batch.id]


def test_images(gpt: openai.OpenAI) -> None:
    made = gpt.images.generate(model="gpt-image-1", prompt="a river", n=2).data
    assert made and len({image.b64_json for image in made}) == 2
    png = base64.b64decode(str(made[0].b64_json))
    older = gpt.images.generate(model="dall-e-3", prompt="a river").data
    assert png.startswith(b"\x89PNG") and older and str(older[0].url).startswith("https://")
    edited = gpt.images.edit(model="gpt-image-1", image=[("a.png", png), ("b.png", png)], prompt="bluer")
    assert edited.usage and edited.usage.output_tokens == 272
    varied = gpt.images.create_variation(image=("a.png", png), response_format="b64_json").data
    assert varied and varied[0].b64_json
    events: Any = gpt.images.generate(model="gpt-image-1", prompt="a river", stream=True, partial_images=2)
    assert [event.type.split(".")[1] for event in events] == ["partial_image", "partial_image", "completed"]


def test_audio(sim: Simulator, gpt: openai.OpenAI) -> None:
    speak: Any = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "Hello there, all of you."}
    with gpt.audio.speech.with_streaming_response.create(**speak) as spoken:
        assert spoken.headers["content-type"] == "audio/mpeg" and len(spoken.read()) == 6 * 1200
    listen: Any = {"model": "whisper-1", "file": ("a.wav", b"RIFF0000")}
    assert gpt.audio.transcriptions.create(**listen).text == sim.answers[-1]
    assert gpt.audio.transcriptions.create(**listen, response_format="verbose_json").segments
    assert "-->" in str(gpt.audio.transcriptions.create(**listen, response_format="srt"))
    events: Any = list(gpt.audio.transcriptions.create(**{**listen, "model": "gpt-4o-transcribe"}, stream=True))
    assert events[-1].text == "".join(event.delta for event in events[:-1]) == sim.answers[-1]
    assert gpt.audio.translations.create(**listen).text == sim.answers[-1]


def test_audio_and_logprobs_in_chat(gpt: openai.OpenAI) -> None:
    chat: Any = {"model": "gpt-4o", "messages": ASK}
    told = gpt.chat.completions.create(**chat, logprobs=True, top_logprobs=2).choices[0]
    assert told.logprobs and told.logprobs.content
    assert "".join(token.token for token in told.logprobs.content) == told.message.content
    loud: Any = {**chat, "modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "pcm16"}}
    spoken = gpt.chat.completions.create(**loud).choices[0].message
    assert spoken.audio and spoken.audio.transcript.startswith("This is answer") and spoken.content is None
    events: Any = gpt.chat.completions.create(**loud, stream=True)
    parts = [c.choices[0].delta.audio for c in events if getattr(c.choices[0].delta, "audio", None)]
    assert parts[-2].to_dict()["data"] and parts[-1].to_dict()["expires_at"]


def test_stored_responses(gpt: openai.OpenAI) -> None:
    ask: Any = {"model": "gpt-4o", "input": "Hello"}
    made = gpt.responses.create(**ask)
    assert gpt.responses.retrieve(made.id) == made and len(list(gpt.responses.input_items.list(made.id))) == 1
    events = list(gpt.responses.retrieve(made.id, stream=True, starting_after=3))
    assert events[0].sequence_number == 4 and events[-1].type == "response.completed"
    later = gpt.responses.create(**ask, background=True)
    states = [later.status, *(gpt.responses.retrieve(later.id).status for _ in range(2))]
    assert states == ["queued", "in_progress", "completed"] and gpt.responses.retrieve(later.id).output_text
    assert gpt.responses.cancel(gpt.responses.create(**ask, background=True).id).status == "cancelled"
    gpt.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        gpt.responses.retrieve(made.id)
    talk = gpt.conversations.create()
    said = gpt.responses.create(**ask, conversation=talk.id)
    assert [item.id for item in gpt.conversations.items.list(talk.id)] == [said.output[0].id]
    assert gpt.conversations.delete(talk.id).deleted


def test_vector_stores(gpt: openai.OpenAI) -> None:
    file = gpt.files.create(file=("a.txt", b"The river is long."), purpose="assistants")
    store = gpt.vector_stores.create(name="rivers")
    gpt.vector_stores.files.create(store.id, file_id=file.id)
    (found,) = gpt.vector_stores.search(store.id, query="how long")
    assert found.content[0].text == "The river is long." and found.file_id == file.id
    assert gpt.vector_stores.delete(store.id).deleted


def test_assistants(sim: Simulator, gpt: openai.OpenAI) -> None:
    made = gpt.beta.assistants.create(model="gpt-4o", instructions="Be brief.")
    thread = gpt.beta.threads.create(messages=[{"role": "user", "content": "Hello"}])
    run = gpt.beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=made.id, poll_interval_ms=1)
    assert run.status == "completed" and run.usage
    with gpt.beta.threads.runs.stream(thread_id=thread.id, assistant_id=made.id) as stream:
        stream.until_done()
        assert stream.get_final_run().status == "completed"
    said: Any = list(gpt.beta.threads.messages.list(thread.id, order="asc"))
    assert [message.role for message in said] == ["user", "assistant", "assistant"]
    assert said[-1].content[0].text.value == sim.answers[-1]


def test_message_batches(sim: Simulator, claude: anthropic.Anthropic) -> None:
    params: Any = {"model": "claude-sonnet-4-6", "max_tokens": 50}
    lines: Any = [{"custom_id": n, "params": {**params, "messages": m}} for n, m in (("a", ASK), ("b", []))]
    batch = claude.messages.batches.create(requests=lines)
    assert claude.messages.batches.retrieve(batch.id).processing_status == "in_progress"
    done = claude.messages.batches.retrieve(batch.id)
    assert done.processing_status == "ended" and str(done.results_url).startswith(sim.url)
    results: Any = list(claude.messages.batches.results(batch.id))
    assert [(row.custom_id, row.result.type) for row in results] == [("a", "succeeded"), ("b", "errored")]
    assert results[0].result.message.content[0].text == sim.answers[-1]
    assert claude.messages.batches.delete(batch.id).type == "message_batch_deleted"


def test_claude_files(claude: anthropic.Anthropic) -> None:
    made = [claude.beta.files.upload(file=(f"{n}.txt", b"abc", "text/plain")) for n in range(3)]
    assert [file.id for file in claude.beta.files.list(limit=2)] == [file.id for file in made[::-1]]
    assert claude.beta.files.download(made[0].id).read() == b"abc" and made[0].mime_type == "text/plain"
    assert claude.beta.files.delete(made[0].id).id == made[0].id and len(list(claude.beta.files.list())) == 2


def test_thinking(claude: anthropic.Anthropic) -> None:
    ask: Any = {"model": "claude-sonnet-4-6", "max_tokens": 2000, "messages": ASK}
    with claude.messages.stream(**ask, thinking={"type": "enabled", "budget_tokens": 1024}) as stream:
        blocks = stream.get_final_message().content
    assert [block.type for block in blocks] == ["thinking", "text"] and blocks[0].type == "thinking"
    assert blocks[0].signature and blocks[0].thinking.startswith("This is answer")


def test_a_tail_in_place_of_the_rest(sim: Simulator, gpt: openai.OpenAI) -> None:
    sim.inject(Fault(cut_after=0, tail="not JSON", headers={"x-made": "up"}))
    raw = gpt.chat.completions.with_raw_response.create(model="gpt-4o", messages=ASK)
    assert raw.content == b"not JSON" and raw.headers["x-made"] == "up"
    sim.inject(Fault(cut_after=2, tail='data: {"error": {"message": "no more"}}\n\n'))
    with pytest.raises(openai.APIError, match="no more"):
        list(gpt.chat.completions.create(model="gpt-4o", messages=ASK, stream=True))


def test_a_held_stream_waits_for_its_release(sim: Simulator, gpt: openai.OpenAI) -> None:
    sim.inject(Fault(hold_after=1))
    stream = gpt.chat.completions.create(model="gpt-4o", messages=ASK, stream=True)
    rest: list[Any] = []
    assert next(stream)
    reader = threading.Thread(target=lambda: rest.extend(stream))
    reader.start()
    reader.join(0.3)
    assert reader.is_alive() and not rest
    sim.release(100)
    reader.join(5)
    assert len(rest) > 20
