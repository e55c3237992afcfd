"""What the models behind Bedrock's InvokeModel say, each in the shape of its own maker.

Facts: recorded traffic of 2024 to 2026; the makers' published request and response fields. Own wording.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from custody.testing.simulator import anthropic
from custody.testing.simulator.answers import Answers, Json, compact, pieces, tokens

_REFUSAL = "The guardrail says no."


@dataclass(frozen=True)
class Made:
    """A model's document and the tokens that Bedrock counts for it; None where it counts none."""

    document: Json
    spent: int
    made: int | None
    read: int | None = None
    kept: int | None = None


def maker(model: str) -> str:
    """The model's maker and line: ``amazon.nova``, ``anthropic``, ``meta``; of an ARN, the part after its slash."""
    name = model.rpartition("/")[2]
    for part in ("us.", "eu.", "apac.", "global.", "us-gov."):
        name = name.removeprefix(part)
    return name


def content(body: Json, answers: Answers, guarded: bool = False) -> tuple[list[Json], str]:
    """Converse's content blocks and stop reason, Nova's too."""
    if guarded:
        return [{"text": _REFUSAL}], "guardrail_intervened"
    config = body.get("toolConfig") or {}
    last = body["messages"][-1].get("content")
    after = isinstance(last, list) and any("toolResult" in block for block in last)
    specs = [tool["toolSpec"] for tool in config.get("tools") or [] if "toolSpec" in tool]
    limit = (body.get("inferenceConfig") or {}).get("maxTokens")
    if specs and not after:
        choice = config.get("toolChoice") or {"auto": {}}
        wanted = (choice.get("tool") or {}).get("name")
        spec = next((spec for spec in specs if spec["name"] == wanted), specs[0])
        value = answers.instance(spec["inputSchema"]["json"])
        use = {"toolUse": {"name": spec["name"], "toolUseId": answers.id("tooluse_", 22), "input": value}}
        return [*([{"text": answers.text()}] if "auto" in choice else []), use], "tool_use"
    return [{"text": answers.text(limit)}], "max_tokens" if limit and limit < 5 else "end_turn"


def whole(model: str, body: Json, answers: Answers, guarded: bool) -> Made:
    """The answer to InvokeModel."""
    name = maker(model)
    if "embed" in name:
        return _embedding(name, body, answers)
    if _is_claude(name) and "messages" in body:
        document = json.loads(anthropic.messages(_asked(name, body), answers).body)
        usage = document["usage"]
        return Made(document | _guardrail(guarded), usage["input_tokens"], usage["output_tokens"], 0, 0)
    if name.startswith("amazon.nova"):
        blocks, reason = content(body, answers, guarded)
        spent, made = tokens(body["messages"]), sum(tokens(b) for b in blocks)
        usage = {"inputTokens": spent, "outputTokens": made, "totalTokens": spent + made, **_NO_CACHE}
        message = {"content": blocks, "role": "assistant"}
        document = {"output": {"message": message}, "stopReason": reason, "usage": usage}
        return Made(document | _guardrail(guarded), spent, made, 0, 0)
    return _completed(name, body, answers, guarded)


_NO_CACHE = {"cacheReadInputTokenCount": 0, "cacheWriteInputTokenCount": 0}


def _guardrail(guarded: bool) -> Json:
    return {"amazon-bedrock-guardrailAction": "INTERVENED"} if guarded else {}


def _is_claude(name: str) -> bool:
    return name.startswith(("anthropic.", "claude"))


def _asked(name: str, body: Json) -> Json:
    """A body for Bedrock as Anthropic's own API has it: there the model is not in the body."""
    return {**body, "model": name.removeprefix("anthropic.").partition("-v1")[0]}


def _completed(name: str, body: Json, answers: Answers, guarded: bool) -> Made:
    """The older shapes: one prompt, one text."""
    prompt: Any = body.get("prompt") or body.get("inputText") or body.get("message") or body.get("messages")
    options = body.get("textGenerationConfig") or body
    limit = next((options[n] for n in _LIMITS if n in options), None)
    text, short = answers.text(limit), bool(limit and limit < 5)
    spent, made = tokens(prompt), limit if short else tokens(text)
    if name.startswith("meta."):
        document: Json = {"generation": text, "prompt_token_count": spent, "generation_token_count": made}
        document["stop_reason"] = "length" if short else "stop"
    elif name.startswith("amazon.titan"):
        result = {"tokenCount": made, "outputText": text, "completionReason": "LENGTH" if short else "FINISH"}
        document = {"inputTextTokenCount": spent, "results": [result]}
    elif name.startswith("mistral."):
        document = {"outputs": [{"text": text, "stop_reason": "length" if short else "stop"}]}
    elif name.startswith("cohere.command-r"):
        reason = "MAX_TOKENS" if short else "COMPLETE"
        document = {"response_id": answers.hex("", 32), "text": text, "finish_reason": reason}
    elif name.startswith("anthropic."):
        reason = "max_tokens" if short else "stop_sequence"
        document = {"type": "completion", "completion": text, "stop_reason": reason, "stop": None}
    else:
        document = {"generations": [{"text": text, "finish_reason": "MAX_TOKENS" if short else "COMPLETE"}]}
    return Made(document | _guardrail(guarded), spent, made)


_LIMITS = ("max_gen_len", "maxTokenCount", "max_tokens", "max_tokens_to_sample")


def _embedding(name: str, body: Json, answers: Answers) -> Made:
    if name.startswith("cohere."):
        texts = body["texts"]
        vectors = [answers.vector(8) for _ in texts]
        document: Json = {"id": answers.hex("", 32), "embeddings": vectors, "texts": texts}
        return Made(document | {"response_type": "embeddings_floats"}, tokens(texts), None)
    spent = tokens(body["inputText"])
    return Made({"embedding": answers.vector(body.get("dimensions", 8)), "inputTextTokenCount": spent}, spent, None)


def stream(model: str, body: Json, answers: Answers, guarded: bool) -> list[Json]:
    """The model's own events for InvokeModelWithResponseStream; the last one has Bedrock's metrics."""
    name = maker(model)
    if _is_claude(name) and "messages" in body:
        frames = anthropic.messages({**_asked(name, body), "stream": True}, answers).frames or []
        events: list[Json] = [json.loads(frame.decode().partition("data: ")[2]) for frame in frames]
        usage = events[0]["message"]["usage"] | events[-2]["usage"]
        counts = {"inputTokenCount": usage["input_tokens"], "outputTokenCount": usage["output_tokens"]}
        counts |= _NO_CACHE
    else:
        made = whole(model, body, answers, guarded)
        events = _nova(made.document) if name.startswith("amazon.nova") else _deltas(name, made)
        counts = {"inputTokenCount": made.spent, "outputTokenCount": made.made or 0}
        counts |= _NO_CACHE if made.read is not None else {}
    timed = {**counts, "invocationLatency": 321, "firstByteLatency": 123}
    events[-1] |= {"amazon-bedrock-invocationMetrics": timed, **_guardrail(guarded)}
    return events


def _nova(document: Json) -> list[Json]:
    """Nova starts a block with every text: its indexes count the deltas."""
    events: list[Json] = [{"messageStart": {"role": "assistant"}}]
    for block in document["output"]["message"]["content"]:
        if "toolUse" in block:
            start = {k: block["toolUse"][k] for k in ("name", "toolUseId")}
            events.append({"contentBlockStart": {"start": {"toolUse": start}, "contentBlockIndex": 0}})
            deltas: list[Json] = [{"toolUse": {"input": compact(block["toolUse"]["input"])}}]
        else:
            deltas = [{"text": piece} for piece in pieces(block["text"])]
        for index, delta in enumerate(deltas):
            events.append({"contentBlockDelta": {"delta": delta, "contentBlockIndex": index}})
            events.append({"contentBlockStop": {"contentBlockIndex": index}})
    events.append({"messageStop": {"stopReason": document["stopReason"]}})
    usage = {k: v for k, v in document["usage"].items() if k != "totalTokens"}
    return [*events, {"metadata": {"usage": usage, "metrics": {}, "trace": {}}}]


def _deltas(name: str, made: Made) -> list[Json]:
    """The one text of the older shapes in pieces; what is said once stands in the last event."""
    document = made.document
    if name.startswith("amazon.titan"):
        (result,) = document["results"]
        events: list[Json] = [{"outputText": piece, "index": 0} for piece in pieces(result["outputText"])]
        last = {"totalOutputTextTokenCount": made.made, "completionReason": result["completionReason"]}
        events[-1] |= last | {"inputTextTokenCount": made.spent}
        return events
    if name.startswith("mistral."):
        (output,) = document["outputs"]
        events = [{"outputs": [{"text": piece, "stop_reason": None}]} for piece in pieces(output["text"])]
        events[-1]["outputs"][0]["stop_reason"] = output["stop_reason"]
        return events
    key = next(k for k in ("generation", "completion", "text", "generations") if k in document)
    text = document[key][0]["text"] if key == "generations" else document[key]
    key = "text" if key == "generations" else key
    rest = {k: v for k, v in document.items() if k not in (key, "generations")}
    silent = dict.fromkeys(k for k in rest if k in ("stop_reason", "finish_reason"))
    events = [{**silent, key: piece} for piece in pieces(text)]
    events[-1] |= rest
    return events
