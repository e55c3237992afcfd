"""Audio of the OpenAI dialect: speech as a stream of bytes, transcriptions and translations of uploads."""

from __future__ import annotations

import base64
import random
from typing import Any

from custody.testing.simulator.answers import Json, Reply, pieces, sse, tokens
from custody.testing.simulator.openai_shapes import error, plain
from custody.testing.simulator.routes import Asked, Table

_TYPES = {"mp3": "audio/mpeg", "opus": "audio/ogg", "aac": "audio/aac", "flac": "audio/flac", "wav": "audio/wav"}
_CHUNK = 1200  # bytes of made-up samples in a piece of speech


def _speech(asked: Asked) -> Reply:
    """No real sound: random bytes in pieces, one for about eight characters."""
    body = asked.body
    if not body.get("input") or not body.get("voice"):
        return error(400, "Simulated: input and voice are required.", param="input")
    count = 3 + len(body["input"]) // 8
    parts = [random.SystemRandom().randbytes(_CHUNK) for _ in range(count)]
    if body.get("stream_format") == "sse":
        events: list[Json] = [{"type": "speech.audio.delta", "audio": base64.b64encode(p).decode()} for p in parts]
        spent = tokens(body["input"])
        usage = {"input_tokens": spent, "output_tokens": count, "total_tokens": spent + count}
        events.append({"type": "speech.audio.done", "usage": usage})
        return Reply(frames=[sse(event) for event in events])
    kind = _TYPES.get(body.get("response_format", "mp3"), "application/octet-stream")
    return Reply(frames=parts, headers={"content-type": kind})


def _listen(asked: Asked) -> Reply:
    body = asked.body
    if "file" not in asked.files:
        return error(400, "Simulated: the parameter file is missing.", param="file")
    text, form = asked.source.text(), body.get("response_format") or "json"
    heard = len(asked.files["file"][0].data)
    usage: Json = {"type": "tokens", "input_tokens": heard, "output_tokens": tokens(text)}
    usage |= {"total_tokens": heard + tokens(text), "input_token_details": {"audio_tokens": heard, "text_tokens": 0}}
    if str(body.get("stream")).lower() == "true":
        events: list[Json] = [{"type": "transcript.text.delta", "delta": part} for part in pieces(text)]
        return Reply(frames=[sse(e) for e in [*events, {"type": "transcript.text.done", "text": text, "usage": usage}]])
    if form in ("text", "srt", "vtt"):
        timed = {"srt": "1\n00:00:00,000 --> 00:00:02,000\n", "vtt": "WEBVTT\n\n00:00.000 --> 00:02.000\n"}
        said = (timed.get(form, "") + text + "\n").encode()
        return Reply(200, said, headers={"content-type": "text/plain; charset=utf-8"})
    if form == "verbose_json":
        segment: Json = {"id": 0, "seek": 0, "start": 0.0, "end": 2.0, "text": text, "tokens": [50364, 50464]}
        segment |= {"temperature": 0.0, "avg_logprob": -0.25, "compression_ratio": 1.0, "no_speech_prob": 0.01}
        task = asked.seen.path.rsplit("/", 1)[1].removesuffix("s").replace("ion", "e")
        whole: dict[str, Any] = {"task": task, "language": "english", "duration": 2.0, "text": text}
        return plain({**whole, "segments": [segment], "usage": {"type": "duration", "seconds": 2}})
    return plain({"text": text, "usage": usage} if "transcriptions" in asked.seen.path else {"text": text})


ROUTES: Table = {
    "POST /v1/audio/speech": _speech,
    "POST /v1/audio/transcriptions": _listen,
    "POST /v1/audio/translations": _listen,
}
