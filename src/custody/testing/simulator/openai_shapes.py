"""What all endpoints of the OpenAI dialect share: errors, documents, usage, the choice of a tool."""

from __future__ import annotations

import json
from typing import Any

from custody.testing.simulator.answers import Answers, Json, Reply, compact

DATED = {"gpt-4o": "gpt-4o-2024-08-06", "gpt-4o-mini": "gpt-4o-mini-2024-07-18"}
_ERRORS: dict[int, tuple[str, str | None, str]] = {  # status -> type, code, message
    400: ("invalid_request_error", None, "the request is not acceptable"),
    401: ("invalid_request_error", "invalid_api_key", "the API key is not accepted"),
    404: ("invalid_request_error", "model_not_found", "there is no such model"),
    429: ("tokens", "rate_limit_exceeded", "the rate limit is reached"),
    500: ("server_error", None, "the server failed"),
    503: ("server_error", None, "the server is overloaded"),
}


def error(status: int, message: str | None = None, param: str | None = None) -> Reply:
    """The vendor's error document for a status; type and code follow from the status."""
    kind, code, text = _ERRORS.get(status) or (*_ERRORS[500 if status >= 500 else 400][:2], "error")
    if message and status != 401 and not param:
        code = None  # an unknown path, unlike an unknown model, has no code
    message = message or f"Simulated: {text} (status {status})."
    document = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return Reply(status, (json.dumps(document, indent=2) + "\n").encode())


def plain(document: Json, model: str | None = None) -> Reply:
    """A JSON document as the vendor prints it; some endpoints name the model in a header."""
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    return Reply(200, text.encode(), headers={"openai-model": model} if model else {})


def missing(kind: str, name: str) -> Reply:
    """404 for an object that is not there."""
    return error(404, f"Simulated: there is no {kind} with id '{name}'.", param="id")


def listing(page: Json) -> Reply:
    """A page of objects."""
    return plain({"object": "list", **page})


def json_lines(documents: list[Json]) -> bytes:
    """One document per line."""
    return "".join(compact(document) + "\n" for document in documents).encode()


def counted(prompt: int, made: int) -> Json:
    """Token counts in the shape of chat."""
    return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}


def tool_of(body: Json, last_is_result: bool) -> Json | None:
    """The function to call, as {"name", "parameters"}, or None when the answer is a text."""
    choice = body.get("tool_choice") or "auto"
    tools: list[Json] = body.get("tools") or []
    functions: list[Json] = [t.get("function", t) for t in tools if t.get("type") == "function"]
    if choice == "none" or last_is_result or not functions:
        return None
    wanted = choice.get("function", choice).get("name") if isinstance(choice, dict) else None
    return next((f for f in functions if f.get("name") == wanted), functions[0])


def text_of(form: object, limit: int | None, answers: Answers) -> str:
    """Prose, or JSON when a response format asks for it."""
    if not isinstance(form, dict) or form.get("type") == "text":
        return answers.text(limit)
    return answers.document(form.get("json_schema", form).get("schema") or {"properties": {"answer": {}}})


def many(given: Any) -> int:
    """How many inputs: a list of texts or of token lists counts its items; a text or a token list is one."""
    return len(given) if isinstance(given, list) and given and isinstance(given[0], (str, list)) else 1
