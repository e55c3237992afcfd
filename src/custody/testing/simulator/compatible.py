"""Vendors that speak OpenAI's protocol with words of their own: Groq and Voyage. Together needs none.

Facts: the SDKs groq 1.7 and voyageai 0.5; recorded traffic of 2024 to 2026. Own wording.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from custody.testing.simulator import openai
from custody.testing.simulator.answers import Answers, Json, Reply, compact, key_of, object_of, sse, tokens

if TYPE_CHECKING:
    from custody.testing.simulator import Seen

_GROQ = "/openai/v1"
_VOYAGE = ("/v1/rerank", "/v1/multimodalembeddings", "/v1/contextualizedembeddings")


def serves(seen: Seen) -> bool:
    """Groq by what its SDK calls itself, for Azure has the same paths; Voyage by the paths that OpenAI lacks."""
    return _of_groq(seen) or seen.path in _VOYAGE


def error(status: int) -> Reply:
    """The vendor's error document, of which each SDK reads the part that it knows."""
    said = f"Simulated: error {status}."
    return Reply(status, compact({"detail": said, "error": {"message": said, "type": "error", "code": None}}).encode())


def headers(answers: Answers, seconds: float) -> dict[str, str]:
    """The vendor's response headers."""
    return {"x-request-id": answers.hex("req_", 26), "x-groq-region": "dmm", "via": "1.1 google"}


def answer(seen: Seen, body: bytes, answers: Answers) -> Reply:
    """The answer to one request; Groq's from OpenAI's dialect, with Groq's fields put in."""
    if _of_groq(seen):
        reply = openai.answer(replace(seen, path="/v1" + seen.path.removeprefix(_GROQ)), body, answers)
        return _groq(reply, answers) if reply.status == 200 and seen.path.endswith("/completions") else reply
    document = object_of(body)
    key = key_of(seen.headers)
    if not key or "invalid" in key or document is None:
        return error(401 if document is not None else 400)
    return _rerank(document, answers) if seen.path == "/v1/rerank" else _embeddings(document, answers)


def _of_groq(seen: Seen) -> bool:
    agent = seen.headers.get("user-agent", "").lower()
    return seen.path.startswith(_GROQ) and agent.startswith(("groq/", "asyncgroq/"))


def _groq(reply: Reply, answers: Answers) -> Reply:
    """``x_groq`` with the id, and on a stream's last chunk with the usage, asked for or not."""
    made = {"id": answers.id("req_", 26)}
    if reply.frames is None:
        document = json.loads(reply.body)
        document["usage"] |= {"queue_time": 0.01, "prompt_time": 0.002, "completion_time": 0.1, "total_time": 0.102}
        return replace(reply, body=compact({**document, "x_groq": made}).encode())
    chunks = [json.loads(frame[6:]) for frame in reply.frames if frame.startswith(b"data: {")]
    usage = {"prompt_tokens": 9, "completion_tokens": len(chunks), "total_tokens": 9 + len(chunks)}
    chunks[0]["x_groq"] = made
    chunks[-1]["x_groq"] = {**made, "usage": usage}
    return replace(reply, frames=[*map(sse, chunks), sse("[DONE]")])


def _rerank(body: Json, answers: Answers) -> Reply:
    """POST /v1/rerank."""
    scores = sorted(map(abs, answers.vector(len(body["documents"]))), reverse=True)[: body.get("top_k")]
    rows = [{"relevance_score": score, "index": index} for index, score in enumerate(scores)]
    return _listed(rows, body["model"], {"total_tokens": tokens([body["query"], body["documents"]])})


def _embeddings(body: Json, answers: Answers) -> Reply:
    """POST /v1/multimodalembeddings, /v1/contextualizedembeddings."""
    given = body["inputs"]

    def row(index: int) -> Json:
        return {"object": "embedding", "embedding": answers.vector(8), "index": index}

    if "content" in json.dumps(given):
        rows = [row(index) for index in range(len(given))]
        return _listed(rows, body["model"], {"text_tokens": 5, "image_pixels": 0, "total_tokens": 5})
    groups: list[Json] = [
        {"object": "list", "data": [row(n) for n in range(len(part))], "index": index}
        for index, part in enumerate(given)
    ]
    return _listed(groups, body["model"], {"total_tokens": tokens(given)})


def _listed(rows: list[Json], model: str, usage: Json) -> Reply:
    return Reply(200, compact({"object": "list", "data": rows, "model": model, "usage": usage}).encode())
