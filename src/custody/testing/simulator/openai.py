"""The OpenAI dialect: finds the endpoint; embeddings, moderations, models and legacy completions are here.

Facts: the response types of the openai SDK 3.54; recorded vendor traffic of 2024 to 2026. Own wording.
"""

from __future__ import annotations

import base64
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from custody.testing.simulator import (
    openai_audio,
    openai_batches,
    openai_files,
    openai_images,
    openai_responses,
    openai_stored,
    openai_threads,
    openai_vectors,
    routes,
)
from custody.testing.simulator.answers import Answers, Json, Reply, compact, key_of, pieces, sse, tokens
from custody.testing.simulator.openai_chat import chat
from custody.testing.simulator.openai_responses import responses
from custody.testing.simulator.openai_shapes import counted, error, listing, many, plain

if TYPE_CHECKING:
    from custody.testing.simulator import Seen

__all__ = ["answer", "chat", "completions", "embeddings", "error", "headers", "moderations", "responses", "serves"]

MODELS = (
    "gpt-4o gpt-4o-2024-08-06 gpt-4o-mini gpt-4o-mini-2024-07-18 gpt-3.5-turbo-instruct "
    "omni-moderation-latest text-embedding-3-large text-embedding-3-small"
).split()
_FLAGS = (
    "harassment harassment/threatening hate hate/threatening illicit illicit/violent self-harm "
    "self-harm/instructions self-harm/intent sexual sexual/minors violence violence/graphic"
).split()


def serves(seen: Seen) -> bool:
    """Everything that no other vendor serves."""
    return True


def headers(answers: Answers, elapsed: float) -> dict[str, str]:
    """The vendor's response headers; `elapsed` in seconds."""
    return {
        "x-request-id": answers.hex("req_"),
        "openai-organization": "simulator-org",
        "openai-project": "proj_simulator",
        "openai-processing-ms": str(int(elapsed * 1000) + 1),
        "openai-version": "2020-10-01",
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-limit-tokens": "2000000",
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-remaining-tokens": "1999950",
        "x-ratelimit-reset-requests": "6ms",
        "x-ratelimit-reset-tokens": "1ms",
        "access-control-expose-headers": "X-Request-ID",
    }


def answer(seen: Seen, body: bytes, answers: Answers) -> Reply:
    """The answer to one request: key check, then the endpoint. 404 for a path the vendor lacks."""
    key = key_of(seen.headers)
    if not key or "invalid" in key:
        said = f"the API key {key} is not accepted" if key else "no API key was given"
        return error(401, f"Simulated: {said}.")

    def again(path: str, document: Json) -> Reply:
        plain_headers = {k: v for k, v in seen.headers.items() if k != "content-type"}
        line = replace(seen, method="POST", path=path, query="", headers=plain_headers)
        return answer(line, compact(document).encode(), answers)

    asked = routes.read(seen, body, answers, again)
    if asked is None:
        return error(400, "Simulated: the body is not a JSON object.")
    found = routes.find(_ROUTES, asked)
    if isinstance(found, int):
        return error(found, f"Simulated: no such URL ({seen.method} {seen.path}).")
    serve, asked = found
    return serve(asked)


def _models(asked: routes.Asked) -> Reply:
    return listing({"data": [_model(name) for name in MODELS]})


def _one_model(asked: routes.Asked) -> Reply:
    name = asked.ids[0]
    if name not in MODELS:
        return error(404, f"Simulated: the model '{name}' is not known.", param="model")
    return plain(_model(name))


def _model(name: str) -> Json:
    return {"id": name, "object": "model", "created": 1715367049, "owned_by": "system"}


def completions(body: Json, answers: Answers) -> Reply:
    """POST /v1/completions (legacy). One choice for each prompt and n."""
    prompt, limit = body.get("prompt", ""), body.get("max_tokens")
    reason = "length" if limit and limit < 5 else "stop"
    texts = [answers.text(limit) for _ in range(many(prompt) * (body.get("n") or 1))]
    top: Json = {"id": answers.id("cmpl-"), "object": "text_completion", "created": int(time.time())}
    top["model"] = body["model"]
    spent = counted(tokens(prompt), sum(map(tokens, texts)))

    def choice(text: str, index: int, reason: str | None) -> Json:
        return {"text": text, "index": index, "logprobs": None, "finish_reason": reason}

    if not body.get("stream"):
        made = [choice(text, index, reason) for index, text in enumerate(texts)]
        return plain({**top, "choices": made, "usage": spent}, body["model"])
    with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    extra = {"usage": None} if with_usage else {}
    frames = []
    for index, text in enumerate(texts):
        frames += [sse({**top, "choices": [choice(part, index, None)], **extra}) for part in pieces(text)]
        frames.append(sse({**top, "choices": [choice("", index, reason)], **extra}))
    if with_usage:
        frames.append(sse({**top, "choices": [], "usage": spent}))
    return Reply(frames=[*frames, sse("[DONE]")], headers={"openai-model": body["model"]})


def embeddings(body: Json, answers: Answers) -> Reply:
    """POST /v1/embeddings; base64 means little-endian float32."""
    given, model = body.get("input", ""), body["model"]
    size = body.get("dimensions") or (3072 if "large" in model else 1536)
    rows = []
    for index in range(many(given)):
        vector: Any = answers.vector(size)
        if body.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
        rows.append({"object": "embedding", "index": index, "embedding": vector})
    used = tokens(given)
    usage = {"prompt_tokens": used, "total_tokens": used}
    return plain({"object": "list", "data": rows, "model": model, "usage": usage}, model)


def moderations(body: Json, answers: Answers) -> Reply:
    """POST /v1/moderations; nothing is ever flagged."""
    results: list[Json] = []
    for _ in range(many(body.get("input"))):
        one: Json = {"flagged": False, "categories": dict.fromkeys(_FLAGS, False)}
        one["category_scores"] = dict(zip(_FLAGS, map(abs, answers.vector(len(_FLAGS))), strict=True))
        one["category_applied_input_types"] = {flag: ["text"] for flag in _FLAGS}
        results.append(one)
    model = body.get("model") or "omni-moderation-latest"
    return plain({"id": answers.hex("modr-"), "model": model, "results": results})


def _modelled(serve: Callable[[Json, Answers], Reply]) -> routes.Handler:
    """An endpoint that needs a model."""

    def handler(asked: routes.Asked) -> Reply:
        if not isinstance(asked.body.get("model"), str):
            return error(400, "Simulated: the parameter model is missing.", param="model")
        return serve(asked.body, asked.source)

    return handler


_ROUTES: routes.Table = {
    "GET /v1/models": _models,
    "GET /v1/models/{}": _one_model,
    "POST /v1/chat/completions": openai_stored.keeping(_modelled(chat)),
    "POST /v1/completions": _modelled(completions),
    "POST /v1/embeddings": _modelled(embeddings),
    "POST /v1/moderations": lambda asked: moderations(asked.body, asked.source),
    **openai_stored.ROUTES,
    **openai_responses.ROUTES,
    **openai_files.ROUTES,
    **openai_batches.ROUTES,
    **openai_images.ROUTES,
    **openai_audio.ROUTES,
    **openai_vectors.ROUTES,
    **openai_threads.ROUTES,
}
