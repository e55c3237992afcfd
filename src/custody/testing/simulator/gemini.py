"""The Gemini dialect: the Developer API, and the same methods as Vertex AI's REST API serves them.

Facts: the request and response types of the google-genai SDK 2.34 and 3.4; recorded vendor traffic of 2024 to
2026. Own wording. What the prompt asks for decides the odd endings: a text that contains ``simulate:block`` is
blocked, ``simulate:safety`` is cut by the safety filter, ``simulate:empty`` gets no content, and the stream of
``simulate:error`` fails within.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from custody.testing.simulator import gemini_resources as resources
from custody.testing.simulator.answers import Answers, Json, Reply, compact, pieces, tokens

if TYPE_CHECKING:
    from custody.testing.simulator import Seen

_METHODS = (
    "generateContent streamGenerateContent embedContent batchEmbedContents asyncBatchEmbedContent countTokens "
    "computeTokens predict batchGenerateContent"
).split()
_PATH = re.compile(
    r"(?P<upload>/upload)?/(?P<version>v\d\w*)"
    r"(?:/projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+))?"
    r"/(?P<rest>(?:publishers/google/)?[^:]+)(?::(?P<method>\w+))?"
)
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
# `enum-encoding=int`, which the gRPC transcoding clients ask for.
_NUMBERS = {
    "finishReason": {"STOP": 1, "MAX_TOKENS": 2, "SAFETY": 3},
    "trafficType": {"ON_DEMAND": 1},
    "modality": {"TEXT": 1},
    "blockReason": {"SAFETY": 1},
}
_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_REFUSED = {"gemini-does-not-exist": 404}


def serves(seen: Seen) -> bool:
    """Whether a request speaks this dialect. Paths like /v1/models belong to others too; the headers tell."""
    headers = seen.headers
    if "anthropic-version" in headers or "/publishers/anthropic/" in seen.path or "x-stainless-lang" in headers:
        return False
    found = _PATH.fullmatch(seen.path)
    if found is None:
        return False
    if found["method"] in _METHODS or found["upload"] or found["version"] in ("v1beta", "v1alpha", "v1beta1"):
        return True
    return bool("x-goog-api-key" in headers or "x-goog-api-client" in headers or found["project"])


def headers(answers: Answers, elapsed: float) -> dict[str, str]:
    """The vendor's response headers; `elapsed` in seconds. There is no request id among them."""
    return {
        "content-type": "application/json; charset=UTF-8",
        "server": "scaffolding on HTTPServer2",
        "server-timing": f"gfet4t7; dur={int(elapsed * 1000) + 1}",
        "vary": "Origin, X-Origin, Referer",
        "x-frame-options": "SAMEORIGIN",
        "x-xss-protection": "0",
        "x-gemini-service-tier": "standard",
    }


def error(status: int, message: str | None = None) -> Reply:
    """Google's error document (google.rpc.Status) for a status."""
    name = _STATUS.get(status) or ("INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
    message = message or f"Simulated: {name.lower().replace('_', ' ')} (status {status})."
    reason = "API_KEY_INVALID" if status == 400 and "API key" in message else name
    details = [
        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"},
    ]
    document = {"error": {"code": status, "message": message, "status": name, "details": details}}
    return Reply(status, (json.dumps(document, indent=2) + "\n").encode())


def answer(seen: Seen, body: bytes, answers: Answers) -> Reply:
    """The answer to one request: key check, then the method. 404 for a path the vendor lacks."""
    found = _PATH.fullmatch(seen.path)
    if found is None:
        return error(404, f"Simulated: no such path ({seen.method} {seen.path}).")
    given = seen.headers.get("x-goog-upload-command")
    if found["upload"] and given:
        return resources.upload(seen, body, answers)
    if refused := _unauthorised(seen):
        return refused
    document: Any = {}
    if body:
        try:
            document = json.loads(body)
        except ValueError:
            return error(400, "Simulated: Invalid JSON payload received.")
    if not isinstance(document, dict):
        return error(400, "Simulated: the body is not a JSON object.")
    vertex = found["project"] is not None or found["rest"].startswith("publishers/")
    try:
        made = _dispatch(seen, found, document, vertex, answers)
    except (AttributeError, IndexError, KeyError, TypeError) as fault:
        return error(400, f"Simulated: a field has the wrong type ({fault!r}).")
    return made or error(404, f"Simulated: no such method ({seen.method} {seen.path}).")


def _unauthorised(seen: Seen) -> Reply | None:
    query = dict(part.partition("=")[::2] for part in seen.query.split("&"))
    bearer = seen.headers.get("authorization", "").removeprefix("Bearer").strip()
    key = seen.headers.get("x-goog-api-key") or query.get("key") or bearer
    if not key:
        return error(403, "Simulated: Method doesn't allow unregistered callers.")
    if "invalid" in key:
        return (
            error(401, "Simulated: invalid credentials.")
            if key == bearer
            else error(400, "Simulated: API key not valid.")
        )
    return None


def _dispatch(seen: Seen, found: re.Match[str], body: Json, vertex: bool, answers: Answers) -> Reply | None:
    method, rest = found["method"], found["rest"]
    model = rest.rpartition("models/")[2]
    status = _REFUSED.get(model)
    if status:
        return error(status, f"Simulated: {rest} is not found for API version {found['version']}.")
    if method is None or method in ("batchGenerateContent", "asyncBatchEmbedContent", "cancel"):
        return resources.answer(seen, rest, method, body, vertex, answers)
    if seen.method != "POST":
        return error(405, f"Simulated: {method} is a POST.")
    if method in ("generateContent", "streamGenerateContent"):
        return generate(seen, model, body, vertex, answers, stream=method == "streamGenerateContent")
    if method == "countTokens":
        return _plain(_counted(body, vertex))
    if method == "computeTokens":
        words = [part.get("text", "") for content in body["contents"] for part in content["parts"]]
        info = {
            "role": "user",
            "tokenIds": [str(len(w)) for w in words],
            "tokens": [base64.b64encode(w.encode()).decode() for w in words],
        }
        return _plain({"tokensInfo": [info]})
    if method == "embedContent":
        used = tokens(body["content"])
        vector = {"values": answers.vector(body.get("outputDimensionality") or 8)}
        extra: Json = {"usageMetadata": _prompt_usage(used), "truncated": False} if vertex else {}
        return _plain({"embedding": vector, **extra})
    if method == "batchEmbedContents":
        rows = [{"values": answers.vector(r.get("outputDimensionality") or 8)} for r in body["requests"]]
        return _plain({"embeddings": rows})
    return _plain(_predicted(model, body, answers)) if method == "predict" else None


def _plain(document: Json) -> Reply:
    return Reply(200, (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode())


def _prompt_usage(used: int) -> Json:
    return {"promptTokenCount": used, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": used}]}


def _counted(body: Json, vertex: bool) -> Json:
    asked = body.get("generateContentRequest") or body
    used = tokens(asked.get("contents") or asked.get("instances") or "")
    made: Json = {"totalTokens": used, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": used}]}
    return {**made, "totalBillableCharacters": used * 4} if vertex else made


def _predicted(model: str, body: Json, answers: Answers) -> Json:
    """Images of Imagen, or embeddings of Vertex's older models."""
    if "imagen" in model:
        count = (body.get("parameters") or {}).get("sampleCount") or 1
        image = {"mimeType": "image/png", "bytesBase64Encoded": _PIXEL}
        return {"predictions": [{**image, "prompt": answers.text()} for _ in range(count)]}
    rows = []
    for instance in body["instances"]:
        counted = {"truncated": False, "token_count": tokens(instance["content"])}
        size = (body.get("parameters") or {}).get("outputDimensionality") or 8
        rows.append({"embeddings": {"values": answers.vector(size), "statistics": counted}})
    return {
        "predictions": rows,
        "metadata": {"billableCharacterCount": sum(len(i["content"]) for i in body["instances"])},
    }


def generate(seen: Seen, model: str, body: Json, vertex: bool, answers: Answers, *, stream: bool) -> Reply:
    """POST ...:generateContent and ...:streamGenerateContent."""
    contents = body.get("contents")
    if not isinstance(contents, list) or not contents:
        return error(400, "Simulated: GenerateContentRequest.contents: contents is not specified.")
    if any(content.get("role", "user") not in ("user", "model", "function") for content in contents):
        return error(400, "Simulated: Please use a valid role: user, model.")
    documents = [*_documents(model, body, contents, vertex, answers, stream=stream)]
    if "enum-encoding" in seen.query:
        documents = [_numbered(document) for document in documents]
    if not stream:
        return _plain(documents[0])
    if "alt=sse" in seen.query:
        return Reply(
            frames=[f"data: {compact(d)}\r\n\r\n".encode() for d in documents],
            headers={"content-type": "text/event-stream", "content-disposition": "attachment"},
        )
    texts = [json.dumps(d, indent=2, ensure_ascii=False) for d in documents]
    frames = [("[" if i == 0 else ",\r\n") + text for i, text in enumerate(texts)]
    return Reply(
        frames=[*(f.encode() for f in frames), b"]"], headers={"content-type": "application/json; charset=UTF-8"}
    )


def _documents(
    model: str, body: Json, contents: list[Json], vertex: bool, answers: Answers, *, stream: bool
) -> Iterator[Json]:
    """One response, or the chunks of a stream: each repeats what is known, the last one has the counts."""
    said = compact(contents[-1])
    end: Json = {"modelVersion": model, "responseId": answers.id("", 22)}
    if vertex:
        end = {"modelVersion": model, "createTime": datetime.now(UTC).isoformat(), "responseId": end["responseId"]}
    if "simulate:block" in said:
        usage = _usage(body, contents, [], 0, vertex)
        yield {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": usage, **end}
        return
    config = body.get("generationConfig") or {}
    many = config.get("candidateCount") or 1
    made = [_candidate(model, body, contents, said, answers) for _ in range(many)]
    thought = _thoughts(model, config)
    parts = [part for parts, _ in made for part in parts]
    usage = _usage(body, contents, parts, thought, vertex)
    if not stream:
        candidates = [_filled(parts, reason, index) for index, (parts, reason) in enumerate(made)]
        yield {"candidates": candidates, "usageMetadata": usage, **end}
        return
    early = _usage(body, contents, [], thought, vertex)
    steps = [[*_cut(parts)] for parts, _ in made]
    last = max(map(len, steps)) - 1
    for number in range(last + 1):
        candidates = []
        for index, row in enumerate(steps):
            if number < len(row):
                reason = made[index][1] if number == len(row) - 1 else None
                candidates.append(_filled(row[number], reason, index))
        if number == 2 and "simulate:error" in said:
            yield json.loads(error(503).body)
            return
        yield {"candidates": candidates, "usageMetadata": usage if number == last else early, **end}


def _filled(parts: list[Json], reason: str | None, index: int) -> Json:
    candidate: Json = {"content": {"parts": parts, "role": "model"}} if parts else {"content": {"role": "model"}}
    if reason:
        candidate["finishReason"] = reason
    return {**candidate, "index": index}


def _cut(parts: list[Json]) -> Iterator[list[Json]]:
    """The parts as a stream gives them: texts in pieces, the rest whole; never nothing."""
    rows: list[list[Json]] = []
    for part in parts:
        if "text" in part:
            rows += [[{**part, "text": piece}] for piece in pieces(part["text"], 6)]
        else:
            rows.append([part])
    yield from rows or [[]]


def _candidate(model: str, body: Json, contents: list[Json], said: str, answers: Answers) -> tuple[list[Json], str]:
    """The parts of one candidate and its finish reason."""
    config = body.get("generationConfig") or {}
    if "simulate:safety" in said:
        return [], "SAFETY"
    if "simulate:empty" in said:
        return [], "STOP"
    lead: list[Json] = []
    if (config.get("thinkingConfig") or config.get("thinking_config") or {}).get("includeThoughts"):
        lead = [{"text": answers.text(), "thought": True}]
    if "IMAGE" in (config.get("responseModalities") or ()):
        return [*lead, {"inlineData": {"mimeType": "image/png", "data": _PIXEL}}], "STOP"
    if function := _function(body, contents):
        schema = function.get("parametersJsonSchema") or _lower(function.get("parameters"))
        call: Json = {"name": function["name"], "args": answers.instance(schema or {"type": "object"})}
        if model.startswith("gemini-3"):
            call["id"] = answers.id("", 8)
        return [*lead, {"functionCall": call, "thoughtSignature": answers.id("", 44)}], "STOP"
    limit = config.get("maxOutputTokens")
    schema = config.get("responseJsonSchema") or _lower(config.get("responseSchema"))
    if schema or config.get("responseMimeType") == "application/json":
        return [*lead, {"text": answers.document(schema or {"properties": {"answer": {}}})}], "STOP"
    return [*lead, {"text": answers.text(limit)}], "MAX_TOKENS" if limit and limit < 5 else "STOP"


def _function(body: Json, contents: list[Json]) -> Json | None:
    """The function to call; None where the answer is a text. After a function's response comes a text."""
    mode = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    declared = [f for tool in body.get("tools") or [] for f in tool.get("functionDeclarations") or []]
    responded = any("functionResponse" in part for part in contents[-1].get("parts", []))
    if not declared or mode.get("mode") == "NONE" or responded:
        return None
    allowed = mode.get("allowedFunctionNames")
    return next((f for f in declared if not allowed or f["name"] in allowed), None)


def _lower(schema: Any) -> Any:
    """A JSON schema of Google's ``Schema``, whose types are in capitals or numbers."""
    if isinstance(schema, list):
        return [_lower(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _lower(value) for key, value in schema.items()}
    kind = schema.get("type")
    if isinstance(kind, int):
        made["type"] = ("", "string", "number", "integer", "boolean", "array", "object")[kind]
    elif isinstance(kind, str):
        made["type"] = kind.lower()
    return made


def _thoughts(model: str, config: Json) -> int:
    """Tokens of thought: newer models think unless they are told not to."""
    budget = (config.get("thinkingConfig") or {}).get("thinkingBudget")
    thinks = model.startswith(("gemini-2.5", "gemini-3")) and budget != 0
    return min(37, budget) if thinks and budget and budget > 0 else 37 if thinks else 0


def _usage(body: Json, contents: list[Json], parts: list[Json], thought: int, vertex: bool) -> Json:
    """Cached tokens are inside the prompt's count, thoughts and what tools read are outside."""
    cached = 1024 if body.get("cachedContent") else 0
    prompt = tokens([contents, body.get("systemInstruction") or {}, body.get("tools") or []]) + cached
    tool = 21 if any("codeExecution" in t or "googleSearch" in t for t in body.get("tools") or []) and parts else 0
    made = sum(tokens(part) for part in parts)
    usage = _prompt_usage(prompt)
    if made:
        usage |= {"candidatesTokenCount": made, "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": made}]}
    if cached:
        usage |= {"cachedContentTokenCount": cached, "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": cached}]}
    if thought:
        usage["thoughtsTokenCount"] = thought
    if tool:
        usage["toolUsePromptTokenCount"] = tool
    usage["totalTokenCount"] = prompt + made + thought + tool
    return usage | ({"trafficType": "ON_DEMAND"} if vertex else {"serviceTier": "standard"})


def _numbered(value: Any) -> Any:
    if isinstance(value, list):
        return [_numbered(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        k: _NUMBERS[k].get(v, v) if k in _NUMBERS and isinstance(v, str) else _numbered(v) for k, v in value.items()
    }
