"""Images of the OpenAI dialect: made, edited and varied; real PNG files of random colours."""

from __future__ import annotations

import base64
import random
import struct
import time
import zlib

from custody.testing.simulator.answers import Json, Reply, sse, tokens
from custody.testing.simulator.openai_shapes import error, plain
from custody.testing.simulator.routes import Asked, Table

_SIDE = 8  # pixels


def _png() -> bytes:
    rows = b"".join(b"\0" + random.SystemRandom().randbytes(3 * _SIDE) for _ in range(_SIDE))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _image(asked: Asked) -> Reply:
    body = asked.body
    if asked.seen.path != "/v1/images/generations" and "image" not in asked.files:
        return error(400, "Simulated: the parameter image is missing.", param="image")
    if asked.seen.path != "/v1/images/variations" and not body.get("prompt"):
        return error(400, "Simulated: the parameter prompt is missing.", param="prompt")
    newer = str(body.get("model", "dall-e-2")).startswith("gpt-image")
    made: list[Json] = []
    for _ in range(int(body.get("n") or 1)):
        if newer or body.get("response_format") == "b64_json":
            made.append({"b64_json": base64.b64encode(_png()).decode()})
        else:
            name = asked.source.hex("img-", 24)
            made.append({"url": f"https://simulator.example/{name}.png", "revised_prompt": asked.source.text()})
    if not newer:
        return plain({"created": int(time.time()), "data": made})
    form = {"background": "opaque", "output_format": "png", "quality": "low", "size": "1024x1024"}
    spent = tokens(body["prompt"])
    usage: Json = {"input_tokens": spent, "input_tokens_details": {"image_tokens": 0, "text_tokens": spent}}
    usage |= {"output_tokens": 272, "total_tokens": spent + 272}
    if str(body.get("stream")).lower() == "true":
        return _stream(asked, {"created_at": int(time.time()), **form}, made[0], usage)
    return plain({"created": int(time.time()), **form, "data": made, "usage": usage})


def _stream(asked: Asked, form: Json, made: Json, usage: Json) -> Reply:
    kind = "image_edit" if "edits" in asked.seen.path else "image_generation"
    events: list[Json] = [
        {"type": f"{kind}.partial_image", "partial_image_index": n, "b64_json": base64.b64encode(_png()).decode()}
        for n in range(int(asked.body.get("partial_images") or 0))
    ]
    events.append({"type": f"{kind}.completed", **made, "usage": usage})
    return Reply(frames=[sse({**event, **form}, event["type"]) for event in events])


ROUTES: Table = {
    "POST /v1/images/generations": _image,
    "POST /v1/images/edits": _image,
    "POST /v1/images/variations": _image,
}
