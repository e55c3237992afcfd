"""What a model said, whole or streamed, in the shapes of Bedrock's Converse and of the models' makers.

Sources: the service model ``bedrock-runtime`` for Converse; the makers' request and response fields as AWS
documents them for InvokeModel: Amazon Nova and Titan, Anthropic, Meta, Mistral, Cohere, AI21, and models with
OpenAI's shape. A shape is known by its fields, not by the model's name, which an ARN may hide.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from custody_bedrock.streams import METRICS

Document = dict[str, Any]


@dataclass
class Answer:
    """What the documents of an exchange add up to.

    Attributes:
        stated: single values with the field that stated them, by the name of our own field; the last one wins.
        usage: token counts under the vendor's own names; the last ones win.
        usage_places: the fields that stated them, in order.
        metrics: Bedrock's own counts in a stream's last event.
        content: the answer holds a text, a tool call, a vector or an image.
        intervened: a guardrail changed or blocked it.
    """

    stated: dict[str, tuple[Any, str]] = field(default_factory=dict)
    usage: Document = field(default_factory=dict)
    usage_places: list[str] = field(default_factory=list)
    metrics: Document = field(default_factory=dict)
    content: bool = False
    intervened: bool = False
    error: bool = False

    def state(self, name: str, value: Any, where: str) -> None:
        if value is not None:
            self.stated[name] = (value, where)

    def count(self, usage: Any, where: str) -> None:
        if isinstance(usage, dict) and usage:
            self.usage |= {k: v for k, v in usage.items() if v is not None}
            self.usage_places.append(where)

    def says(self, *values: Any) -> None:
        self.content = self.content or any(bool(value) for value in values)


def of(documents: list[Document]) -> Answer:
    """Read every document by every shape that it has."""
    answer = Answer()
    for document in documents:
        for shape in _SHAPES:
            shape(document, answer)
    return answer


def _bedrock(document: Document, answer: Answer) -> None:
    """What Bedrock adds to any model's answer."""
    action = document.get("amazon-bedrock-guardrailAction") or document.get("action")
    answer.intervened = answer.intervened or action in ("INTERVENED", "GUARDRAIL_INTERVENED")
    if action is not None and "outputs" in document and "assessments" in document:
        answer.content = True  # a guardrail that was applied alone: its verdict is the answer
    if isinstance(metrics := document.get(METRICS), dict):
        answer.metrics |= metrics
        answer.state("latency", metrics.get("invocationLatency"), f"{METRICS}.invocationLatency")


def _converse(document: Document, answer: Answer) -> None:
    """Converse and Nova, whole (fields at the top) and streamed (a field named for the event)."""
    tail, prefix = document, ""
    if isinstance(document.get("metadata"), dict):
        tail, prefix = document["metadata"], "metadata."
    if "stopReason" in document or "metadata" in document or "output" in document:
        usage = tail.get("usage")
        if isinstance(usage, dict) and "inputTokens" in usage:
            answer.count(usage, f"{prefix}usage")
        answer.state("latency", _get(tail, "metrics", "latencyMs"), f"{prefix}metrics.latencyMs")
        answer.state("tier", _get(tail, "serviceTier", "type"), f"{prefix}serviceTier.type")
        invoked = _get(tail, "trace", "promptRouter", "invokedModelId")
        answer.state("model", invoked, f"{prefix}trace.promptRouter.invokedModelId")
    answer.state("finish", document.get("stopReason"), "stopReason")
    answer.state("finish", _get(document, "messageStop", "stopReason"), "messageStop.stopReason")
    for block in _list(_get(document, "output", "message", "content")):
        answer.says(block.get("text"), _other(block, "text", "reasoningContent", "cachePoint"))
    answer.says(_get(document, "contentBlockDelta", "delta", "text"))
    answer.says(_other(_get(document, "contentBlockStart", "start"), "reasoningContent"))


def _anthropic(document: Document, answer: Answer) -> None:
    kind = document.get("type")
    if kind == "message_start" and isinstance(document.get("message"), dict):
        _message(document["message"], answer, "message_start.message.")
    elif kind == "message":
        _message(document, answer, "")
    elif kind == "completion":
        answer.state("finish", document.get("stop_reason"), "stop_reason")
        answer.says(document.get("completion"))
    elif kind == "message_delta":
        answer.state("finish", _get(document, "delta", "stop_reason"), "message_delta.delta.stop_reason")
        answer.count(document.get("usage"), "message_delta.usage")
    elif kind == "content_block_delta":
        answer.says(_get(document, "delta", "text"))
    elif kind == "content_block_start":
        _block(document.get("content_block"), answer)
    elif kind == "error":
        answer.error = True


def _message(message: Document, answer: Answer, prefix: str) -> None:
    answer.state("model", message.get("model"), f"{prefix}model")
    answer.state("id", message.get("id"), f"{prefix}id")
    answer.state("finish", message.get("stop_reason"), f"{prefix}stop_reason")
    answer.count(message.get("usage"), f"{prefix}usage")
    for block in _list(message.get("content")):
        _block(block, answer)


def _block(block: Any, answer: Answer) -> None:
    if isinstance(block, dict):
        answer.says(block.get("text"), block.get("type") not in ("text", "thinking", "redacted_thinking", None))


def _meta(document: Document, answer: Answer) -> None:
    if "generation" in document:
        answer.says(document["generation"])
        answer.state("finish", document.get("stop_reason"), "stop_reason")
        _counts(document, answer, "prompt_token_count", "generation_token_count")


def _titan(document: Document, answer: Answer) -> None:
    for result in _list(document.get("results")):
        answer.says(result.get("outputText"))
        answer.state("finish", result.get("completionReason"), "results.completionReason")
        answer.count({"tokenCount": result.get("tokenCount")}, "results.tokenCount")
    if "outputText" in document:
        answer.says(document["outputText"])
        answer.state("finish", document.get("completionReason"), "completionReason")
    answer.says(document.get("embedding"), document.get("embeddings"), document.get("embeddingsByType"))
    _counts(document, answer, "inputTextTokenCount", "totalOutputTextTokenCount")


def _cohere_mistral_ai21(document: Document, answer: Answer) -> None:
    for name in ("outputs", "generations"):
        for one in _list(document.get(name)):
            answer.says(one.get("text"))
            for reason in ("stop_reason", "finish_reason"):
                answer.state("finish", one.get(reason), f"{name}.{reason}")
    for one in _list(document.get("completions")):
        answer.says(_get(one, "data", "text"))
        answer.state("finish", _get(one, "finishReason", "reason"), "completions.finishReason.reason")
    if isinstance(document.get("finish_reason"), str):
        answer.state("finish", document["finish_reason"], "finish_reason")
    for name in ("generation_id", "response_id"):  # the last one wins
        answer.state("id", document.get(name), name)
    if "generations" in document or "embeddings" in document:
        answer.state("id", document.get("id"), "id")
    answer.says(document.get("text"), document.get("tool_calls"), document.get("images"), document.get("artifacts"))


def _openai(document: Document, answer: Answer) -> None:
    if not isinstance(document.get("choices"), list):
        return
    for name in ("model", "id"):
        answer.state(name, document.get(name) or None, name)
    answer.state("fingerprint", document.get("system_fingerprint"), "system_fingerprint")
    answer.count(document.get("usage"), "usage")
    for choice in _list(document["choices"]):
        answer.state("finish", choice.get("finish_reason") or choice.get("stop_reason"), "choices.finish_reason")
        for part in (choice, choice.get("message"), choice.get("delta")):
            if isinstance(part, dict):
                answer.says(part.get("text"), part.get("content"), part.get("tool_calls"))


_SHAPES = (_bedrock, _converse, _anthropic, _meta, _titan, _cohere_mistral_ai21, _openai)


def _counts(document: Document, answer: Answer, *names: str) -> None:
    counts = {name: document[name] for name in names if document.get(name) is not None}
    answer.count(counts, "+".join(counts))


def _get(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _list(value: Any) -> list[Document]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _other(block: Any, *names: str) -> bool:
    """Whether a block has a member besides these."""
    return isinstance(block, dict) and any(name not in names for name in block)
